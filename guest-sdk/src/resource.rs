//! Typed views of a watch: a struct whose fields are columns of a selection.
//!
//! ```
//! use haptic_guest::{Config, Error, Plugin, Resource, Watch, output};
//!
//! /// What this plugin wants to know of an Ingress.
//! #[derive(Resource)]
//! #[resource(api_version = "networking.k8s.io/v1", plural = "ingresses")]
//! #[resource(field_selector = "spec.ingressClassName=haproxy", index("by-host", "spec.rules[*].host"))]
//! struct Route {
//!     namespace: String,
//!     name: String,
//!     #[field("spec.rules[*].host")]
//!     hosts: Vec<String>,
//!     #[field("metadata.annotations['haproxy.org/timeout']")]
//!     timeout: Option<String>,
//! }
//!
//! struct Hosts;
//!
//! impl Plugin for Hosts {
//!     fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
//!         Ok(vec![Route::watch()])
//!     }
//!     fn new(_: &Config) -> Result<Self, Error> {
//!         Ok(Hosts)
//!     }
//!     fn render(&mut self) -> Result<(), Error> {
//!         let mut text = String::new();
//!         for Route { namespace, name, hosts, .. } in Route::list()? {
//!             text += &format!("{namespace}/{name}: {}\n", hosts.join(" "));
//!         }
//!         Ok(output::write("hosts.txt", &text)?)
//!     }
//! }
//! ```
//!
//! The host stores of each object only what the fields name, a change of anything else is no change,
//! and a list copies only these columns into the plugin.
//!
//! **Fields.** `#[field("path")]` says where in the object a field is; `namespace`, `name`, `uid`,
//! `resource_version`, `labels`, `annotations`, `generation` and `creation_timestamp` need none. A
//! field can have any type that serde reads. A value that may be missing is an `Option`, or has
//! `#[field("path", default)]`. A path that can match several values (`[*]`, slices, filters) gives a
//! list of them. `Cow<'a, str>` and `&'a str` borrow from the answer: see [`Resource::columns`].
//!
//! **Options** of `#[resource(…)]`, those of [`Watch`]: `api_version = "…"` and `plural = "…"` (both
//! needed), `name = "…"` (of the store; the plural if it is not said), `index_by("path", …)`,
//! `index("name", "path", …)`, `namespaces("…", …)`, `own_namespace`, `label_selector = "…"`,
//! `field_selector = "…"`, `cached`, `cache_ttl = "2m10s"`, `debounce = "500ms"`, `optional`,
//! `on_change_during_sync`, `ignore("path", …)`, `keep("path", …)` for more than the fields, and
//! `keep_all` for whole objects. What depends on settings is said to the [`Watch`]:
//! `Route::watch().namespaces(settings.namespaces)`.
//!
//! A path that cannot be right does not compile; the host has the last word at start.

mod find;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use serde::Deserialize;

use crate::columns::Cursor;
use crate::{Columns, Store, StoreError, Watch, json};

/// Derives [`Resource`](trait@Resource) for a struct: see [the module](crate::resource).
pub use haptic_guest_macros::Resource;

/// Where a field is in an object. Made by the derive macro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The path, as it was written.
    pub path: &'static str,
    /// Its steps, if it has nothing but names, positions and wildcards.
    pub steps: Option<&'static [Step]>,
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of this name.
    Name(&'static str),
    /// The element at this position; a negative one counts from the end.
    Index(i64),
    /// All members, or all elements.
    Wildcard,
}

/// A typed view of a watch. Derive it: see [the module](crate::resource).
pub trait Resource: Sized {
    /// The name of the watch, hence of its store.
    const STORE: &'static str;
    /// One for each field, in their order.
    const COLUMNS: &'static [Column];

    /// The declaration, for [`describe`](crate::Plugin::describe).
    fn watch() -> Watch;

