//! Coalesces concurrent requests for the same answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Runs one computation per question at a time and shares its answer.
///
/// Guarantees: no caller gets an answer whose computation started before its call, so a read after a write sees the
/// write. If the computing caller is dropped halfway, another one takes over.
#[derive(Debug)]
pub(crate) struct SingleFlight<Q, A>(Mutex<HashMap<Q, Flight<A>>>);

#[derive(Debug)]
struct Flight<A> {
    callers: usize,
    answers: Arc<Answers<A>>,
}

#[derive(Debug)]
struct Answers<A> {
    begun: AtomicU64,
    /// The latest answer, with its number; locked during a computation.
    newest: tokio::sync::Mutex<Option<(u64, A)>>,
}

impl<Q, A> Default for SingleFlight<Q, A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Q: Hash + Eq + Clone, A: Clone> SingleFlight<Q, A> {
    /// Returns the answer to a question, computed by this caller or by another with the same question.
    pub(crate) async fn run<F: Future<Output = A>>(&self, question: &Q, make: impl FnOnce() -> F) -> A {
        let asking = Asking::begin(self, question);
        let before = asking.answers.begun.load(Ordering::SeqCst);
        let mut newest = asking.answers.newest.lock().await;
        if let Some((number, answer)) = &*newest
            && *number > before
        {
            return answer.clone();
        }
        let number = asking.answers.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = make().await;
        *newest = Some((number, answer.clone()));
        answer
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Q, Flight<A>>> {
        self.0.lock()
    }
}

/// A waiting caller. The last one to leave drops the answers to its question.
struct Asking<'a, Q: Hash + Eq + Clone, A: Clone> {
    all: &'a SingleFlight<Q, A>,
    question: &'a Q,
    answers: Arc<Answers<A>>,
}

impl<'a, Q: Hash + Eq + Clone, A: Clone> Asking<'a, Q, A> {
    fn begin(all: &'a SingleFlight<Q, A>, question: &'a Q) -> Self {
        let mut flights = all.flights();
        let flight = flights.entry(question.clone()).or_insert_with(Flight::unshared);
        flight.callers += 1;
        Self { all, question, answers: flight.answers.clone() }
    }
}

impl<Q: Hash + Eq + Clone, A: Clone> Drop for Asking<'_, Q, A> {
    fn drop(&mut self) {
        let mut flights = self.all.flights();
        if let Some(flight) = flights.get_mut(self.question) {
            flight.callers -= 1;
            if flight.callers == 0 {
                flights.remove(self.question);
            }
        }
    }
}

impl<A> Flight<A> {
    fn unshared() -> Self {
        Self {
            callers: 0,
            answers: Arc::new(Answers { begun: AtomicU64::new(0), newest: tokio::sync::Mutex::new(None) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    /// Numbers the computations; each is completed with `Notify`.
    #[derive(Default)]
    struct Slow {
        single_flight: SingleFlight<&'static str, u64>,
        made: AtomicU64,
        done: Notify,
    }

    impl Slow {
        async fn ask(&self, question: &'static str) -> u64 {
            let make = || async {
                let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
                self.done.notified().await;
                number
            };
            self.single_flight.run(&question, make).await
        }
    }

    async fn let_all_go_as_far_as_they_can() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_query_during_a_call_shares_the_next_one() {
        let slow = Arc::new(Slow::default());
        let ask = |question| {
            let slow = slow.clone();
            tokio::spawn(async move { slow.ask(question).await })
        };
        let first = ask("a");
        let_all_go_as_far_as_they_can().await;
        let later: Vec<_> = (0..5).map(|_| ask("a")).collect();
        let_all_go_as_far_as_they_can().await;
        assert_eq!(slow.made.load(Ordering::SeqCst), 1, "they wait");
        slow.done.notify_one();
        assert_eq!(first.await.unwrap(), 1);
        let_all_go_as_far_as_they_can().await;
        assert_eq!(slow.made.load(Ordering::SeqCst), 2, "one of them makes the answer");
        let latest = ask("a");
        let_all_go_as_far_as_they_can().await;
        slow.done.notify_one();
        assert!(join_all(later).await.into_iter().all(|answer| answer.unwrap() == 2));
        let_all_go_as_far_as_they_can().await;
        slow.done.notify_one();
        assert_eq!(latest.await.unwrap(), 3, "it was asked when the second had begun");
        assert!(slow.single_flight.flights().is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn different_queries_run_concurrently() {
        let slow = Slow::default();
        let both = async { tokio::join!(slow.ask("a"), slow.ask("b")) };
        let done = async {
            let_all_go_as_far_as_they_can().await;
            assert_eq!(slow.made.load(Ordering::SeqCst), 2);
            slow.done.notify_waiters();
        };
        assert_eq!(tokio::join!(both, done).0, (1, 2));
    }

    #[tokio::test]
    async fn a_waiter_takes_over_the_call_of_a_cancelled_leader() {
        let single_flight = Arc::new(SingleFlight::<(), u8>::default());
        let left = tokio::spawn({
            let single_flight = single_flight.clone();
            async move { single_flight.run(&(), pending).await }
        });
        let_all_go_as_far_as_they_can().await;
        let waits = tokio::spawn({
            let single_flight = single_flight.clone();
            async move { single_flight.run(&(), || async { 7 }).await }
        });
        let_all_go_as_far_as_they_can().await;
        left.abort();
        assert_eq!(waits.await.unwrap(), 7);
        assert!(single_flight.flights().is_empty());
    }
}
