//! What a contender is called unless it is told.

/// `POD_NAME` as it is, if the environment has it: a pod's name is its own in its namespace, and
/// whoever reads the Lease knows it. Else the host's name and a random number, as several
/// processes of a host may contend.
#[must_use]
pub fn default_identity() -> String {
    identity(pod(), host(), random())
}

/// `POD_NAME`, else the host's name, which is the same in a pod.
pub(crate) fn pod_name() -> Option<String> {
    said(pod()).or_else(host)
}

fn pod() -> Option<String> {
    std::env::var("POD_NAME").ok()
}

/// A name, if there is something in it.
fn said(name: Option<String>) -> Option<String> {
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}

fn identity(pod: Option<String>, host: Option<String>, random: u64) -> String {
    match said(pod) {
        Some(pod) => pod,
        None => format!("{}_{random:016x}", host.as_deref().unwrap_or("host")),
    }
}

fn host() -> Option<String> {
    // Where the kernel shows it, else what a shell has exported.
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    said(kernel.or_else(|| std::env::var("HOSTNAME").ok()))
}

/// Another number in each process, and each time.
pub(super) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_a_contender_is_called_by_its_pod_or_by_its_host() {
        let check = |pod: Option<&str>, host: Option<&str>, expected: &str| {
            let found = identity(pod.map(str::to_owned), host.map(str::to_owned), 0xab);
            assert_eq!(found, expected);
        };
        check(Some("render-0\n"), Some("node"), "render-0");
        check(Some(" "), Some("node"), "node_00000000000000ab");
        check(None, Some("node"), "node_00000000000000ab");
        check(None, None, "host_00000000000000ab");
    }

    #[test]
    fn l1_two_processes_of_one_host_have_different_names() {
        assert_ne!(random(), random());
    }
}
