//! What the process costs, as the kernel tells. Reads `/proc` when somebody asks; where
//! there is none, the numbers are missing.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// What the process has used so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessStatus {
    /// Processor time that it has used, user and system.
    pub cpu_seconds: f64,
    /// When it started, in seconds since 1970.
    pub start_time_seconds: f64,
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// Address space.
    pub virtual_bytes: Option<u64>,
    /// File descriptors that are open.
    pub open_fds: Option<u64>,
    /// File descriptors that it may have.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl ProcessStatus {
    /// The process now.
    pub(super) fn read(started: SystemTime) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            cpu_seconds: cpu_seconds(),
            start_time_seconds: started
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO)
                .as_secs_f64(),
            resident_bytes: kib(&status, "VmRSS:"),
            virtual_bytes: kib(&status, "VmSize:"),
            open_fds: open_fds(),
            max_fds: field(&limits, "Max open files", 0),
            threads: field(&status, "Threads:", 0),
        }
    }
}

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(used.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos).as_secs_f64()
}

/// The n-th word after a label.
fn field(text: &str, label: &str, n: usize) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().nth(n)?.parse().ok()
}

fn kib(status: &str, label: &str) -> Option<u64> {
    field(status, label, 0)?.checked_mul(1024)
}

fn open_fds() -> Option<u64> {
    // That of reading the folder is one of them.
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn v1_the_kernels_words_are_read() {
        let status = "Name:\thaptic-host\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t7\n";
        assert_eq!(kib(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(field(status, "Threads:", 0), Some(7));
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(field(limits, "Max open files", 0), Some(1_024));
        assert_eq!(field("Max open files unlimited", "Max open files", 0), None);
        assert_eq!(field("", "Threads:", 0), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn v1_a_process_on_linux_knows_all_of_itself() {
        let process = ProcessStatus::read(SystemTime::now());
        assert!(process.cpu_seconds > 0.0);
        assert!(process.resident_bytes.unwrap() > 1 << 20);
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds.unwrap() > 0);
        assert!(process.threads.unwrap() > 0);
    }
}
