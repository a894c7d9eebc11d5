//! The host side of the WIT imports. Reads answer from the view of the callback
//! that is running and share its bytes: lowering copies each object once, into
//! the guest. Those that answer with objects may have to wait for the API server
//! (contract S6), and are asynchronous to the host; a store in memory is ready at once.

use std::{sync::Arc, time::Instant};

use haptic_core::{
    changes::ChangeKind,
    path::MAX_PATH_BYTES,
    view::{ReadError, StoreView, View},
};
use wasmtime::{
    StoreContextMut,
    component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType},
};

use crate::cached::Reader;

use super::{
    bindings::{
        OutputError, StoreError,
        haptic::plugin::{log::Level, stores::Page},
        types,
    },
    guest::{GuestState, LogLevel, LogLine, StoreHandle},
    outputs::{OutputLimit, OutputName, WriteError},
    usage::Copied,
};

/// The package that this host serves, and the functions of each interface: the
/// contract check reads these, and a test compares them with the WIT.
pub(super) const PACKAGE: &str = "haptic:plugin";
/// Version of [`PACKAGE`].
pub(super) const VERSION: &str = "0.1.0";

/// The target that the SDK's panic hook logs to.
const PANIC_TARGET: &str = "panic";

type Cx<'a> = StoreContextMut<'a, GuestState>;
type Handle = Resource<StoreHandle>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let name = |interface: &str| format!("{PACKAGE}/{interface}@{VERSION}");
    linker.instance(&name("types"))?;

    let mut stores = linker.instance(&name("stores"))?;
    stores.resource(
        "store",
        ResourceType::host::<StoreHandle>(),
        |mut cx, _rep| {
            let state = cx.data_mut();
            state.handles = state.handles.saturating_sub(1);
            Ok(())
        },
    )?;
    call(&mut stores, "open", |cx, (name,): (String,)| {
        (open(cx, &name),)
    })?;
    call(&mut stores, "all-synced", |cx, ()| {
        (view(cx).is_ok_and(|view| view.all_synced()),)
    })?;
    call(
        &mut stores,
        "[method]store.name",
        |cx, (this,): (Handle,)| {
            (store(cx, &this).map_or_else(|_| String::new(), |s| s.name().to_owned()),)
        },
    )?;
    call(
        &mut stores,
        "[method]store.len",
        |cx, (this,): (Handle,)| {
            let len = store(cx, &this).map_or(0, |s| s.len());
            (u32::try_from(len).unwrap_or(u32::MAX),)
        },
    )?;
    call(
        &mut stores,
        "[method]store.revision",
        |cx, (this,): (Handle,)| (store(cx, &this).map_or(0, |s| s.revision()),),
    )?;
    read(
        &mut stores,
        "[method]store.get",
        |cx, (this, keys): (Handle, Vec<String>)| {
            let reader = reader(cx, &this);
            async move { Ok(reader?.get(&refs(&keys)).await?) }
        },
    )?;
    read(
        &mut stores,
        "[method]store.get-by",
        |cx, (this, index, keys): (Handle, String, Vec<String>)| {
            let reader = reader(cx, &this);
            async move { Ok(reader?.get_by(&index, &refs(&keys)).await?) }
        },
    )?;
    read(
        &mut stores,
        "[method]store.get-object",
        |cx, (this, namespace, name): (Handle, String, String)| {
            let reader = reader(cx, &this);
            async move { Ok(reader?.get_object(&namespace, &name).await?) }
        },
    )?;
    read(
        &mut stores,
        "[method]store.list",
        |cx, (this,): (Handle,)| {
            let reader = reader(cx, &this);
            async move { Ok(reader?.list().await?) }
        },
    )?;
    read(
        &mut stores,
        "[method]store.page",
        |cx, (this, cursor, limit): (Handle, Option<String>, u32)| {
            let reader = reader(cx, &this);
            async move {
                let (items, next) = reader?.page(cursor.as_deref(), limit).await?;
                Ok(Page {
                    items: items.iter().map(|item| item.to_string()).collect(),
                    next,
                })
            }
        },
    )?;
    read(
        &mut stores,
        "[method]store.select",
        |cx, (this, fields, keys): (Handle, Vec<String>, Vec<String>)| {
            let reader = reader(cx, &this);
            async move { select(reader?, fields, keys).await }
        },
    )?;
    call(
        &mut stores,
        "[method]store.changes",
        |cx, (this,): (Handle,)| (changes(cx, &this),),
    )?;

    let mut output = linker.instance(&name("output"))?;
    call(
        &mut output,
        "write",
        |cx, (name, content): (String, String)| (write(cx, &name, content.into_bytes()),),
    )?;
    call(
        &mut output,
        "write-bytes",
        |cx, (name, content): (String, Vec<u8>)| (write(cx, &name, content),),
    )?;

    call(&mut linker.instance(&name("log"))?, "log", log)?;
    call(&mut linker.instance(&name("config"))?, "get", |cx, ()| {
        (Arc::clone(&cx.data().config),)
    })?;
    Ok(())
}

