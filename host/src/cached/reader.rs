//! The reads of a store whose bodies may have to be fetched: the same answers as those of
//! [`StoreView`], later.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use haptic_core::{
    Object,
    select::Selection,
    spec::WatchPlan,
    view::{Gathered, ReadError, StoreView, Which, select_error, select_paths},
};
use tokio::time::Instant;

use super::{Bodies, CONCURRENT_GETS};

/// Reads one store, in memory or cached.
///
/// Of a cached store the answers are those of a store in memory, but that an object may
/// be newer than the store's snapshot, and that one which is not there any more is left
/// out. A body that cannot be fetched fails the whole read with
/// [`ReadError::Unavailable`]: no answer is silently shorter. However many objects a read
/// is about, no more bodies are held for it than its answer may be large, and thirty-two.
///
/// The reads of a store in memory are ready at once; only `select`, whose paths may be
/// anything, is given up like a fetch when its time is over.
#[derive(Clone, Debug)]
pub struct Reader {
    store: StoreView,
    bodies: Bodies,
    limit: u64,
    until: Instant,
}

impl Bodies {
    /// Reads `store`. An answer holds at most `limit` bytes, and what has not been fetched
    /// at `until` is unavailable.
    #[must_use]
    pub fn reader(&self, store: StoreView, limit: u64, until: Instant) -> Reader {
        Reader {
            store,
            bodies: self.clone(),
            limit,
            until,
        }
    }
}

impl Reader {
    /// The store: what can be read without bodies.
    #[must_use]
    pub fn store(&self) -> &StoreView {
        &self.store
    }

    /// Bodies of the objects with these leading keys of the primary index.
    ///
    /// # Errors
    /// As [`StoreView::get`], and [`ReadError::Unavailable`].
    pub async fn get(&self, keys: &[&str]) -> Result<Vec<Arc<str>>, ReadError> {
        match self.store.cached_plan() {
            None => self.store.get(keys, self.limit),
            Some(_) => self.texts(Which::Keys(keys)).await,
        }
    }

    /// The same in a named index.
    ///
    /// # Errors
    /// As [`StoreView::get_by`], and [`ReadError::Unavailable`].
    pub async fn get_by(&self, index: &str, keys: &[&str]) -> Result<Vec<Arc<str>>, ReadError> {
        match self.store.cached_plan() {
            None => self.store.get_by(index, keys, self.limit),
            Some(_) => self.texts(Which::IndexKeys(index, keys)).await,
        }
    }

