//! Reads a recording, line by line; says of what it cannot read which line that is.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use haptic_core::{
    Identity, Time,
    members::{Member, members},
    watch::WatchState,
};
use k8s_openapi::jiff::Timestamp;

use super::format::{Header, VERSION};

/// The longest line that is read: the largest object that a watch takes has 16 MiB.
const MAX_LINE: usize = 32 << 20;

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It cannot be opened, or not be read to its end.
    #[error("cannot read recording {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not as it should be.
    #[error("recording {}, line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong, and where that is not plain, what should be there.
        what: String,
    },
}

/// What a line says.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    /// How a watch is, by its place in the header.
    State(usize, WatchState),
    /// What a watch told of its objects, likewise.
    News(usize, News<'a>),
    /// The recording was ended in order.
    End,
    /// Something for people, or of a later version.
    Other,
}

/// What a watch told: see [`haptic_core::watch::WatchOutput`].
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// Discovery has found the resource.
    Resolved {
        kind: String,
        api_version: String,
        namespaced: bool,
    },
    ListBegin,
    /// JSON text of an object.
    Listed(&'a str),
    PageEnd,
    ListEnd {
        resource_version: String,
    },
    /// JSON text of an object.
    Applied(&'a str),
    Deleted(Identity),
    Unreadable {
        identity: Option<Identity>,
        error: String,
    },
    Gone,
}

/// A recording that is being read.
pub(crate) struct Recording {
    pub(crate) header: Header,
    /// When it began, since 1970.
    pub(crate) started: SystemTime,
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
    /// The line that was read last.
    line: String,
    names: HashMap<String, usize>,
    last: Time,
    /// The last line breaks off: whoever wrote it was killed.
    pub(crate) torn: bool,
}

impl Recording {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut recording = Self {
            header: Header {
                haptic_recording: VERSION,
                host: String::new(),
                started: String::new(),
                own_namespace: None,
                secrets: super::Secrets::Redacted,
                plugins: Vec::new(),
                watches: Vec::new(),
            },
            started: SystemTime::UNIX_EPOCH,
            path: path.to_owned(),
            lines: BufReader::new(file),
            number: 0,
            line: String::new(),
            names: HashMap::new(),
            last: Time::ZERO,
            torn: false,
        };
        let is_there = recording.read_line()?;
        recording.number = 1;
        if !is_there {
            return Err(recording.wrong(match recording.torn {
                true => "is cut off: nothing was recorded",
                false => "the file is empty",
            }));
        }
        let version = members(&recording.line)
            .ok()
            .and_then(|members| number(find(&members, "hapticRecording")?));
        match version {
            None => {
                return Err(recording.wrong(
                    "is not the header of a recording, which begins with {\"hapticRecording\":1",
                ));
            }
            Some(version) if version > f64::from(VERSION) => {
                return Err(recording.wrong(&format!(
                    "the recording has version {version} of the format, and this host reads {VERSION}: use a newer haptic-host"
                )));
            }
            Some(_) => {}
        }
        recording.header = serde_json::from_str(&recording.line)
            .map_err(|error| recording.wrong(&format!("the header cannot be read: {error}")))?;
        let started: Result<Timestamp, _> = recording.header.started.parse();
        recording.started = started
            .map(SystemTime::from)
            .map_err(|_| recording.wrong("`started` is no time such as 2026-01-31T12:00:00Z"))?;
        for (number, watch) in recording.header.watches.iter().enumerate() {
            if recording.names.insert(watch.name.clone(), number).is_some() {
                let what = format!("two watches are called {:?}", watch.name);
                return Err(recording.wrong(&what));
            }
        }
        Ok(recording)
    }

    /// The next line, and its moment; none at the end. One that breaks off counts as the end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn next(&mut self) -> Result<Option<(Time, Entry<'_>)>, ReadError> {
        if !self.read_line()? {
            return Ok(None);
        }
        let (at, entry) = entry(&self.line, &self.names).map_err(|what| self.wrong(&what))?;
        if at < self.last {
            return Err(self.wrong(&format!(
                "`at` goes back, from {} to {}",
                self.last.since_origin().as_secs_f64(),
                at.since_origin().as_secs_f64()
            )));
        }
        self.last = at;
        Ok(Some((at, entry)))
    }

    /// The moment of the last line.
    pub(crate) fn last(&self) -> Time {
        self.last
    }

    fn wrong(&self, what: &str) -> ReadError {
        ReadError::Line {
            path: self.path.clone(),
            line: self.number,
            what: what.to_owned(),
        }
    }

    /// Answers false at the end.
    fn read_line(&mut self) -> Result<bool, ReadError> {
        let mut bytes = std::mem::take(&mut self.line).into_bytes();
        bytes.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = (&mut self.lines)
            .take(limit)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| ReadError::Read {
                path: self.path.clone(),
                source,
            })?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if bytes.last() != Some(&b'\n') {
            if bytes.len() >= MAX_LINE {
                return Err(self.wrong(&format!("is longer than {MAX_LINE} bytes")));
            }
            self.torn = true;
            return Ok(false);
        }
        bytes.pop();
        self.line = String::from_utf8(bytes).map_err(|_| self.wrong("is no UTF-8"))?;
        Ok(true)
    }
}