    /// The store of the watch.
    ///
    /// # Errors
    /// [`StoreError::NoSuchStore`] when `describe` does not declare the watch.
    fn store() -> Result<Store<'static>, StoreError> {
        Store::open(Self::STORE)
    }

    /// All objects, in the order of (namespace, name).
    ///
    /// One object that does not fit the struct fails the whole list. To skip such objects, read
    /// [`Store::rows`], or a [`Cache`](crate::Cache).
    ///
    /// # Errors
    /// As for [`Store::select`]; [`StoreError::Decode`] names the object and the field.
    fn list() -> Result<Vec<Self>, StoreError>
    where
        Self: for<'de> FromRow<'de>,
    {
        Self::store()?.views(&[])
    }

    /// The objects with these leading keys of the primary index.
    ///
    /// # Errors
    /// As for [`Resource::list`], and [`StoreError::InvalidKeys`] for too many keys.
    fn get(keys: &[&str]) -> Result<Vec<Self>, StoreError>
    where
        Self: for<'de> FromRow<'de>,
    {
        Self::store()?.views(keys)
    }

    /// The view of one object from its JSON text: of an event's object, or in a test.
    ///
    /// # Errors
    /// [`StoreError::Decode`] when it does not fit; [`StoreError::Other`] for a view with filters,
    /// slices, unions or descendants in its paths, which only the host can evaluate.
    fn from_json(object: &str) -> Result<Self, StoreError>
    where
        Self: for<'de> FromRow<'de>,
    {
        match view_of(object) {
            Some((view, _)) => view,
            None => Err(StoreError::Other(
                "this view has paths that only the host can evaluate: read it from a store"
                    .to_owned(),
            )),
        }
    }

    /// The columns of this view, unparsed, for rows that borrow their strings:
    ///
    /// ```no_run
    /// use std::borrow::Cow;
    /// use haptic_guest::{Error, Resource};
    ///
    /// #[derive(Resource)]
    /// #[resource(api_version = "v1", plural = "services")]
    /// struct Service<'a> {
    ///     name: Cow<'a, str>,
    ///     #[field("spec.clusterIP")]
    ///     address: Option<&'a str>,
    /// }
    ///
    /// fn addresses() -> Result<usize, Error> {
    ///     let columns = Service::columns(&Service::store()?, &[])?;
    ///     let mut bytes = 0;
    ///     for service in columns.typed::<Service<'_>>()? {
    ///         bytes += service?.name.len();
    ///     }
    ///     Ok(bytes)
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`Store::columns`].
    fn columns(store: &Store<'_>, keys: &[&str]) -> Result<Columns, StoreError> {
        store.columns(&paths::<Self>(), keys)
    }
}

/// A view that can be read from a row of a selection. Made by the derive macro.
pub trait FromRow<'de>: Resource {
    /// Takes one value for each column, in their order.
    ///
    /// # Errors
    /// When a value does not fit its field.
    fn from_row(row: &mut Row<'_, 'de>) -> Result<Self, RowError>;
}

/// One row of a selection, of which values are taken one after the other.
#[derive(Debug)]
pub struct Row<'c, 'de> {
    cursor: &'c mut Cursor<'de>,
}

/// A value of a row that does not fit its field.
#[derive(Debug)]
pub struct RowError(serde_json::Error);

impl<'de> Row<'_, 'de> {
    /// The next value.
    ///
    /// # Errors
    /// When it is no `T`.
    pub fn value<T: Deserialize<'de>>(&mut self) -> Result<T, RowError> {
        self.cursor.next_value(PhantomData::<T>).map_err(RowError)
    }

    /// The next value, or the default for null.
    ///
    /// # Errors
    /// When it is no `T`.
    pub fn value_or_default<T: Deserialize<'de> + Default>(&mut self) -> Result<T, RowError> {
        Ok(self.value::<Option<T>>()?.unwrap_or_default())
    }

    /// The next value, a string, borrowed unless it has escapes.
    ///
    /// # Errors
    /// When it is no string.
    pub fn text(&mut self) -> Result<Cow<'de, str>, RowError> {
        Ok(self.value::<Text<'de>>()?.0)
    }

    /// The next value, a string, or the empty one for null.
    ///
    /// # Errors
    /// When it is neither.
    pub fn text_or_default(&mut self) -> Result<Cow<'de, str>, RowError> {
        Ok(self
            .value::<Option<Text<'de>>>()?
            .map_or(Cow::Borrowed(""), |text| text.0))
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn paths<T: Resource>() -> Vec<&'static str> {
    T::COLUMNS.iter().map(|column| column.path).collect()
}

/// Whether a plugin can evaluate all paths of the view by itself.
fn is_plain<T: Resource>() -> bool {
    T::COLUMNS.iter().all(|column| column.steps.is_some())
}

impl Columns {
    /// The rows of a view: these columns must be its own, from [`Resource::columns`].
    ///
    /// A row that does not fit is an error, and the rows after it come all the same.
    ///
    /// # Errors
    /// [`StoreError::Other`] when the text is not one array per field, which is the host's fault.
    pub fn typed<'de, T: FromRow<'de>>(&'de self) -> Result<TypedRows<'de, T>, StoreError> {
        Ok(TypedRows {
            cursor: self.cursor()?,
            fields: self.fields(),
            row: 0,
            item: PhantomData,
        })
    }
}

/// See [`Columns::typed`].
#[derive(Debug)]
pub struct TypedRows<'de, T> {
    cursor: Cursor<'de>,
    fields: &'de [String],
    row: usize,
    item: PhantomData<fn() -> T>,
}

