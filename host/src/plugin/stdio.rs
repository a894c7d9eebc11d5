//! A plugin's stdout and stderr as bounded log lines (contract P5).

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::guest::{LogLevel, LogLine, Logger};

/// Collects bytes until a newline, then logs the line. A line longer than the
/// limit is logged in pieces, so the buffer is bounded.
#[derive(Clone)]
pub(super) struct LineSink {
    logger: Arc<Logger>,
    level: LogLevel,
    target: &'static str,
    buffer: Arc<Mutex<Vec<u8>>>,
    limit: usize,
    tail: Arc<Mutex<String>>,
}

/// Bytes of the last output that are kept for a trap report: a Python traceback
/// of some frames.
const TAIL: usize = 4 << 10;

/// Bytes that one write may have; a guest writes more in several.
const PERMIT: usize = 64 << 10;

impl LineSink {
    pub(super) fn new(
        logger: Arc<Logger>,
        level: LogLevel,
        target: &'static str,
        limit: usize,
    ) -> Self {
        Self {
            logger,
            level,
            target,
            buffer: Arc::default(),
            limit,
            tail: Arc::default(),
        }
    }

    /// Logs what stands in the buffer without a newline: called after a callback.
    pub(super) fn flush_line(&self) {
        let rest = std::mem::take(&mut *self.buffer.lock().unwrap_or_else(PoisonError::into_inner));
        if !rest.is_empty() {
            self.emit(&rest);
        }
    }

    /// The last lines written since the last call.
    pub(super) fn take_tail(&self) -> String {
        std::mem::take(&mut *self.tail.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn emit(&self, bytes: &[u8]) {
        let message = String::from_utf8_lossy(bytes).trim_end().to_owned();
        {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            if !tail.is_empty() {
                tail.push('\n');
            }
            tail.push_str(&message);
            let surplus = tail.ceil_char_boundary(tail.len().saturating_sub(TAIL));
            tail.drain(..surplus);
        }
        self.logger.log(LogLine {
            level: self.level,
            target: self.target.to_owned(),
            message,
            fields: Vec::new(),
        });
    }

    fn take(&self, bytes: &[u8]) {
        let mut lines = Vec::new();
        {
            let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            for piece in bytes.split_inclusive(|&b| b == b'\n') {
                for part in piece.chunks(self.limit) {
                    buffer.extend_from_slice(part);
                    if part.ends_with(b"\n") || buffer.len() >= self.limit {
                        lines.push(std::mem::take(&mut *buffer));
                    }
                }
            }
        }
        for line in lines {
            self.emit(&line);
        }
    }
}

impl IsTerminal for LineSink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineSink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // Without a task and a queue for each handle that a guest takes: what was written is in
    // the log when the call returns, and not when the callback is over already.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LineSink {
    async fn ready(&mut self) {}
}

impl OutputStream for LineSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for LineSink {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