fn find<'a>(members: &[Member<'a>], name: &str) -> Option<&'a str> {
    members
        .iter()
        .find(|member| member.name == name)
        .map(|member| member.value)
}

fn number(json: &str) -> Option<f64> {
    serde_json::from_str(json).ok()
}

fn moment(json: &str) -> Option<Time> {
    Duration::try_from_secs_f64(number(json)?)
        .ok()
        .map(Time::from_origin)
}

fn entry<'a>(line: &'a str, names: &HashMap<String, usize>) -> Result<(Time, Entry<'a>), String> {
    let members = members(line).map_err(|error| format!("is no JSON object: {error}"))?;
    let line = Fields(&members);
    let at = line
        .get("at")
        .and_then(moment)
        .ok_or("`at` is missing, or no number of seconds")?;
    if line.get("end").is_some() {
        return Ok((at, Entry::End));
    }
    if line.get("callback").is_some() {
        return Ok((at, Entry::Other));
    }
    let Some(name) = line.get("watch") else {
        return Ok((at, Entry::Other));
    };
    let number = serde_json::from_str::<String>(name)
        .ok()
        .and_then(|name| names.get(&name))
        .ok_or_else(|| format!("`watch` is {name}, which the header does not name"))?;
    if line.get("state").is_some() {
        return Ok((at, Entry::State(*number, line.state()?)));
    }
    let news = line.news()?;
    Ok((
        at,
        news.map_or(Entry::Other, |news| Entry::News(*number, news)),
    ))
}

/// The members of a line.
struct Fields<'a, 'm>(&'m [Member<'a>]);

impl<'a> Fields<'a, '_> {
    fn get(&self, name: &str) -> Option<&'a str> {
        find(self.0, name)
    }

    fn text(&self, name: &str) -> Result<String, String> {
        self.get(name)
            .and_then(|json| serde_json::from_str(json).ok())
            .ok_or_else(|| format!("`{name}` is missing, or no text"))
    }

    fn object(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.get(name) {
            Some(json) if !json.starts_with('{') => Err(format!("`{name}` is no object")),
            found => Ok(found),
        }
    }

    fn identity(&self, name: &str) -> Result<Identity, String> {
        let wrong =
            || format!("`{name}` does not say which object: {{\"namespace\":…,\"name\":…}}");
        let inner = members(self.get(name).unwrap_or_default()).map_err(|_| wrong())?;
        let inner = Fields(&inner);
        let namespace = match inner.get("namespace") {
            Some(_) => inner.text("namespace").map_err(|_| wrong())?,
            None => String::new(),
        };
        let object = inner.text("name").map_err(|_| wrong())?;
        Identity::new(&namespace, &object).map_err(|_| wrong())
    }

    /// `None`: something that this version does not know.
    fn news(&self) -> Result<Option<News<'a>>, String> {
        Ok(Some(if let Some(object) = self.object("listed")? {
            News::Listed(object)
        } else if let Some(object) = self.object("applied")? {
            News::Applied(object)
        } else if self.get("deleted").is_some() {
            News::Deleted(self.identity("deleted")?)
        } else if self.get("list").is_some() {
            match &*self.text("list")? {
                "begin" => News::ListBegin,
                "page" => News::PageEnd,
                "end" => News::ListEnd {
                    resource_version: self.text("resourceVersion")?,
                },
                other => return Err(format!("`list` is {other:?}: begin, page or end")),
            }
        } else if let Some(resolved) = self.object("resolved")? {
            let inner = members(resolved).map_err(|error| format!("`resolved`: {error}"))?;
            let inner = Fields(&inner);
            News::Resolved {
                kind: inner.text("kind")?,
                api_version: inner.text("apiVersion")?,
                namespaced: match inner.get("namespaced") {
                    Some("true") => true,
                    Some("false") => false,
                    _ => return Err("`namespaced` is neither true nor false".to_owned()),
                },
            }
        } else if let Some(which) = self.get("unreadable") {
            News::Unreadable {
                identity: match which {
                    "null" => None,
                    _ => Some(self.identity("unreadable")?),
                },
                error: self.text("error")?,
            }
        } else if self.get("gone").is_some() {
            News::Gone
        } else {
            return Ok(None);
        }))
    }

    fn state(&self) -> Result<WatchState, String> {
        Ok(match &*self.text("state")? {
            "discovering" => WatchState::Discovering,
            "waiting-for-crd" => WatchState::WaitingForCrd,
            "synced" => WatchState::Synced,
            "forbidden" => WatchState::Forbidden {
                verb: match &*self.text("verb")? {
                    "get" => "get",
                    "list" => "list",
                    "watch" => "watch",
                    other => return Err(format!("`verb` is {other:?}: get, list or watch")),
                },
                scope: self.text("scope")?,
            },
            "listing" => WatchState::Listing {
                received: self
                    .get("received")
                    .and_then(|json| serde_json::from_str(json).ok())
                    .ok_or("`received` is missing, or no number")?,
            },
            "stale" => WatchState::Stale {
                since: self
                    .get("since")
                    .and_then(moment)
                    .ok_or("`since` is missing, or no number of seconds")?,
            },
            "failing" => WatchState::Failing {
                error: self.text("error")?,
            },
            other => {
                return Err(format!(
                    "`state` is {other:?}, which this host does not know"
                ));
            }
        })
    }
}