/// Links a function, and counts what passes.
fn call<P, R>(
    interface: &mut LinkerInstance<'_, GuestState>,
    name: &str,
    function: impl Fn(&mut Cx<'_>, P) -> R + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Copied + 'static,
    R: ComponentNamedList + Lower + Copied + 'static,
{
    interface.func_wrap(name, move |mut cx: Cx<'_>, arguments: P| {
        cx.data_mut().copies.called(&arguments);
        let answer = function(&mut cx, arguments);
        cx.data_mut().copies.gave(&answer);
        Ok(answer)
    })
}

/// Likewise a read that may have to fetch.
fn read<P, T, F>(
    interface: &mut LinkerInstance<'_, GuestState>,
    name: &str,
    function: impl Fn(&Cx<'_>, P) -> F + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Copied + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
    T: Copied + Send + 'static,
    (Result<T, StoreError>,): ComponentNamedList + Lower,
{
    interface.func_wrap_async(name, move |mut cx: Cx<'_>, arguments: P| {
        cx.data_mut().copies.called(&arguments);
        let answer = function(&cx, arguments);
        Box::new(async move {
            let answer = answer.await;
            cx.data_mut().copies.gave(&answer);
            Ok((answer,))
        })
    })
}

/// Selects; paths that are more than names, indices and wildcards on a thread of their own.
/// Their parser looks how much of its thread's stack is left, and takes the stack that a
/// guest runs on for none.
async fn select(
    reader: Reader,
    fields: Vec<String>,
    keys: Vec<String>,
) -> Result<String, StoreError> {
    let is_plain = |field: &String| {
        // What is too long is refused unread.
        field.len() > MAX_PATH_BYTES || !field.contains(['?', ':', ',']) && !field.contains("..")
    };
    if fields.iter().all(is_plain) {
        return Ok(reader.select(&refs(&fields), &refs(&keys)).await?);
    }
    let runtime = tokio::runtime::Handle::current();
    // If the callback is cut off, this ends by itself: the reader knows until when it may read.
    let selecting = tokio::task::spawn_blocking(move || {
        runtime.block_on(reader.select(&refs(&fields), &refs(&keys)))
    });
    match selecting.await {
        Ok(answer) => Ok(answer?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(StoreError::Other(cancelled.to_string())),
        },
    }
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn view<'a>(cx: &'a Cx<'_>) -> Result<&'a Arc<View>, StoreError> {
    let call = cx.data().call.as_ref();
    call.map(|call| &call.view).ok_or_else(no_call)
}

fn no_call() -> StoreError {
    StoreError::Other(
        "stores can be read only while on-sync-complete, on-change or on-resource-change runs"
            .to_owned(),
    )
}

fn store<'a>(cx: &'a Cx<'_>, this: &Resource<StoreHandle>) -> Result<&'a StoreView, StoreError> {
    let index = usize::try_from(this.rep()).unwrap_or(usize::MAX);
    view(cx)?
        .store(index)
        .ok_or_else(|| StoreError::NoSuchStore(format!("handle {index}")))
}

/// What reads the store of a handle for the callback that is running. What cannot be had
/// in three quarters of the callback's time that is left is unavailable: the guest lives
/// to hear of it, and to return an error of its own.
fn reader(cx: &Cx<'_>, this: &Resource<StoreHandle>) -> Result<Reader, StoreError> {
    let store = store(cx, this)?.clone();
    let GuestState {
        call,
        limits,
        deadline,
        ..
    } = cx.data();
    let bodies = call.as_ref().map(|call| &call.bodies).ok_or_else(no_call)?;
    let left = deadline.map_or(limits.callback_time, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    });
    let until = tokio::time::Instant::now() + left / 4 * 3;
    Ok(bodies.reader(store, limits.answer_bytes, until))
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoSuchStore(text) => Self::NoSuchStore(text),
            ReadError::NoSuchIndex(text) => Self::NoSuchIndex(text),
            ReadError::InvalidKeys(text) => Self::InvalidKeys(text),
            ReadError::InvalidPath(text) => Self::InvalidPath(text),
            ReadError::InvalidCursor(text) => Self::InvalidCursor(text),
            ReadError::TooLarge(bytes) => Self::TooLarge(bytes),
            ReadError::Unavailable(text) => Self::Unavailable(text),
            error @ ReadError::OutOfTime => Self::Other(error.to_string()),
            ReadError::Other(text) => Self::Other(text),
        }
    }
}

