//! Typed reads of the plugin's stores.

use std::cell::OnceCell;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::{Change, Columns, json, sys};

/// A store: the objects of one watch.
///
/// It names the store, not a snapshot. Every read sees the snapshot of the callback that is
/// running, the same one for all stores. Objects come in the order of (namespace, name), filtered
/// by the watch's `ignore_fields` and `keep_fields`.
///
/// Callbacks get the store that they are about; [`Store::open`] reaches the others, and what it
/// returns may be kept in the plugin.
///
/// Reading little is fast, reading much is slow: [`select`](Store::select) moves only the fields
/// that are asked for and beats [`list`](Store::list) by a factor of ten.
#[derive(Debug)]
pub struct Store<'a> {
    handle: sys::Handle<'a>,
    name: OnceCell<String>,
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The plugin declared no watch of this name, or there is no callback running.
    #[error("no store named `{0}`")]
    NoSuchStore(String),
    /// The watch declared no index of this name.
    #[error("no index named `{0}`")]
    NoSuchIndex(String),
    /// No keys, or more than the index has; the text says which.
    #[error("invalid keys: {0}")]
    InvalidKeys(String),
    /// A path of `select` does not compile; the text says why.
    #[error("invalid path: {0}")]
    InvalidPath(String),
    /// A cursor that no page of this store has given.
    #[error("invalid cursor: {0}")]
    InvalidCursor(String),
    /// The answer would be larger than this many bytes: read pages, or select fewer fields.
    #[error("the answer would be larger than {0} bytes; read pages or select fewer fields")]
    TooLarge(u64),
    /// A cached store could not fetch from the API server; the text says why.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// An object, or a row, does not fit the type that was asked for.
    #[error("{place}: {message}")]
    Decode {
        /// `namespace/name` of the object, or the row and field of a selection.
        place: String,
        /// What does not fit; names the field.
        message: String,
    },
    /// Anything else; the text is a sentence.
    #[error("{0}")]
    Other(String),
}

/// Some of a store's objects, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// The cursor for the next page; `None` at the end.
    pub next: Option<String>,
}

/// Whether every required watch of the plugin is synced, in the snapshot of this callback.
pub fn all_synced() -> bool {
    sys::all_synced()
}

impl Store<'static> {
    /// Another store of this plugin, by the name of its watch.
    ///
    /// # Errors
    /// [`StoreError::NoSuchStore`].
    pub fn open(name: &str) -> Result<Self, StoreError> {
        sys::Handle::open(name).map(Store::from_handle)
    }
}

impl<'a> Store<'a> {
    pub(crate) fn from_handle(handle: sys::Handle<'a>) -> Self {
        Store {
            handle,
            name: OnceCell::new(),
        }
    }

    /// The name of its watch.
    pub fn name(&self) -> &str {
        self.name.get_or_init(|| self.handle.name())
    }

    /// How many objects it holds.
    pub fn len(&self) -> u32 {
        self.handle.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number that grows whenever an object of this store changes.
    pub fn revision(&self) -> u64 {
        self.handle.revision()
    }

    /// The objects with these keys in the primary index: all keys, or leading ones.
    ///
    /// # Errors
    /// [`StoreError::InvalidKeys`] for no key or too many, [`StoreError::Decode`] when an object
    /// does not fit `T`, and what a cached store adds.
    pub fn get<T: DeserializeOwned>(&self, keys: &[&str]) -> Result<Vec<T>, StoreError> {
        decode_all(self.get_json(keys)?)
    }

    /// Like [`get`](Store::get), as JSON texts.
    ///
    /// # Errors
    /// As for [`get`](Store::get).
    pub fn get_json(&self, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        self.handle.get(keys)
    }

    /// The objects with these keys in a named index: all keys, or leading ones.
    ///
    /// # Errors
    /// [`StoreError::NoSuchIndex`], and as for [`get`](Store::get).
    pub fn get_by<T: DeserializeOwned>(
        &self,
        index: &str,
        keys: &[&str],
    ) -> Result<Vec<T>, StoreError> {
        decode_all(self.get_by_json(index, keys)?)
    }

    /// Like [`get_by`](Store::get_by), as JSON texts.
    ///
    /// # Errors
    /// As for [`get_by`](Store::get_by).
    pub fn get_by_json(&self, index: &str, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        self.handle.get_by(index, keys)
    }

    /// One object by its identity; `namespace` is empty for a kind without namespaces. `None` when
    /// there is none.
    ///
    /// # Errors
    /// [`StoreError::Decode`] when it does not fit `T`, and what a cached store adds.
    pub fn get_object<T: DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        match self.get_object_json(namespace, name)? {
            Some(object) => decode(&object).map(Some),
            None => Ok(None),
        }
    }

