//! `resources` as templates have it: a mapping from the watches' names to lists with methods.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, State};

use crate::filters::defined;
use crate::resources::{METHODS, Reads, method, wrong};

thread_local! {
    /// What templates read from, while one is rendered: their values must be `Send`, which stores
    /// are not.
    static CURRENT: RefCell<Option<Rc<RefCell<Reads>>>> = const { RefCell::new(None) };
}

/// Runs `render` with `resources` reading from these.
pub fn with<R>(reads: &Rc<RefCell<Reads>>, render: impl FnOnce() -> R) -> R {
    struct Restore(Option<Rc<RefCell<Reads>>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            CURRENT.with_borrow_mut(|current| *current = before);
        }
    }
    let _restore = Restore(CURRENT.replace(Some(Rc::clone(reads))));
    render()
}

fn current(
    state: Option<&State>,
    watch: &str,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let reads = CURRENT.with_borrow(Clone::clone);
    let reads =
        reads.ok_or_else(|| wrong("resources can be read only while a file is rendered"))?;
    if let Some(state) = state {
        args.iter().try_for_each(|arg| defined(state, arg))?;
    }
    let mut reads = reads.borrow_mut();
    reads.call(watch, method, args)
}

/// `resources`.
#[derive(Debug)]
pub struct Resources(BTreeMap<String, Value>);

impl Resources {
    /// Of these watches.
    pub fn new<'n>(watches: impl Iterator<Item = &'n String>) -> Self {
        let value = |name: &String| Value::from_object(Named(name.as_str().into()));
        Resources(watches.map(|name| (name.clone(), value(name))).collect())
    }
}

impl Object for Resources {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(Value::from).collect())
    }
}

/// `resources.NAME`: a list of its objects, with methods.
#[derive(Debug)]
struct Named(Arc<str>);

impl Object for Named {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match current(None, &self.0, "list", &[]) {
            Ok(objects) => Enumerator::Values(objects.try_iter().into_iter().flatten().collect()),
            // The failure itself fails the callback.
            Err(_) => Enumerator::Empty,
        }
    }

    fn call_method(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        name: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match method(name) {
            Some(method) => current(Some(state), &self.0, method, args),
            None => Err(wrong(format!(
                "resources.{} has no method `{name}`; it has {}",
                self.0,
                METHODS.join(", ")
            ))),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resources.{}", self.0)
    }
}
