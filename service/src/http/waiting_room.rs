//! Bounds the number of connections that keep the service waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// A bounded number of seats. A newcomer to a full room takes the seat of the connection that has waited longest:
/// clients that are merely slow have left by then, and malicious ones cannot keep others out.
#[derive(Debug, Clone)]
pub(crate) struct WaitingRoom(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seats: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Ordered by arrival.
    seats: BTreeMap<u64, Arc<Notify>>,
}

/// A seat, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: WaitingRoom,
    number: u64,
}

impl WaitingRoom {
    pub(crate) fn new(seats: usize) -> Self {
        Self(Arc::new(Inner { seats: seats.max(1), waiting: Mutex::default() }))
    }

    /// Takes a seat. `give_way` is notified when another connection needs it.
    pub(crate) fn enter(&self, give_way: &Arc<Notify>) -> Seat {
        let mut waiting = self.waiting();
        if waiting.seats.len() >= self.0.seats
            && let Some((_, longest)) = waiting.seats.pop_first()
        {
            longest.notify_one();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.seats.insert(number, give_way.clone());
        Seat { room: self.clone(), number }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.waiting().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_connection_that_has_waited_longest_gives_way() {
        let room = WaitingRoom::new(2);
        let waiting: Vec<_> = (0..4).map(|_| Arc::new(Notify::new())).collect();
        let must_go = || -> Vec<bool> { waiting.iter().map(|it| it.notified().now_or_never().is_some()).collect() };
        let first = room.enter(&waiting[0]);
        let _second = room.enter(&waiting[1]);
        assert_eq!(must_go(), [false; 4]);
        let third = room.enter(&waiting[2]);
        assert_eq!(must_go(), [true, false, false, false]);
        drop((first, third));
        let _fourth = room.enter(&waiting[3]);
        assert_eq!(must_go(), [false; 4], "there is a free seat");
    }
}
