//! One run of a hook: a shell in a process group of its own, its lines in the log,
//! its time bounded.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures_util::{FutureExt, future::FusedFuture};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use super::HookConfig;
use crate::plugin::{LogLevel, LogLine, LogSink, Logger, OutputName};

/// Bytes of `HAPTIC_CHANGED`: half of what the kernel takes as one variable.
const CHANGED: usize = 64 << 10;
/// Between SIGTERM and SIGKILL: time to remove a temporary file, not to go on.
const GRACE: Duration = Duration::from_secs(2);
/// After the shell has ended, its pipes are read for so long: all that it wrote is
/// there already, and a process that it left behind may hold them open for ever.
const DRAIN: Duration = Duration::from_millis(200);
/// Bytes of a line; a longer one is logged in pieces.
const LINE: usize = 4 << 10;
/// Last lines, and bytes of them, that come with a failure: what fits an alert.
const TAIL_LINES: usize = 10;
const TAIL_BYTES: usize = 2 << 10;

/// What a run is told in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// `HAPTIC_PLUGIN`.
    pub plugin: String,
    /// `HAPTIC_OUTPUT`: a directory, `-`, or `configmap:NAMESPACE/NAME`.
    pub output: OsString,
    /// `HAPTIC_CHANGED`, one name a line, as many as fit; `HAPTIC_CHANGED_COUNT` is
    /// how many there are.
    pub changed: BTreeSet<OutputName>,
}

/// Why a run did not succeed. The last lines that it wrote come with it.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The shell could not be started.
    #[error("cannot start `sh`")]
    Start(#[source] std::io::Error),
    /// It exited with another code than 0.
    #[error("exit code {code}{}", said(.tail))]
    Exit {
        /// The code.
        code: i32,
        /// Its last lines.
        tail: String,
    },
    /// A signal ended it.
    #[error("ended by signal {signal}{}", said(.tail))]
    Signal {
        /// Which.
        signal: i32,
        /// Its last lines.
        tail: String,
    },
    /// It took too long, and was killed.
    #[error("killed after {limit:?} (raise it with --on-output-timeout){}", said(.tail))]
    Timeout {
        /// How long it could take.
        limit: Duration,
        /// Its last lines.
        tail: String,
    },
    /// It could not be waited for.
    #[error("cannot wait for it")]
    Wait(#[source] std::io::Error),
}

fn said(tail: &str) -> String {
    match tail {
        "" => String::new(),
        tail => format!("; it ended with:\n{tail}"),
    }
}

/// Runs a hook to its end. Its process group gets SIGTERM when the time is over and
/// SIGKILL two seconds later; a future that is dropped kills it at once. What has left
/// the group, as daemons do, is left alone, and so is what the shell leaves behind
/// when it ends in time.
///
/// # Errors
/// [`HookError`].
pub async fn run(config: &HookConfig, occasion: &Occasion, logs: LogSink) -> Result<(), HookError> {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(&config.command)
        .env("HAPTIC_PLUGIN", &occasion.plugin)
        .env("HAPTIC_OUTPUT", &occasion.output)
        .env("HAPTIC_CHANGED", listed(&occasion.changed))
        .env("HAPTIC_CHANGED_COUNT", occasion.changed.len().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Also apart from the terminal's signals: Ctrl-C is the host's to handle.
        .process_group(0);
    let mut child = command.spawn().map_err(HookError::Start)?;
    let mut lines = Lines::new(logs);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Dropped before the child is, and so before its pid can be another's.
    let mut group = Group::of(&child);
    let ended = {
        let mut reading = std::pin::pin!(lines.read(stdout, stderr).fuse());
        let waiting = async {
            tokio::select! {
                biased;
                ended = child.wait() => ended,
                () = &mut reading => child.wait().await,
            }
        };
        match timeout(config.timeout, waiting).await {
            Ok(ended) => {
                group.forgo();
                if !reading.is_terminated() {
                    // Elapsed: somebody holds the pipes.
                    drop(timeout(DRAIN, &mut reading).await);
                }
                Some(ended.map_err(HookError::Wait)?)
            }
            Err(_elapsed) => {
                group.signal(Signal::TERM);
                // However it ends now, it is late.
                let ending = async {
                    drop(child.wait().await);
                    if !reading.is_terminated() {
                        reading.as_mut().await;
                    }
                };
                drop(timeout(GRACE, ending).await);
                None
            }
        }
    };
    drop(group);
    let tail = lines.finish();
    match ended {
        None => Err(HookError::Timeout {
            limit: config.timeout,
            tail,
        }),
        Some(status) => outcome(status, tail),
    }
}

fn outcome(status: ExitStatus, tail: String) -> Result<(), HookError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(HookError::Exit { code, tail }),
        (None, signal) => Err(HookError::Signal {
            signal: signal.unwrap_or_default(),
            tail,
        }),
    }
}

