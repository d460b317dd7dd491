//! The open streams of a connection of HTTP/2.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Answer, Broken};

/// Counts the open streams of a connection.
#[derive(Clone, Default)]
pub struct Streams(Arc<watch::Sender<usize>>);

impl Streams {
    /// Counts a stream as open until the result is dropped.
    pub fn begin(&self) -> Stream {
        self.0.send_modify(|open| *open += 1);
        Stream(self.clone())
    }

    /// Returns once no stream has been open for `patience`.
    pub async fn idle(&self, patience: Duration) {
        let mut open = self.0.subscribe();
        loop {
            let is_idle = *open.borrow_and_update() == 0;
            let waits = if is_idle { patience } else { Duration::MAX };
            if timeout(waits, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// An open stream.
pub struct Stream(Streams);

impl Stream {
    /// Stays open until the body of this answer has been sent.
    pub fn carry(self, answer: Answer) -> Answer {
        answer.map(|body| Carried { body, _stream: self }.boxed())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

struct Carried {
    body: BoxBody<Bytes, Broken>,
    _stream: Stream,
}

impl Body for Carried {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_open_streams() {
        let (streams, patience) = (Streams::default(), Duration::from_secs(60));
        let (first, second) = (streams.begin(), streams.begin());
        drop(first);
        assert!(timeout(patience * 100, streams.idle(patience)).await.is_err(), "one is open");
        drop(second);
        assert!(timeout(patience * 2, streams.idle(patience)).await.is_ok());
    }
}
