//! What a call into a plugin used, apart from real time, and how it is counted: a few additions
//! for each call of the host.

use std::{sync::Arc, time::Duration};

use wasmtime::component::Resource;

use super::bindings::{
    OutputError, StoreError,
    haptic::plugin::{log::Level, stores::Page},
    types,
};

/// What the last call into an instance used. The same call of the same component in the same
/// state, on the same stores, uses the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fuel: about one for each WebAssembly instruction. `None` where the runtime does not
    /// [count](super::RuntimeOptions::count_fuel) it.
    pub fuel: Option<u64>,
    /// Linear memory of the instance, in bytes: the most it ever had, as it gives none back.
    pub memory: u64,
    /// Bytes of text and content from the host to the guest: what the callback was given, and
    /// what the contract's functions answered. Numbers, and what lists and records cost besides,
    /// are not in it, nor is anything that passes through WASI. Of `describe` only what the
    /// functions answered.
    pub copied_in: u64,
    /// Bytes of text and content from the guest to the host: what it passed to the contract's
    /// functions, and the text of the error that it returned. Likewise.
    pub copied_out: u64,
    /// Calls of the contract's functions.
    pub host_calls: u64,
    /// Virtual time that the guest slept; zero on the machine's clock.
    pub slept: Duration,
}

/// What is counted while a call runs.
#[derive(Debug, Default)]
pub(super) struct Copies {
    into_guest: u64,
    out_of_guest: u64,
    calls: u64,
}

impl Copies {
    /// The guest called a function with this.
    pub(super) fn called(&mut self, arguments: &impl Copied) {
        self.calls += 1;
        self.took(arguments);
    }

    /// This went from the guest to the host.
    pub(super) fn took(&mut self, what: &(impl Copied + ?Sized)) {
        self.out_of_guest = self.out_of_guest.saturating_add(what.bytes_copied());
    }

    /// This goes from the host to the guest.
    pub(super) fn gave(&mut self, what: &(impl Copied + ?Sized)) {
        self.into_guest = self.into_guest.saturating_add(what.bytes_copied());
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            copied_in: self.into_guest,
            copied_out: self.out_of_guest,
            host_calls: self.calls,
            ..Usage::default()
        }
    }
}

/// What passes between host and guest.
pub(super) trait Copied {
    /// Its texts and contents, in bytes.
    fn bytes_copied(&self) -> u64;

    /// Of several.
    fn all(them: &[Self]) -> u64
    where
        Self: Sized,
    {
        them.iter().map(Self::bytes_copied).sum()
    }
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Copied for u8 {
    fn bytes_copied(&self) -> u64 {
        1
    }

    fn all(them: &[Self]) -> u64 {
        size(them.len())
    }
}

impl Copied for str {
    fn bytes_copied(&self) -> u64 {
        size(self.len())
    }
}

impl Copied for String {
    fn bytes_copied(&self) -> u64 {
        size(self.len())
    }
}

impl Copied for Arc<str> {
    fn bytes_copied(&self) -> u64 {
        size(self.len())
    }
}

impl<T: Copied> Copied for Vec<T> {
    fn bytes_copied(&self) -> u64 {
        T::all(self)
    }
}

impl<T: Copied> Copied for Option<T> {
    fn bytes_copied(&self) -> u64 {
        self.as_ref().map_or(0, T::bytes_copied)
    }
}

impl<T: Copied, E: Copied> Copied for Result<T, E> {
    fn bytes_copied(&self) -> u64 {
        match self {
            Ok(value) => value.bytes_copied(),
            Err(error) => error.bytes_copied(),
        }
    }
}

macro_rules! nothing {
    ($($ty:ty),+) => {
        $(impl Copied for $ty {
            fn bytes_copied(&self) -> u64 {
                0
            }
        })+
    };
}

nothing!((), bool, u32, u64, Level);

impl<T: 'static> Copied for Resource<T> {
    fn bytes_copied(&self) -> u64 {
        0
    }
}

macro_rules! tuple {
    ($($part:ident),+) => {
        impl<$($part: Copied),+> Copied for ($($part,)+) {
            fn bytes_copied(&self) -> u64 {
                #[allow(non_snake_case, reason = "named for their types")]
                let ($($part,)+) = self;
                0 $(+ $part.bytes_copied())+
            }
        }
    };
}

tuple!(A);
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);

impl Copied for Page {
    fn bytes_copied(&self) -> u64 {
        self.items.bytes_copied() + self.next.bytes_copied()
    }
}

impl Copied for types::Change {
    fn bytes_copied(&self) -> u64 {
        self.namespace.bytes_copied() + self.name.bytes_copied()
    }
}

impl Copied for types::ResourceEvent {
    fn bytes_copied(&self) -> u64 {
        match self {
            Self::Applied(json) | Self::Deleted(json) => json.bytes_copied(),
            Self::Absent => 0,
        }
    }
}

impl Copied for StoreError {
    fn bytes_copied(&self) -> u64 {
        match self {
            Self::NoSuchStore(text)
            | Self::NoSuchIndex(text)
            | Self::InvalidKeys(text)
            | Self::InvalidPath(text)
            | Self::InvalidCursor(text)
            | Self::Unavailable(text)
            | Self::Other(text) => text.bytes_copied(),
            Self::TooLarge(_) => 0,
        }
    }
}

impl Copied for OutputError {
    fn bytes_copied(&self) -> u64 {
        match self {
            Self::InvalidName(text) | Self::Other(text) => text.bytes_copied(),
            Self::TooLarge(_) => 0,
        }
    }
}
