//! Response bodies: one buffer, a list that is written while it is sent, or a stream.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, SizeHint};

use crate::list::Page;
use crate::render::Renderer;
use crate::status::ApiError;

/// The body of an answer, as [`Cluster::call`](crate::Cluster::call) hands it out.
///
/// It fails only where a [`Fault`](crate::Fault) breaks the connection off: with
/// [`io::ErrorKind::ConnectionReset`] or [`io::ErrorKind::UnexpectedEof`].
#[derive(Debug)]
pub struct Body(UnsyncBoxBody<Bytes, io::Error>);

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Bytes that are written into a list before they are handed on.
const CHUNK: usize = 64 * 1024;

/// Lists from this size on are compressed when the client accepts it, as on a real server.
pub(crate) const GZIP_FROM: usize = 128 * 1024;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    let full = Full::new(bytes.into()).map_err(|never| match never {});
    Body(full.boxed_unsync())
}

pub(crate) fn streamed(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    fallible(chunks.map(Ok))
}

pub(crate) fn fallible(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    let frames = chunks.map(|chunk| chunk.map(Frame::data));
    Body(StreamBody::new(frames).boxed_unsync())
}

/// The chunks of a list, made one at a time.
struct ListWriter {
    renderer: Renderer,
    items: std::vec::IntoIter<std::sync::Arc<crate::state::Object>>,
    head: Option<Vec<u8>>,
    first: bool,
    finished: bool,
}

impl ListWriter {
    fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        if self.finished {
            return Ok(None);
        }
        let mut chunk = self.head.take().unwrap_or_default();
        while chunk.len() < CHUNK {
            let Some(object) = self.items.next() else {
                chunk.extend_from_slice(b"]}");
                self.finished = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                chunk.push(b',');
            }
            self.renderer.item(&object, &mut chunk)?;
        }
        Ok(Some(chunk))
    }
}

/// The body of a list, and whether it is compressed. A small list is one buffer.
pub(crate) fn list(
    renderer: Renderer,
    page: Page,
    gzip_accepted: bool,
) -> Result<(Body, bool), ApiError> {
    let mut metadata = serde_json::json!({"resourceVersion": page.version.to_string()});
    if let Some(token) = page.token {
        metadata["continue"] = token.into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let head = renderer.list_head(&metadata);
    let mut writer = ListWriter {
        renderer,
        items: page.items.into_iter(),
        head: Some(head),
        first: true,
        finished: false,
    };
    let mut start = Vec::new();
    while start.len() < GZIP_FROM
        && let Some(chunk) = writer.next()?
    {
        start.extend(chunk);
    }
    if writer.finished && start.len() < GZIP_FROM {
        return Ok((full(start), false));
    }
    let mut gzip = gzip_accepted.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    let compressed = gzip.is_some();
    let mut start = Some(start);
    let chunks = stream::iter(std::iter::from_fn(move || {
        loop {
            // An object that cannot be rendered cuts the list short: the client sees broken JSON, never a shorter list.
            let plain = match start.take() {
                Some(start) => Some(start),
                None => writer.next().unwrap_or_else(|error| {
                    tracing::error!(%error, "a list was cut short");
                    None
                }),
            };
            let Some(encoder) = &mut gzip else {
                return plain.map(Bytes::from);
            };
            let Some(plain) = plain else {
                return gzip
                    .take()
                    .and_then(|encoder| encoder.finish().ok())
                    .map(Bytes::from);
            };
            if encoder.write_all(&plain).is_err() {
                return None;
            }
            let ready = std::mem::take(encoder.get_mut());
            if !ready.is_empty() {
                return Some(Bytes::from(ready));
            }
        }
    }));
    Ok((streamed(chunks), compressed))
}