    /// The body of one object; none if there is none.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn get_object(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<str>>, ReadError> {
        let found = self.find_object(namespace, name).await?;
        Ok(found.and_then(|object| text(&object)))
    }

    /// All bodies.
    ///
    /// # Errors
    /// As [`StoreView::list`], and [`ReadError::Unavailable`].
    pub async fn list(&self) -> Result<Vec<Arc<str>>, ReadError> {
        match self.store.cached_plan() {
            None => self.store.list(self.limit),
            Some(_) => self.texts(Which::All).await,
        }
    }

    /// At most `count` bodies after `cursor`, fewer when they would exceed the answer's
    /// limit (but at least one, unless they are all gone), and the cursor of the next page.
    ///
    /// # Errors
    /// As [`StoreView::page`], and [`ReadError::Unavailable`].
    pub async fn page(
        &self,
        cursor: Option<&str>,
        count: u32,
    ) -> Result<(Vec<Arc<str>>, Option<String>), ReadError> {
        let Some(plan) = self.store.cached_plan() else {
            return self.store.page(cursor, count, self.limit);
        };
        let page = self.store.objects_after(cursor, count)?;
        let objects: Vec<_> = page.objects.into_iter().cloned().collect();
        let mut found = self.fetch(plan, objects);
        let mut gathered = Gathered::new(self.limit);
        let mut done = 0_u32;
        while let Some(fetched) = found.try_next().await? {
            if let Some(body) = fetched.and_then(|object| text(&object)) {
                match gathered.take(body) {
                    Ok(()) => {}
                    Err(error) if gathered.bodies.is_empty() => return Err(error),
                    Err(_) => {
                        // Something was taken, so `done` is not 0.
                        let next = self.store.objects_after(cursor, done)?.next;
                        return Ok((gathered.bodies, next));
                    }
                }
            }
            done = done.saturating_add(1);
        }
        Ok((gathered.bodies, page.next))
    }

    /// JSON columns of `fields`: see `select` in the WIT.
    ///
    /// # Errors
    /// As [`StoreView::select`]; [`ReadError::Unavailable`], and [`ReadError::OutOfTime`] for
    /// an answer that is not put together by then.
    pub async fn select(&self, fields: &[&str], keys: &[&str]) -> Result<String, ReadError> {
        let until = self.until;
        let has_time = move || Instant::now() < until;
        let Some(plan) = self.store.cached_plan() else {
            return self.store.select_while(fields, keys, self.limit, &has_time);
        };
        let paths = select_paths(fields, &has_time)?;
        let which = match keys {
            [] => Which::All,
            keys => Which::Keys(keys),
        };
        let refused = |error| select_error(&error, self.limit);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut selection = Selection::new(&paths, limit).map_err(refused)?;
        let mut found = self.fetch(plan, self.objects(which)?);
        while let Some(fetched) = found.try_next().await? {
            if let Some((object, body)) = fetched.as_ref().and_then(|o| Some((o, o.body()?))) {
                selection
                    .push_while(object.identity(), body.as_str(), &has_time)
                    .map_err(refused)?;
            }
        }
        Ok(selection.finish())
    }

    /// Objects as controllers in Rust read them: with their bodies, whatever the store
    /// keeps, and with the version that the body is of. Those of a store in memory are
    /// shared with it, and not held against the answer's limit.
    ///
    /// # Errors
    /// As [`StoreView::find`]; [`ReadError::TooLarge`], [`ReadError::Unavailable`].
    pub async fn find(&self, which: Which<'_>) -> Result<Vec<Arc<Object>>, ReadError> {
        let objects = self.objects(which)?;
        let Some(plan) = self.store.cached_plan() else {
            return Ok(objects);
        };
        let mut found = self.fetch(plan, objects);
        let (mut fetched, mut left) = (Vec::new(), self.limit);
        while let Some(object) = found.try_next().await? {
            let Some(object) = object else { continue };
            let bytes = object.body().map_or(0, |body| body.as_str().len());
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            left = left
                .checked_sub(bytes)
                .ok_or(ReadError::TooLarge(self.limit))?;
            fetched.push(object);
        }
        Ok(fetched)
    }

    /// One object as controllers in Rust read it: see [`Reader::find`].
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn find_object(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, ReadError> {
        let Some(object) = self.store.object(namespace, name).map(Arc::clone) else {
            return Ok(None);
        };
        match self.store.cached_plan() {
            None => Ok(Some(object)),
            Some(plan) => {
                let fetched = self.fetch(plan, vec![object]).try_next().await?;
                Ok(fetched.flatten())
            }
        }
    }

    async fn texts(&self, which: Which<'_>) -> Result<Vec<Arc<str>>, ReadError> {
        let found = self.find(which).await?;
        Ok(found.iter().filter_map(|object| text(object)).collect())
    }

    fn objects(&self, which: Which<'_>) -> Result<Vec<Arc<Object>>, ReadError> {
        Ok(self.store.find(which)?.cloned().collect())
    }

    /// These objects with their bodies, in their order; none for one that is gone.
    fn fetch(
        &self,
        plan: &Arc<WatchPlan>,
        objects: Vec<Arc<Object>>,
    ) -> impl Stream<Item = Result<Option<Arc<Object>>, ReadError>> + Send + Unpin + use<> {
        let (plan, bodies, until) = (Arc::clone(plan), self.bodies.clone(), self.until);
        let store: Arc<str> = Arc::from(self.store.name());
        let fetched = stream::iter(objects).map(move |object| {
            let fetching = bodies
                .clone()
                .fetch(Arc::clone(&plan), Arc::clone(&object), until);
            let store = Arc::clone(&store);
            async move {
                fetching.await.map_err(|error| {
                    ReadError::Unavailable(format!("{store} {}: {error}", object.identity()))
                })
            }
        });
        Box::pin(fetched.buffered(CONCURRENT_GETS))
    }
}

/// The text of an object that was fetched, which is to say: with its body.
fn text(object: &Object) -> Option<Arc<str>> {
    Some(object.body()?.shared())
}
