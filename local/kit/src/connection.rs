//! A connection that can be reset and a body that can end early, for injected faults.

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

/// How long to wait between sending half a body and closing its connection.
const LEAVE: Duration = Duration::from_millis(50);

/// A TCP connection that can be reset instead of being shut down.
pub struct Line {
    stream: TcpStream,
    cut: Cut,
}

/// Resets a connection: the peer reads "connection reset by peer".
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Makes the connection end in a reset when it is dropped.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Line {
    /// A connection that `cut` can reset.
    pub fn new(stream: TcpStream, cut: Cut) -> Line {
        Line { stream, cut }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.cut.is_made() {
            // With a linger time of zero, closing sends a reset. If the option cannot be set, the connection is closed
            // normally.
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
            // A FIN would arrive before the reset.
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

/// A response's body: all of it, or the half that is sent before the connection breaks.
pub struct Content(Left);

/// The part that has not been sent.
enum Left {
    /// The whole body, or `None` once it has been sent.
    Whole(Option<Bytes>),
    /// `left` bytes of a streamed body.
    Streamed { left: u64, pieces: Pieces },
    /// `left` bytes, after which the connection ends although `announced` bytes were promised.
    Half { announced: u64, left: u64, pieces: Pieces, leaving: Option<Pin<Box<Sleep>>> },
}

impl Content {
    /// A response with its whole body.
    pub fn whole(mut answer: Response) -> http::Response<Content> {
        match answer.extensions_mut().remove::<Streamed>() {
            Some(streamed) => {
                answer.map(|_| Content(Left::Streamed { left: streamed.length, pieces: streamed.pieces() }))
            }
            None => answer.map(|bytes| Content(Left::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))),
        }
    }

    /// A response that announces its full length and has half the body.
    pub fn half(mut answer: Response) -> http::Response<Content> {
        let half =
            |announced: u64, pieces| Content(Left::Half { announced, left: announced / 2, pieces, leaving: None });
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
        let (left, pieces) = match &mut self.0 {
            Left::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Left::Half { left: 0, leaving, .. } => {
                // Wait until the bytes written so far have been sent.
                let leaving = leaving.get_or_insert_with(|| Box::pin(tokio::time::sleep(LEAVE)));
                return leaving.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            Left::Streamed { left, pieces } | Left::Half { left, pieces, .. } => (left, pieces),
        };
        pieces.as_mut().poll_next(cx).map_ok(|mut bytes| {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
            Frame::data(bytes)
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Left::Whole(None) | Left::Streamed { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Left::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Left::Streamed { left, .. } => *left,
            Left::Half { announced, .. } => *announced,
        })
    }
}