impl<'de, T: FromRow<'de>> Iterator for TypedRows<'de, T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_at_end() {
            return None;
        }
        self.row += 1;
        self.cursor.begin_row();
        let read = T::from_row(&mut Row {
            cursor: &mut self.cursor,
        });
        match read {
            Ok(value) => Some(Ok(value)),
            Err(RowError(error)) => {
                let column = self.cursor.column();
                let place = match self.fields.get(column) {
                    Some(field) => format!("row {}, field `{field}`", self.row),
                    None => format!("row {}", self.row),
                };
                self.cursor.skip_row();
                Some(Err(StoreError::Decode {
                    place,
                    message: json::without_position(&error),
                }))
            }
        }
    }
}

/// Views by the namespace and name of their objects, each or what is wrong with it.
type ByName<T> = HashMap<(String, String), Result<T, StoreError>>;

impl Store<'_> {
    /// The objects of this store as a view, all of them or those with these leading keys of the
    /// primary index. One that does not fit is an error that names it, and those after it come all
    /// the same.
    ///
    /// # Errors
    /// As for [`Store::columns`].
    pub fn rows<T>(
        &self,
        keys: &[&str],
    ) -> Result<std::vec::IntoIter<Result<T, StoreError>>, StoreError>
    where
        T: Resource + for<'de> FromRow<'de>,
    {
        let rows = match self.fitting(keys)? {
            Some(views) => views.into_iter().map(Ok).collect(),
            None => self.named(keys)?.collect::<Vec<_>>(),
        };
        Ok(rows.into_iter())
    }

    /// The same; the first that does not fit fails all.
    fn views<T>(&self, keys: &[&str]) -> Result<Vec<T>, StoreError>
    where
        T: Resource + for<'de> FromRow<'de>,
    {
        match self.fitting(keys)? {
            Some(views) => Ok(views),
            None => self.named(keys)?.collect(),
        }
    }

    /// The same, unless one does not fit.
    fn fitting<T>(&self, keys: &[&str]) -> Result<Option<Vec<T>>, StoreError>
    where
        T: Resource + for<'de> FromRow<'de>,
    {
        let columns = T::columns(self, keys)?;
        let rows = columns.typed::<T>()?;
        let mut views = Vec::with_capacity(rows.cursor.rows());
        for row in rows {
            let Ok(view) = row else {
                return Ok(None);
            };
            views.push(view);
        }
        Ok(Some(views))
    }

    /// The same with errors that name the object. Those of plain rows say which row; whoever reads
    /// them knows objects by their names.
    fn named<T: ObjectView>(
        &self,
        keys: &[&str],
    ) -> Result<impl Iterator<Item = Result<T, StoreError>>, StoreError> {
        Ok(self.keyed::<T>(keys)?.into_iter().map(|row| row.view))
    }

    /// One object as a view, by its identity; `None` when there is none.
    ///
    /// # Errors
    /// As for [`Store::get_object`].
    pub fn view<T: ObjectView>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        let Some(object) = self.get_object_json(namespace, name)? else {
            return Ok(None);
        };
        let view = match view_of(&object) {
            Some((view, _)) => Some(view),
            None => self
                .evaluated::<T>()?
                .remove(&(namespace.to_owned(), name.to_owned())),
        };
        view.transpose()
    }

    /// The objects with these keys in a named index, as views.
    ///
    /// # Errors
    /// As for [`Store::get_by`].
    pub fn views_by<T: ObjectView>(
        &self,
        index: &str,
        keys: &[&str],
    ) -> Result<Vec<T>, StoreError> {
        let objects = self.get_by_json(index, keys)?;
        if is_plain::<T>() {
            let views = objects.iter().filter_map(|object| view_of(object));
            return views.map(|(view, _)| view).collect();
        }
        let mut views = match objects.is_empty() {
            true => HashMap::new(),
            false => self.evaluated::<T>()?,
        };
        let views = objects
            .iter()
            .filter_map(|object| views.remove(&json::names(object)?));
        views.collect()
    }

    /// All objects by namespace and name: for paths that only the host can evaluate, which it does
    /// for whole stores.
    fn evaluated<T: ObjectView>(&self) -> Result<ByName<T>, StoreError> {
        let rows = self.keyed::<T>(&[])?.into_iter();
        Ok(rows
            .map(|row| ((row.namespace, row.name), row.view))
            .collect())
    }

    /// The view of every object with these leading keys, with its identity.
    pub(crate) fn keyed<T: ObjectView>(
        &self,
        keys: &[&str],
    ) -> Result<Vec<KeyedRow<T>>, StoreError> {
        let mut fields = IDENTITY.to_vec();
        fields.extend(paths::<T>());
        let columns = match self.columns(&fields, keys) {
            Err(StoreError::TooLarge(_)) if keys.is_empty() && is_plain::<T>() => {
                return self.keyed_pages();
            }
            columns => columns?,
        };
        let mut cursor = columns.cursor()?;
        let mut rows = Vec::new();
        while !cursor.is_at_end() {
            cursor.begin_row();
            rows.push(keyed_row::<T>(&mut cursor, &fields)?);
        }
        Ok(rows)
    }

    /// All of them, a page at a time.
    fn keyed_pages<T: ObjectView>(&self) -> Result<Vec<KeyedRow<T>>, StoreError> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.page_json(cursor.as_deref(), PAGE)?;
            for object in &page.items {
                if let (Some((namespace, name)), Some((view, print))) =
                    (json::names(object), view_of(object))
                {
                    rows.push(KeyedRow {
                        namespace,
                        name,
                        view,
                        print,
                    });
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(rows);
            }
        }
    }
}

