//! What this process has used: CPU time and resident memory, as Linux counts them.

use std::{io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process so far.
#[must_use]
pub fn cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time of this thread so far.
#[must_use]
pub fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// CPU time of another process so far, in ticks of 10 ms.
///
/// # Errors
/// When there is no such process.
pub fn cpu_of(process: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the command's name, which may hold anything: user and system time are the 12th and 13th.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// A moment that all processes of the machine agree on.
#[must_use]
pub fn monotonic() -> Duration {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

/// Memory of this process that is in RAM, in bytes.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most since the process began, or since [`reset_peak`].
    pub peak: u64,
    /// Of what is resident, what no other process shares, and is no file's content.
    pub private: u64,
}

/// How much memory there is of this process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn memory() -> io::Result<Memory> {
    memory_of(std::process::id())
}

/// The same of another process.
///
/// # Errors
/// When there is no such process.
pub fn memory_of(process: u32) -> io::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    Ok(Memory {
        resident: field(&status, "VmRSS:"),
        peak: field(&status, "VmHWM:"),
        private: field(&rollup, "Anonymous:"),
    })
}

/// Makes what is resident now the peak.
///
/// # Errors
/// When the kernel does not let us.
pub fn reset_peak() -> io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

/// Memory that other processes could still take, in bytes.
#[must_use]
pub fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    field(&text, "MemAvailable:")
}

/// A number of kilobytes of a file of `/proc`; 0 if it is not there.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or_default()
        << 10
}