fn listed(names: &BTreeSet<OutputName>) -> String {
    let mut text = String::new();
    for name in names {
        let name = name.as_str();
        if text.len() + 1 + name.len() > CHANGED {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(name);
    }
    text
}

/// The processes of a run; dropped, they are killed.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, signal)
        {
            // As a rule they have ended by themselves.
            tracing::debug!("cannot send a hook's processes {signal:?}: {error}");
        }
    }

    /// What is left of them may go on.
    fn forgo(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Lines of both pipes on their way to the log, at the rate at which a plugin may log.
struct Lines {
    logger: Logger,
    tail: VecDeque<String>,
    bytes: usize,
}

impl Lines {
    fn new(logs: LogSink) -> Self {
        Self {
            logger: Logger::new(logs, &crate::plugin::Limits::default()),
            tail: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Reads until both are closed.
    async fn read(
        &mut self,
        stdout: Option<impl AsyncRead + Unpin>,
        stderr: Option<impl AsyncRead + Unpin>,
    ) {
        let (mut stdout, mut stderr) = (Pipe::new(stdout), Pipe::new(stderr));
        while stdout.is_open() || stderr.is_open() {
            tokio::select! {
                () = stdout.fill(), if stdout.is_open() => {}
                () = stderr.fill(), if stderr.is_open() => {}
            }
            stdout.lines(|line| self.add(LogLevel::Info, line));
            stderr.lines(|line| self.add(LogLevel::Warn, line));
        }
    }

    fn add(&mut self, level: LogLevel, line: &[u8]) {
        let message = String::from_utf8_lossy(line).trim_end().to_owned();
        if message.is_empty() {
            return;
        }
        self.bytes += message.len();
        self.tail.push_back(message.clone());
        while self.tail.len() > TAIL_LINES || (self.bytes > TAIL_BYTES && self.tail.len() > 1) {
            self.bytes -= self.tail.pop_front().map_or(0, |line| line.len());
        }
        self.logger.log(LogLine {
            level,
            target: "on-output".to_owned(),
            message,
            fields: Vec::new(),
        });
    }

    /// The last lines.
    fn finish(self) -> String {
        self.logger.flush();
        let lines: Vec<String> = self.tail.into();
        let text = lines.join("\n");
        // One line may be longer than all may be.
        let start = text.len().saturating_sub(TAIL_BYTES);
        let start = text.ceil_char_boundary(start);
        text[start..].to_owned()
    }
}

/// One pipe, and what of its last line has come.
struct Pipe<R> {
    /// `None`: it is closed.
    reader: Option<R>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(reader: Option<R>) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
        }
    }

    fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// Waits for more.
    async fn fill(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let mut chunk = [0; LINE];
        match reader.read(&mut chunk).await {
            Ok(0) | Err(_) => self.reader = None,
            Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
        }
    }

    /// Takes out whole lines, pieces of overlong ones, and at the end what is left.
    fn lines(&mut self, mut take: impl FnMut(&[u8])) {
        let mut rest = self.buffer.as_slice();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            take(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if !self.is_open() || rest.len() >= LINE {
            take(rest);
            rest = &[];
        }
        self.buffer = rest.to_vec();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{
        fs,
        path::Path,
        sync::{Arc, Mutex},
        time::Instant,
    };

    use super::*;

    /// Runs a command; answers how it ended and what it logged.
    async fn hook(command: &str, limit: Duration) -> (Result<(), HookError>, Vec<LogLine>) {
        let config = HookConfig {
            command: command.to_owned(),
            timeout: limit,
        };
        let names = ["certs/a b.pem", "haproxy.cfg"].map(|name| OutputName::parse(name).unwrap());
        let occasion = Occasion {
            plugin: "render".to_owned(),
            output: "/etc/render".into(),
            changed: names.into(),
        };
        let logged = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&logged);
        let logs: LogSink = Arc::new(move |line| into.lock().unwrap().push(line));
        let ended = run(&config, &occasion, logs).await;
        let logged = logged.lock().unwrap().clone();
        (ended, logged)
    }

    const LONG: Duration = Duration::from_secs(60);

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.message.as_str()).collect()
    }

    /// Waits until a process is gone, or only waits to be buried.
    fn is_gone(pid: &str) -> bool {
        let began = Instant::now();
        while began.elapsed() < LONG {
            let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
            if stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")) {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        false
    }

    #[tokio::test]
    async fn o2_a_hook_is_told_what_changed_and_its_lines_are_logged() {
        let (ended, logged) = hook(
            "echo \"$HAPTIC_PLUGIN $HAPTIC_OUTPUT $HAPTIC_CHANGED_COUNT\"; printf '%s' \"$HAPTIC_CHANGED\"; echo oops >&2",
            LONG,
        )
        .await;
        ended.unwrap();
        let stdout: Vec<LogLine> = logged
            .iter()
            .filter(|line| line.level == LogLevel::Info)
            .cloned()
            .collect();
        assert_eq!(
            texts(&stdout),
            ["render /etc/render 2", "certs/a b.pem", "haproxy.cfg"]
        );
        assert!(texts(&logged).contains(&"oops"));
        assert!(logged.iter().all(|line| line.target == "on-output"));
    }

    #[tokio::test]
    async fn o2_a_hook_that_fails_says_how_with_its_last_lines() {
        let (ended, _) = hook("seq 100; echo bad config >&2; exit 7", LONG).await;
        let error = ended.unwrap_err().to_string();
        assert!(
            error.starts_with("exit code 7; it ended with:\n"),
            "{error}"
        );
        assert!(error.contains("bad config"), "{error}");
        assert!(error.lines().count() <= TAIL_LINES + 1, "{error}");
        let (ended, _) = hook("kill -9 $$", LONG).await;
        assert_eq!(ended.unwrap_err().to_string(), "ended by signal 9");
        let (ended, _) = hook("no-such-command", LONG).await;
        assert!(ended.unwrap_err().to_string().contains("exit code 127"));
    }

    #[tokio::test]
    async fn o2_a_hook_that_hangs_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        // Neither ends by SIGTERM.
        let command = format!(
            "trap '' TERM; sleep 1000 & echo $! $$ >{}; wait; wait",
            pids.display()
        );
        let (ended, _) = hook(&command, Duration::from_millis(300)).await;
        let error = ended.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("killed after 300ms (raise it with --on-output-timeout)"),
            "{error}"
        );
        let pids = fs::read_to_string(pids).unwrap();
        assert_eq!(pids.split_whitespace().count(), 2);
        assert!(pids.split_whitespace().all(is_gone), "{pids}");
    }

    #[tokio::test]
    async fn k5_a_hook_whose_future_is_dropped_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let command = format!("sleep 1000 & echo $! $$ >{}; wait", pids.display());
        let task = tokio::spawn(async move { hook(&command, LONG).await });
        let began = Instant::now();
        let found = loop {
            let found = fs::read_to_string(&pids).unwrap_or_default();
            if found.ends_with('\n') {
                break found;
            }
            assert!(began.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        task.abort();
        assert!(task.await.is_err());
        assert!(found.split_whitespace().all(is_gone), "{found}");
    }

    #[tokio::test]
    async fn o2_what_a_hook_leaves_running_neither_delays_it_nor_dies_with_it() {
        let (ended, logged) = hook("sleep 1000 & echo $!", LONG).await;
        ended.unwrap();
        let pid = texts(&logged)[0].to_owned();
        let alive = Path::new("/proc").join(&pid).join("stat").exists();
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        assert!(alive);
    }

    #[tokio::test]
    async fn o2_a_hook_that_floods_is_logged_within_bounds() {
        let (ended, logged) = hook("yes | head -c 1000000; exit 1", LONG).await;
        assert!(ended.unwrap_err().to_string().len() < 2 * TAIL_BYTES);
        assert!(logged.len() < 2_000, "{}", logged.len());
        assert!(texts(&logged).iter().any(|line| line.contains("dropped")));
        let (ended, logged) = hook("head -c 1000000 /dev/zero | tr '\\0' x; exit 1", LONG).await;
        assert!(ended.unwrap_err().to_string().len() < 2 * TAIL_BYTES);
        assert!(logged.iter().all(|line| line.message.len() <= 2 * LINE));
    }

    #[test]
    fn o2_more_names_than_a_variable_takes_are_left_out_and_counted() {
        let names: BTreeSet<OutputName> = (0..4_096)
            .map(|i| OutputName::parse(&format!("{}/{i:04}", "x".repeat(100))).unwrap())
            .collect();
        let text = listed(&names);
        assert!(text.len() <= CHANGED && text.len() > CHANGED - 200);
        assert!(text.lines().all(|line| line.len() == 105), "whole names");
    }
}
