//! As much of HTTP/1.1 as GETs of clients that behave need.

use std::io::{self, Read, Write};

/// The head of a GET.
pub(super) struct Request {
    pub(super) path: String,
    query: Vec<(String, String)>,
}

impl Request {
    /// The next one on this connection; `None` when there is none. `buffer` keeps what came after it.
    pub(super) fn read(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let mut part = [0; 4096];
            match stream.read(&mut part)? {
                0 => return Ok(None),
                read => buffer.extend_from_slice(&part[..read]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end + 4);
        let target = head.split_whitespace().nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        Ok(Some(Self {
            // kube's Api asks for `…/ingresses?&limit=500`, and for nothing that is encoded.
            path: path.to_owned(),
            query: query
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str())
    }

    /// Whether the parameter is true.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self.value(name), Some("true" | "1"))
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.value(name)?.parse().ok()
    }
}

/// A short answer.
pub(super) struct Response(String);

impl Response {
    pub(super) fn json(code: u16, body: &str) -> Self {
        let length = body.len();
        Self(format!(
            "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    pub(super) fn status(code: u16, reason: &str, message: &str) -> Self {
        Self::json(code, &status_object(code, reason, message))
    }

    pub(super) fn write(self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.0.as_bytes())
    }
}

pub(super) fn status_object(code: u16, reason: &str, message: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    )
}

/// An answer in chunks, as API servers send lists and watches.
pub(super) struct Chunks<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
}

impl<'a> Chunks<'a> {
    pub(super) fn begin(out: &'a mut dyn Write) -> io::Result<Self> {
        out.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        Ok(Self {
            out,
            buffer: Vec::new(),
        })
    }

    pub(super) fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.chunks(std::iter::once(bytes))
    }

    /// One chunk each, written together.
    pub(super) fn chunks<'b>(&mut self, parts: impl Iterator<Item = &'b [u8]>) -> io::Result<()> {
        self.buffer.clear();
        for part in parts.filter(|part| !part.is_empty()) {
            write!(self.buffer, "{:x}\r\n", part.len())?;
            self.buffer.extend_from_slice(part);
            self.buffer.extend_from_slice(b"\r\n");
        }
        self.out.write_all(&self.buffer)
    }

    pub(super) fn end(self) -> io::Result<()> {
        self.out.write_all(b"0\r\n\r\n")
    }
}
