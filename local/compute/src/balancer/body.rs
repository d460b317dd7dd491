//! Streams bodies frame by frame, without buffering them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, Sleep, sleep};

use super::Broken;
use super::requests::Open;

/// A request body that can be offered to another target as long as none of it has been read.
#[derive(Clone)]
pub struct Relay(Arc<Mutex<Source>>);

struct Source {
    body: Incoming,
    last_active: Instant,
    /// The number of bytes that were read.
    received: usize,
    /// Whether the target is waiting for the client to send more.
    awaits_client: bool,
}

impl Relay {
    /// The body of a request.
    pub fn new(body: Incoming) -> Relay {
        Relay(Arc::new(Mutex::new(Source { body, last_active: Instant::now(), received: 0, awaits_client: false })))
    }

    /// Returns when the client last sent something.
    pub fn last_active(&self) -> Instant {
        self.source().last_active
    }

    /// Returns how many bytes the client has sent.
    pub fn received(&self) -> usize {
        self.source().received
    }

    /// Returns whether the next bytes have to come from the client.
    pub fn awaits_client(&self) -> bool {
        self.source().awaits_client
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock()
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut source = self.source();
        let frame = Pin::new(&mut source.body).poll_frame(cx);
        source.awaits_client = frame.is_pending();
        if frame.is_ready() {
            source.last_active = Instant::now();
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            source.received += frame.data_ref().map_or(0, Bytes::len);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.source().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source().body.size_hint()
    }
}

/// A target's response body, which keeps its request open. It fails if the target sends nothing for `patience`.
pub struct TargetBody {
    body: Incoming,
    idle: Pin<Box<Sleep>>,
    patience: Duration,
    _open: Open,
}

impl TargetBody {
    /// Wraps a body that a target has begun to send.
    pub fn new(body: Incoming, patience: Duration, open: Open) -> TargetBody {
        TargetBody { body, idle: Box::pin(sleep(patience)), patience, _open: open }
    }
}

impl Body for TargetBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let end = Instant::now() + self.patience;
                self.idle.as_mut().reset(end);
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)))
            }
            Poll::Pending => self.idle.as_mut().poll(cx).map(|()| Some(Err("the target has stopped to answer".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
