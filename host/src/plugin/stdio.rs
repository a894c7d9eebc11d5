//! A plugin's stdout and stderr as bounded log lines (contract P5).

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

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
            if tail.len() < TAIL {
                if !tail.is_empty() {
                    tail.push('\n');
                }
                tail.push_str(&message);
            }
        }
        self.logger.log(LogLine {
            level: self.level,
            target: self.target.to_owned(),
            message,
            fields: Vec::new(),
        });
    }

    fn write(&self, bytes: &[u8]) {
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
}

impl AsyncWrite for LineSink {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
