//! What a plugin may use, and the bookkeeping that says which limit it hit.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Core instances in one component: Python's have some ten.
pub(super) const MAX_INSTANCES: usize = 256;
/// Tables of all of them, which are bounded together by [`Limits::table_elements`] too.
pub(super) const MAX_TABLES: usize = 256;
/// Memories of all of them, likewise by [`Limits::memory`]; each reserves 4 GiB of addresses.
pub(super) const MAX_MEMORIES: usize = 64;

/// Handles of the host's that are not of stores, such as WASI's streams, files and
/// pollables: far more than a program holds, and a few megabytes of the host's memory.
pub(super) const WASI_HANDLES: usize = 10_000;

/// What a guest may pass in one call beside an output: keys, paths, log lines, and an
/// output that is too large, of which it is to be told.
const ROOM: u64 = 16 << 20;

/// Limits of one plugin (contract P1). Hitting one fails the callback with a
/// sentence that names the limit; the host goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories of an instance together. Default 256 MiB:
    /// twice what a full list of 50,000 filtered objects of 1.4 KB takes.
    pub memory: u64,
    /// Wall-clock time of one callback, `describe` included. Default 10 s.
    pub callback_time: Duration,
    /// Elements of all tables of an instance together. Default 1,000,000: large
    /// enough for interpreters' function tables, 8 MB of host memory.
    pub table_elements: u64,
    /// Bytes that one callback may write to outputs. Default 64 MiB.
    pub output_bytes: u64,
    /// Outputs that one callback may write. Default 4,096.
    pub output_count: usize,
    /// Log lines that pass in one second; what is over is counted and reported
    /// in one line. Default 200.
    pub log_lines_per_second: u32,
    /// Bytes of one log line, fields included; longer ones are cut. Default 8 KiB.
    pub log_line_bytes: usize,
    /// Store handles alive at the same time. Default 1,024: garbage-collected
    /// guests leak some between collections.
    pub store_handles: u32,
    /// Bytes that one read may answer with; above, the guest gets `too-large`
    /// and pages. Default 128 MiB: half the memory it has to fit in.
    pub answer_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            callback_time: Duration::from_secs(10),
            table_elements: 1_000_000,
            output_bytes: 64 << 20,
            output_count: 4_096,
            log_lines_per_second: 200,
            log_line_bytes: 8 << 10,
            store_handles: 1_024,
            answer_bytes: 128 << 20,
        }
    }
}

impl Limits {
    /// Bytes that a guest may pass to the host in one call, which copies them before it
    /// looks at them.
    pub(super) fn call_bytes(&self) -> u64 {
        self.output_bytes.saturating_add(ROOM)
    }
}

/// Counts what an instance allocates and remembers the first denial: a denied
/// growth surfaces in the guest as a mere `unreachable`.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_limit: u64,
    memory_used: u64,
    last_growth: u64,
    table_limit: u64,
    tables_used: u64,
    denial: Option<String>,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory,
            memory_used: 0,
            last_growth: 0,
            table_limit: limits.table_elements,
            tables_used: 0,
            denial: None,
        }
    }

    /// Bytes of linear memory in use.
    pub(super) fn memory_used(&self) -> u64 {
        self.memory_used
    }

    /// The sentence about the last denied growth, once.
    pub(super) fn take_denial(&mut self) -> Option<String> {
        self.denial.take()
    }
}

/// Whole MiB, rounded up; bytes below one.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{bytes} bytes"),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

fn grown(current: usize, desired: usize) -> u64 {
    u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.memory_used.saturating_add(grown(current, desired));
        if wanted > self.memory_limit {
            self.last_growth = 0;
            self.denial = Some(format!(
                "it asked for {} of memory and its limit is {} (raise it with --memory-limit)",
                size(wanted),
                size(self.memory_limit)
            ));
            return Ok(false);
        }
        self.last_growth = wanted - self.memory_used;
        self.memory_used = wanted;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // It was granted above, and the system did not give it.
        self.memory_used -= std::mem::take(&mut self.last_growth);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.tables_used.saturating_add(grown(current, desired));
        if wanted > self.table_limit {
            self.denial = Some(format!(
                "it asked for {wanted} table elements and its limit is {} (raise it with --table-limit)",
                self.table_limit
            ));
            return Ok(false);
        }
        self.tables_used = wanted;
        Ok(true)
    }

    // A component may nest core instances; each costs host memory.
    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
