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
/// Last lines, and bytes of them, of each of stdout and stderr that come with a failure:
/// together what fits an alert.
const TAIL_LINES: usize = 5;
const TAIL_BYTES: usize = 1 << 10;

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
    stdout: Tail,
    /// Apart, so that what says why is not pushed out by what was printed before it and
    /// is read after it.
    stderr: Tail,
}

/// The last lines of a stream.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Lines {
    fn new(logs: LogSink) -> Self {
        Self {
            logger: Logger::new(logs, &crate::plugin::Limits::default()),
            stdout: Tail::default(),
            stderr: Tail::default(),
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
        match level {
            LogLevel::Info => self.stdout.add(&message),
            LogLevel::Error | LogLevel::Warn | LogLevel::Debug | LogLevel::Trace => {
                self.stderr.add(&message);
            }
        }
        self.logger.log(LogLine {
            level,
            target: "on-output".to_owned(),
            message,
            fields: Vec::new(),
        });
    }

    /// The last lines, those of stderr last.
    fn finish(self) -> String {
        self.logger.flush();
        let tails = [self.stdout.text(), self.stderr.text()];
        let [stdout, stderr] = &tails;
        match stdout.is_empty() || stderr.is_empty() {
            true => tails.concat(),
            false => tails.join("\n"),
        }
    }
}

impl Tail {
    fn add(&mut self, line: &str) {
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > TAIL_LINES || (self.bytes > TAIL_BYTES && self.lines.len() > 1) {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }

    fn text(self) -> String {
        let lines: Vec<String> = self.lines.into();
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
    use super::*;

    // Runs are tested in `tests/outputs`: a child that is being started keeps locks on
    // directories that other tests here are about.

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