    /// Like [`get_object`](Store::get_object), as JSON text.
    ///
    /// # Errors
    /// As for [`get_object`](Store::get_object).
    pub fn get_object_json(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<String>, StoreError> {
        self.handle.get_object(namespace, name)
    }

    /// All objects.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for a store that does not fit one answer,
    /// [`StoreError::Decode`] when an object does not fit `T`, and what a cached store adds.
    pub fn list<T: DeserializeOwned>(&self) -> Result<Vec<T>, StoreError> {
        decode_all(self.list_json()?)
    }

    /// Like [`list`](Store::list), as JSON texts.
    ///
    /// # Errors
    /// As for [`list`](Store::list).
    pub fn list_json(&self) -> Result<Vec<String>, StoreError> {
        self.handle.list()
    }

    /// The first `limit` objects after `cursor`, which is a page's [`next`](Page::next); `None`
    /// begins. The host may return fewer than `limit` and still have more.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], and as for [`list`](Store::list).
    pub fn page<T: DeserializeOwned>(
        &self,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<T>, StoreError> {
        let Page { items, next } = self.page_json(cursor, limit)?;
        Ok(Page {
            items: decode_all(items)?,
            next,
        })
    }

    /// Like [`page`](Store::page), as JSON texts.
    ///
    /// # Errors
    /// As for [`page`](Store::page).
    pub fn page_json(&self, cursor: Option<&str>, limit: u32) -> Result<Page<String>, StoreError> {
        self.handle.page(cursor, limit)
    }

    /// All objects, fetched `page_size` at a time: for stores that do not fit one answer, or the
    /// guest's memory. After an error the iterator ends.
    ///
    /// ```no_run
    /// # use haptic_guest::{Error, Store};
    /// # use serde::Deserialize;
    /// # #[derive(Deserialize)] struct Pod {}
    /// # fn f(store: &Store) -> Result<(), Error> {
    /// for pod in store.iter::<Pod>(500) {
    ///     let pod = pod?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter<T: DeserializeOwned>(&self, page_size: u32) -> Iter<'_, T> {
        Iter {
            store: self,
            page_size,
            items: Vec::new().into_iter(),
            cursor: Some(None),
            item: PhantomData,
        }
    }

    /// Some fields of all objects, or of those with these leading keys of the primary index, as
    /// typed rows. Only these fields are copied into the plugin.
    ///
    /// A row is a tuple, or a struct whose fields are declared in the order of `fields` (their
    /// names do not matter). A missing field is `null`: use `Option` for it.
    ///
    /// ```no_run
    /// # use haptic_guest::{Error, Store};
    /// # fn f(store: &Store) -> Result<(), Error> {
    /// let services: Vec<(String, Option<String>)> =
    ///     store.select(&["metadata.name", "spec.clusterIP"], &["shop"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`], [`StoreError::InvalidKeys`] for too many keys,
    /// [`StoreError::TooLarge`], [`StoreError::Decode`] when a row does not fit `T`, and what a
    /// cached store adds.
    pub fn select<T: DeserializeOwned>(
        &self,
        fields: &[&str],
        keys: &[&str],
    ) -> Result<Vec<T>, StoreError> {
        self.columns(fields, keys)?.rows()?.collect()
    }

    /// Like [`select`](Store::select), unparsed: for rows that borrow their strings, or for whole
    /// columns.
    ///
    /// # Errors
    /// As for [`select`](Store::select), but for the rows.
    pub fn columns(&self, fields: &[&str], keys: &[&str]) -> Result<Columns, StoreError> {
        let json = self.handle.select(fields, keys)?;
        Ok(Columns::new(json, fields))
    }

    /// The objects that changed since the last successful callback of this store, in the order of
    /// (namespace, name), each once with its net change; but one that was deleted and created anew
    /// twice, first deleted. Empty in `on_sync_complete`, where everything is new.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if even the identities do not fit one answer; list instead.
    pub fn changes(&self) -> Result<Vec<Change>, StoreError> {
        self.handle.changes()
    }
}

/// The objects of a store, a page at a time. See [`Store::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    store: &'a Store<'a>,
    page_size: u32,
    items: std::vec::IntoIter<String>,
    /// The cursor of the page to fetch next; `None`: there is none.
    cursor: Option<Option<String>>,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.next() {
                let item = decode(&item);
                if item.is_err() {
                    self.items = Vec::new().into_iter();
                    self.cursor = None;
                }
                return Some(item);
            }
            let cursor = self.cursor.take()?;
            match self.store.page_json(cursor.as_deref(), self.page_size) {
                Ok(page) => {
                    self.items = page.items.into_iter();
                    self.cursor = page.next.map(Some);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn decode<T: DeserializeOwned>(object: &str) -> Result<T, StoreError> {
    json::parse(object).map_err(|message| StoreError::Decode {
        place: json::identity(object),
        message,
    })
}

fn decode_all<T: DeserializeOwned>(objects: Vec<String>) -> Result<Vec<T>, StoreError> {
    objects.iter().map(|object| decode(object)).collect()
}