fn open(cx: &mut Cx<'_>, name: &str) -> Result<Resource<StoreHandle>, StoreError> {
    let index = view(cx)
        .map_err(|_| {
            let name = name
                .get(..name.floor_char_boundary(256))
                .unwrap_or_default();
            StoreError::NoSuchStore(format!("{name}: no callback is running"))
        })?
        .open(name)?;
    let state = cx.data_mut();
    if state.handles >= state.limits.store_handles {
        return Err(StoreError::Other(format!(
            "{} store handles are open: drop some, or open each store once and keep its handle (the limit is --handle-limit)",
            state.handles
        )));
    }
    state.handles += 1;
    Ok(Resource::new_own(u32::try_from(index).unwrap_or(u32::MAX)))
}

fn changes(cx: &Cx<'_>, this: &Resource<StoreHandle>) -> Result<Vec<types::Change>, StoreError> {
    /// Bytes of a change in the guest's memory, beside its texts: a kind, two pointers and
    /// two lengths.
    const RECORD: usize = 20;
    let limit = cx.data().limits.answer_bytes;
    let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
    let changes = store(cx, this)?.changes();
    let copied = changes.iter().map(|change| {
        let (namespace, name) = (change.object.namespace(), change.object.name());
        left = left
            .checked_sub(RECORD + namespace.len() + name.len())
            .ok_or(StoreError::TooLarge(limit))?;
        Ok(types::Change {
            kind: match change.kind {
                ChangeKind::Created => types::ChangeKind::Created,
                ChangeKind::Modified => types::ChangeKind::Modified,
                ChangeKind::Deleted => types::ChangeKind::Deleted,
            },
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    });
    copied.collect()
}

fn write(cx: &mut Cx<'_>, name: &str, content: Vec<u8>) -> Result<(), OutputError> {
    let name = OutputName::parse(name).map_err(|e| OutputError::InvalidName(e.to_string()))?;
    let GuestState { call, limits, .. } = cx.data_mut();
    let Some(call) = call else {
        return Err(OutputError::Other(
            "outputs can be written only while a callback runs".to_owned(),
        ));
    };
    call.outputs
        .write(name, content, limits)
        .map_err(|error| match error {
            WriteError::Clash { .. } => OutputError::InvalidName(error.to_string()),
            WriteError::Limit(OutputLimit::Bytes(bytes)) => OutputError::TooLarge(bytes),
            WriteError::Limit(OutputLimit::Count(_)) => OutputError::Other(error.to_string()),
        })
}

fn log(
    cx: &mut Cx<'_>,
    (level, target, message, fields): (Level, String, String, Vec<(String, String)>),
) {
    let state = cx.data_mut();
    if target == PANIC_TARGET {
        state.panic_text = Some(message.chars().take(4_096).collect());
    }
    state.logger.log(LogLine {
        level: match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        },
        target,
        message,
        fields,
    });
}
