//! Time limits of a connection: for the next request to arrive, and for the client to read answers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use crate::http::layers::Limits;
use crate::http::waiting_room::{Seat, WaitingRoom};

/// How much of an answer a client must read within the time limit: 2 KiB/s with the usual limits.
const LEAST_BYTES: usize = 64 * 1024;

/// The waiting rooms of a listener's connections.
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    silent: WaitingRoom,
    readers: WaitingRoom,
}

impl Rooms {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { silent: WaitingRoom::new(limits.silent), readers: WaitingRoom::new(limits.readers) }
    }
}

/// The state of a connection: idle, or answering a request.
#[derive(Debug, Clone)]
pub(crate) struct Silence {
    room: WaitingRoom,
    seat: Arc<Mutex<Option<Seat>>>,
    give_way: Arc<Notify>,
}

impl Silence {
    /// Returns the state of a new, idle connection. The connection must be closed when `give_way` is notified.
    pub(crate) fn begin(rooms: &Rooms, give_way: &Arc<Notify>) -> Self {
        let (room, give_way) = (rooms.silent.clone(), give_way.clone());
        let seat = Arc::new(Mutex::new(Some(room.enter(&give_way))));
        Self { room, seat, give_way }
    }

    /// Marks the connection as busy: a request has arrived.
    pub(crate) fn ends(&self) {
        *self.seat.lock() = None;
    }

    /// Wraps the body of an answer; when it is dropped, the connection is idle again.
    pub(crate) fn behind<B>(&self, body: B) -> Answer<B> {
        Answer { body, _end: Falls(self.clone()) }
    }
}

/// The body of an answer.
pub(crate) struct Answer<B> {
    body: B,
    _end: Falls,
}

struct Falls(Silence);

impl Drop for Falls {
    fn drop(&mut self) {
        let Silence { room, seat, give_way } = &self.0;
        *seat.lock() = Some(room.enter(give_way));
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tolerates slow readers up to a limit: it fails when the client reads less than [`LEAST_BYTES`] within
/// `reading`, and is closed if it has been slow for longest when too many are.
pub(crate) struct Paced {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    reading: Duration,
    room: WaitingRoom,
    give_way: Arc<Notify>,
    /// When the reader became slow, and how much it has read since.
    slow: Option<(Instant, usize, Seat)>,
}

impl Paced {
    pub(crate) fn new(stream: TcpStream, rooms: &Rooms, reading: Duration, give_way: &Arc<Notify>) -> Self {
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(reading));
        Self { stream, reading, room: rooms.readers.clone(), give_way: give_way.clone(), slow: None }
    }

    fn taken(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = polled else {
            let Self { room, give_way, slow, .. } = self;
            slow.get_or_insert_with(|| (Instant::now(), 0, room.enter(give_way)));
            return Poll::Pending;
        };
        let written = written?;
        if let Some((since, taken, _)) = &mut self.slow {
            *taken += written;
            if since.elapsed() >= self.reading {
                if *taken < LEAST_BYTES {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                (*since, *taken) = (Instant::now(), 0);
            }
        }
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.stream.as_mut().poll_write(cx, buf);
        self.taken(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream.as_mut().poll_write_vectored(cx, bufs);
        self.taken(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// A completed flush means that the whole answer has been handed over.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.stream.as_mut().poll_flush(cx));
        self.slow = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const READING: Duration = Duration::from_secs(30);

    /// A connection whose reader becomes slow.
    async fn slow() -> (Paced, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let rooms = Rooms::new(&Limits::default());
        let mut paced = Paced::new(stream, &rooms, READING, &Arc::new(Notify::new()));
        assert!(paced.taken(Poll::Pending).is_pending());
        (paced, client)
    }

    async fn takes(paced: &mut Paced, bytes: usize) -> bool {
        tokio::time::advance(READING / 10).await;
        matches!(paced.taken(Poll::Ready(Ok(bytes))), Poll::Ready(Ok(taken)) if taken == bytes)
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_disconnected() {
        for (bytes, is_left) in [(1, true), (LEAST_BYTES / 10 - 1, true), (LEAST_BYTES / 10 + 1, false)] {
            let (mut paced, _client) = slow().await;
            tokio::time::pause();
            for turn in 1..=30 {
                let is_quick_enough = takes(&mut paced, bytes).await;
                assert_eq!(is_quick_enough, !is_left || turn < 10, "{bytes} bytes, turn {turn}");
                if !is_quick_enough {
                    break;
                }
            }
            tokio::time::resume();
        }
    }

    #[tokio::test]
    async fn a_reader_that_has_taken_its_answer_is_not_slow() {
        let (mut paced, _client) = slow().await;
        tokio::time::pause();
        tokio::time::advance(READING).await;
        std::future::poll_fn(|cx| Pin::new(&mut paced).poll_flush(cx)).await.unwrap();
        assert!(takes(&mut paced, 1).await);
    }
}
