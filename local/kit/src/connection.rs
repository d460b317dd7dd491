//! A connection that can be cut, and a body that can end early: how faults look on the wire.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::answer::{Pieces, Response, Streamed};

/// How long half a body has to leave before its connection is closed.
const LEAVE: Duration = Duration::from_millis(50);

/// A TCP connection that says goodbye, or does not.
pub struct Line {
    stream: TcpStream,
    cut: Cut,
}

/// Cuts a line: the other side reads "connection reset by peer".
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Cuts the connection.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Line {
    /// A connection that `cut` can end.
    pub fn new(stream: TcpStream, cut: Cut) -> Line {
        Line { stream, cut }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.cut.is_made() {
            // Without time to linger the system sends a reset. If it cannot be set the line just closes.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.cut.is_made() {
            // A goodbye would arrive before the reset.
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

/// An answer's body: all of it, or the half that arrives before the line breaks.
pub enum Content {
    /// All of it, until it has been sent.
    Whole(Option<Bytes>),
    /// What is left of a body that comes in pieces.
    Streamed { left: u64, pieces: Pieces },
    /// What is left until the connection ends early.
    Half { announced: u64, left: u64, pieces: Pieces, leaving: Option<Pin<Box<Sleep>>> },
}

impl Content {
    /// An answer with its whole body.
    pub fn whole(mut answer: Response) -> http::Response<Content> {
        match answer.extensions_mut().remove::<Streamed>() {
            Some(streamed) => answer.map(|_| Content::Streamed { left: streamed.length, pieces: streamed.pieces() }),
            None => answer.map(|bytes| Content::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))),
        }
    }

    /// Announces everything and brings half.
    pub fn half(mut answer: Response) -> http::Response<Content> {
        let half = |announced: u64, pieces| Content::Half { announced, left: announced / 2, pieces, leaving: None };
        match answer.extensions_mut().remove::<Streamed>() {
            Some(streamed) => answer.map(|_| half(streamed.length, streamed.pieces())),
            None => answer.map(|bytes| half(bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let (left, pieces) = match &mut *self {
            Content::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Half { left: 0, leaving, .. } => {
                // What was written leaves while this waits.
                let leaving = leaving.get_or_insert_with(|| Box::pin(tokio::time::sleep(LEAVE)));
                return leaving.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            Content::Streamed { left, pieces } | Content::Half { left, pieces, .. } => (left, pieces),
        };
        pieces.as_mut().poll_next(cx).map_ok(|mut bytes| {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
            Frame::data(bytes)
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Content::Whole(None) | Content::Streamed { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Content::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Content::Streamed { left, .. } => *left,
            Content::Half { announced, .. } => *announced,
        })
    }
}
