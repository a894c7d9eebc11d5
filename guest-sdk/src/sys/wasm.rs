//! The host's imports.

use std::time::SystemTime;

use crate::bindings::haptic::plugin::{
    config as wit_config, log as wit_log, output, stores, types,
};
use crate::log::Level;
use crate::output::OutputError;
use crate::store::Page;
use crate::{Change, ChangeKind, StoreError};

#[derive(Debug)]
pub(crate) enum Handle<'a> {
    Owned(stores::Store),
    Borrowed(&'a stores::Store),
}

impl Handle<'static> {
    pub(crate) fn open(name: &str) -> Result<Self, StoreError> {
        Ok(Handle::Owned(stores::open(name)?))
    }
}

impl Handle<'_> {
    fn store(&self) -> &stores::Store {
        match self {
            Handle::Owned(store) => store,
            Handle::Borrowed(store) => store,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.store().name()
    }

    pub(crate) fn len(&self) -> u32 {
        self.store().len()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store().revision()
    }

    pub(crate) fn get(&self, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        Ok(self.store().get(keys)?)
    }

    pub(crate) fn get_by(&self, index: &str, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        Ok(self.store().get_by(index, keys)?)
    }

    pub(crate) fn get_object(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<String>, StoreError> {
        Ok(self.store().get_object(namespace, name)?)
    }

    pub(crate) fn list(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.store().list()?)
    }

    pub(crate) fn page(
        &self,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<String>, StoreError> {
        let stores::Page { items, next } = self.store().page(cursor, limit)?;
        Ok(Page { items, next })
    }

    pub(crate) fn select(&self, fields: &[&str], keys: &[&str]) -> Result<String, StoreError> {
        Ok(self.store().select(fields, keys)?)
    }

    pub(crate) fn changes(&self) -> Result<Vec<Change>, StoreError> {
        let changes = self.store().changes()?;
        Ok(changes.into_iter().map(change).collect())
    }
}

pub(crate) fn all_synced() -> bool {
    stores::all_synced()
}

pub(crate) fn write(name: &str, content: &str) -> Result<(), OutputError> {
    output::write(name, content).map_err(output_error)
}

pub(crate) fn write_bytes(name: &str, content: &[u8]) -> Result<(), OutputError> {
    output::write_bytes(name, content).map_err(output_error)
}

pub(crate) fn log(level: Level, target: &str, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Error => wit_log::Level::Error,
        Level::Warn => wit_log::Level::Warn,
        Level::Info => wit_log::Level::Info,
        Level::Debug => wit_log::Level::Debug,
        Level::Trace => wit_log::Level::Trace,
    };
    wit_log::log(level, target, message, fields);
}

pub(crate) fn config() -> String {
    wit_config::get()
}

pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

fn change(change: types::Change) -> Change {
    let types::Change {
        kind,
        namespace,
        name,
    } = change;
    Change {
        kind: match kind {
            types::ChangeKind::Created => ChangeKind::Created,
            types::ChangeKind::Modified => ChangeKind::Modified,
            types::ChangeKind::Deleted => ChangeKind::Deleted,
        },
        namespace,
        name,
    }
}

impl From<stores::StoreError> for StoreError {
    fn from(error: stores::StoreError) -> Self {
        match error {
            stores::StoreError::NoSuchStore(name) => StoreError::NoSuchStore(name),
            stores::StoreError::NoSuchIndex(name) => StoreError::NoSuchIndex(name),
            stores::StoreError::InvalidKeys(text) => StoreError::InvalidKeys(text),
            stores::StoreError::InvalidPath(text) => StoreError::InvalidPath(text),
            stores::StoreError::InvalidCursor(text) => StoreError::InvalidCursor(text),
            stores::StoreError::TooLarge(bytes) => StoreError::TooLarge(bytes),
            stores::StoreError::Unavailable(text) => StoreError::Unavailable(text),
            stores::StoreError::Other(text) => StoreError::Other(text),
        }
    }
}

fn output_error(error: output::OutputError) -> OutputError {
    match error {
        output::OutputError::InvalidName(text) => OutputError::InvalidName(text),
        output::OutputError::TooLarge(bytes) => OutputError::TooLarge(bytes),
        output::OutputError::Other(text) => OutputError::Other(text),
    }
}
