//! What a client sees on the wire, byte by byte.

use std::io::ErrorKind;

use haptic_cluster::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::get;

/// A connection with one request on it.
pub struct Wire {
    stream: TcpStream,
    seen: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Fin,
    Reset,
}

pub async fn open(cluster: &Cluster, path: &str, headers: &str) -> Wire {
    let mut stream = TcpStream::connect(cluster.addr()).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
        cluster.addr()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    Wire {
        stream,
        seen: Vec::new(),
    }
}

impl Wire {
    /// Reads until this has come.
    pub async fn until(&mut self, end: &str) -> String {
        while !self
            .seen
            .windows(end.len())
            .any(|window| window == end.as_bytes())
        {
            let byte = self.stream.read_u8().await;
            self.seen
                .push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", self.text())));
        }
        self.text()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads to the end.
    pub async fn end(&mut self) -> Ended {
        loop {
            match self.stream.read_buf(&mut self.seen).await {
                Ok(0) => return Ended::Fin,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ended::Reset,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Asserts that nothing more has come although the server has answered others since.
    pub async fn is_stalled(&mut self, cluster: &Cluster) {
        for _ in 0..3 {
            assert_eq!(get(cluster, "/healthz").await.code, 200);
        }
        let mut buffer = [0; 1];
        let read = self.stream.try_read(&mut buffer);
        assert!(
            read.as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "{read:?} after {:?}",
            self.text()
        );
    }

    /// The head of the answer.
    pub fn head(&self) -> String {
        let text = self.text();
        text.split("\r\n\r\n").next().unwrap().to_lowercase()
    }

    /// The chunks that have come whole, and whether the last chunk came, which says that
    /// the body is complete.
    pub fn chunks(&self) -> (Vec<Vec<u8>>, bool) {
        let start = self.seen.windows(4).position(|end| end == b"\r\n\r\n");
        let mut rest = &self.seen[start.unwrap() + 4..];
        let mut chunks = Vec::new();
        while let Some(line) = rest.windows(2).position(|end| end == b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return (chunks, true);
            }
            let Some(chunk) = rest.get(line + 2..line + 2 + size) else {
                break;
            };
            chunks.push(chunk.to_vec());
            rest = rest.get(line + 2 + size + 2..).unwrap_or_default();
        }
        (chunks, false)
    }

    /// The body as far as it has come, and whether it is complete.
    pub fn body(&self) -> (String, bool) {
        let (chunks, complete) = self.chunks();
        (String::from_utf8(chunks.concat()).unwrap(), complete)
    }
}
