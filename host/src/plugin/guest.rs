//! The host's state behind one plugin instance: what its imports may see.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use haptic_core::view::View;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::cached::Bodies;

use super::{
    clock::GuestTime,
    limits::{Limiter, Limits},
    outputs::Pending,
    stdio::LineSink,
    usage::Copies,
};

/// Severity of a line that a plugin logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the usual five")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// One line that a plugin logged, or wrote to stdout (info) or stderr (warn).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Severity.
    pub level: LogLevel,
    /// What the plugin calls the place it logs from; `stdout` or `stderr` for those.
    pub target: String,
    /// The text.
    pub message: String,
    /// Structured fields, in the plugin's order.
    pub fields: Vec<(String, String)>,
}

/// Where a plugin's log lines go.
pub type LogSink = Arc<dyn Fn(LogLine) + Send + Sync>;

/// The host's type behind the WIT resource `store`: its representation is the
/// index of the store among the plugin's watches, so a handle costs the host nothing.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "generated bindings re-export it")]
pub struct StoreHandle;

/// Fields of one log line that are kept.
const MAX_FIELDS: usize = 64;

/// Log budget of an instance: a token bucket that refills every second.
pub(super) struct LogBudget {
    /// When it began, since the logger did.
    window: Duration,
    used: u32,
    dropped: u64,
}

/// Writes log lines through the budget. Shared between the log import and the
/// WASI streams, which wasmtime-wasi drives through `Arc`s.
pub(crate) struct Logger {
    sink: LogSink,
    lines_per_second: u32,
    line_bytes: usize,
    began: Instant,
    /// Seconds are those of this time; `None`: of the machine's.
    time: Option<GuestTime>,
    budget: Mutex<LogBudget>,
}

impl Logger {
    pub(crate) fn new(sink: LogSink, limits: &Limits) -> Self {
        Self {
            sink,
            lines_per_second: limits.log_lines_per_second,
            line_bytes: limits.log_line_bytes,
            began: Instant::now(),
            time: None,
            budget: Mutex::new(LogBudget {
                window: Duration::ZERO,
                used: 0,
                dropped: 0,
            }),
        }
    }

    /// Counts lines a second of virtual time.
    pub(super) fn timed(self, time: Option<GuestTime>) -> Self {
        Self { time, ..self }
    }

    fn elapsed(&self) -> Duration {
        match &self.time {
            Some(time) => time.now(),
            None => self.began.elapsed(),
        }
    }

    pub(crate) fn log(&self, mut line: LogLine) {
        let dropped = {
            let mut budget = self
                .budget
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let now = self.elapsed();
            let mut dropped = 0;
            if now.saturating_sub(budget.window) >= Duration::from_secs(1) {
                dropped = std::mem::take(&mut budget.dropped);
                budget.window = now;
                budget.used = 0;
            }
            if budget.used >= self.lines_per_second {
                budget.dropped += 1;
                return;
            }
            budget.used += 1;
            dropped
        };
        if dropped > 0 {
            self.report_dropped(dropped);
        }
        self.cut(&mut line);
        (self.sink)(line);
    }

    /// Reports lines that were dropped and not reported yet; called when a
    /// callback ends, so that a flood is never silent.
    pub(crate) fn flush(&self) {
        let dropped = {
            let mut budget = self
                .budget
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut budget.dropped)
        };
        if dropped > 0 {
            self.report_dropped(dropped);
        }
    }

    fn report_dropped(&self, dropped: u64) {
        (self.sink)(LogLine {
            level: LogLevel::Warn,
            target: "haptic".to_owned(),
            message: format!(
                "{dropped} log lines were dropped: the limit is {} a second (raise it with --log-limit)",
                self.lines_per_second
            ),
            fields: Vec::new(),
        });
    }

    fn cut(&self, line: &mut LogLine) {
        let mut left = self.line_bytes;
        let mut cut = |text: &mut String| {
            if text.len() > left {
                let mut end = left;
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text.truncate(end);
                text.push('…');
            }
            left = left.saturating_sub(text.len());
        };
        cut(&mut line.message);
        cut(&mut line.target);
        line.fields.truncate(MAX_FIELDS);
        for (key, value) in &mut line.fields {
            cut(key);
            cut(value);
        }
    }
}

/// What one callback works on; present only while it runs.
pub(super) struct Call {
    pub(super) view: Arc<View>,
    pub(super) bodies: Bodies,
    pub(super) outputs: Pending,
}

pub(super) struct GuestState {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) limits: Limits,
    pub(super) logger: Arc<Logger>,
    pub(super) stdout: LineSink,
    pub(super) stderr: LineSink,
    pub(super) config: Arc<str>,
    pub(super) call: Option<Call>,
    /// Virtual time; `None`: the machine's.
    pub(super) time: Option<GuestTime>,
    /// What the running call, or the last one, had copied.
    pub(super) copies: Copies,
    /// Fuel of each call, where it is counted.
    pub(super) fuel: Option<u64>,
    /// When the running callback is over its time.
    pub(super) deadline: Option<Instant>,
    /// Store handles that the guest owns.
    pub(super) handles: u32,
    /// The text of a panic, carried out through the log import.
    pub(super) panic_text: Option<String>,
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