/// Objects in a page, of a store whose columns do not fit one answer: some hundreds of kilobytes.
const PAGE: u32 = 500;

/// A view that owns all that it holds.
pub trait ObjectView: Resource + for<'de> FromRow<'de> {}

impl<T: Resource + for<'de> FromRow<'de>> ObjectView for T {}

pub(crate) const IDENTITY: [&str; 2] = ["metadata.namespace", "metadata.name"];

/// An object's identity, and its view or what is wrong with it.
pub(crate) struct KeyedRow<T> {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) view: Result<T, StoreError>,
    /// Equal for equal texts of all columns.
    pub(crate) print: u64,
}

fn keyed_row<T: ObjectView>(
    cursor: &mut Cursor<'_>,
    fields: &[&str],
) -> Result<KeyedRow<T>, StoreError> {
    let mut row = Row { cursor };
    let identity = row
        .value_or_default::<String>()
        .and_then(|namespace| Ok((namespace, row.value::<String>()?)));
    let (namespace, name) = identity.map_err(|RowError(error)| {
        StoreError::Other(format!(
            "an object without metadata.name: {}",
            json::without_position(&error)
        ))
    })?;
    let (read, print) = printed(cursor);
    let view = read.map_err(|RowError(error)| {
        let field = fields.get(cursor.column()).copied().unwrap_or_default();
        cursor.skip_row();
        decode_error(&namespace, &name, field, &error)
    });
    Ok(KeyedRow {
        namespace,
        name,
        view,
        print,
    })
}

/// A view from where the cursor stands, and the fingerprint of what it was read from; of one that
/// does not fit, of what was read before and the error.
fn printed<T: ObjectView>(cursor: &mut Cursor<'_>) -> (Result<T, RowError>, u64) {
    cursor.begin_print();
    let read = T::from_row(&mut Row { cursor });
    let mut print = cursor.print();
    if let Err(RowError(error)) = &read {
        let mut hasher = DefaultHasher::new();
        (print, json::without_position(error)).hash(&mut hasher);
        print = hasher.finish();
    }
    (read, print)
}

fn decode_error(namespace: &str, name: &str, field: &str, error: &serde_json::Error) -> StoreError {
    let object = match namespace {
        "" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    };
    StoreError::Decode {
        place: format!("{object}, field `{field}`"),
        message: json::without_position(error),
    }
}

/// The view of one object, with the fingerprint that its row in a selection has; `None` when it has
/// a path that only the host can evaluate.
pub(crate) fn view_of<T: ObjectView>(object: &str) -> Option<(Result<T, StoreError>, u64)> {
    let columns = find::columns(object, T::COLUMNS)?;
    let mut cursor = match columns.cursor() {
        Ok(cursor) => cursor,
        Err(error) => return Some((Err(error), 0)),
    };
    let (read, print) = printed(&mut cursor);
    let view = read.map_err(|RowError(error)| {
        let (namespace, name) = json::names(object).unwrap_or_default();
        let field = T::COLUMNS
            .get(cursor.column())
            .map_or("", |column| column.path);
        decode_error(&namespace, &name, field, &error)
    });
    Some((view, print))
}
