//! Where a request passes from the front to the API, and its answer back: through the
//! rules and the log.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response, header};
use tokio::time::{Instant, sleep};

use super::log::{Log, Logged};
use super::rule::{Fault, How, Moment, Place};
use super::shape::Shape;
use super::{Acting, Faults, refusals};
use crate::api::{Api, respond};
use crate::body::Body;

/// The server behind its front: the API, and what stands between the two.
#[derive(Debug)]
pub(crate) struct Front {
    pub api: Arc<Api>,
    pub faults: Faults,
    log: Mutex<Log>,
}

/// The connection that a request came on, as far as a fault must reach it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire(Arc<AtomicBool>);

impl Wire {
    /// Whether the connection is to be reset when it is dropped.
    pub(crate) fn is_reset(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The error that makes the front reset the connection.
    pub(crate) async fn reset(&self) -> io::Error {
        sent().await;
        self.0.store(true, Ordering::Release);
        io::Error::new(
            io::ErrorKind::ConnectionReset,
            "a fault resets the connection",
        )
    }

    /// The error that makes the front close the connection.
    pub(crate) async fn fin(&self) -> io::Error {
        sent().await;
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "a fault closes the connection",
        )
    }
}

/// Lets the connection send what it was given: it does when there is nothing more for now.
async fn sent() {
    tokio::task::yield_now().await;
}

impl Front {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        Self {
            faults: Faults::new(Arc::clone(&api)),
            log: Mutex::default(),
            api,
        }
    }

    /// The log, locked. Nothing is awaited while it is held.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request. An error closes the connection without an answer.
    pub(crate) async fn answer(
        &self,
        request: Request<Bytes>,
        wire: &Wire,
    ) -> io::Result<Response<Body>> {
        let asked = Logged::of(&request, Instant::now());
        let acting = self.faults.choose(&asked, request.headers());
        let number = self.log().push(asked.clone());
        let response = self.perform(request, &asked, &acting, wire).await?;
        self.log().answered(number, response.status().as_u16());
        Ok(response)
    }

    async fn perform(
        &self,
        mut request: Request<Bytes>,
        asked: &Logged,
        acting: &[Acting],
        wire: &Wire,
    ) -> io::Result<Response<Body>> {
        let newest = self.api.store().version();
        let shape = Shape::of(acting, asked, request.headers(), newest);
        if !shape.is_none() {
            // The body is compressed after it was shaped, if at all.
            request.headers_mut().remove(header::ACCEPT_ENCODING);
        }
        pass(acting, Moment::Arrival).await;
        for one in acting {
            if let Fault::Break {
                at: Place::Start,
                how,
            } = one.fault
            {
                return Err(match how {
                    How::Stall | How::Trickle { .. } => std::future::pending().await,
                    How::End | How::Fin => wire.fin().await,
                    How::Reset => wire.reset().await,
                });
            }
        }
        let refused = acting
            .iter()
            .find_map(|one| refusals::answer(&one.fault, asked, newest));
        let response = match refused {
            Some(response) => response,
            None => {
                let reading = acting.iter().find_map(Acting::reading).unwrap_or_default();
                respond(&self.api, request, reading).await
            }
        };
        pass(acting, Moment::Answered).await;
        let running = asked.verb.is_stream() && response.status() == 200;
        if shape.is_none() && !running {
            return Ok(response);
        }
        let ending = running.then(|| self.faults.run(asked.clone()));
        Ok(shape.apply(asked, response, ending, wire))
    }
}

/// Waits where rules say so.
async fn pass(acting: &[Acting], moment: Moment) {
    for one in acting {
        if let Fault::Delay { by, at } = one.fault
            && at == moment
        {
            sleep(by).await;
        }
        if let Fault::Hold { at } = one.fault
            && at == moment
        {
            one.wait().await;
        }
    }
}
