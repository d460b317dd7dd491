//! Coalesces lookups by name into one call while an earlier call is in flight, for operations that accept many names.

use std::{collections::HashMap, future::Future};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::engine::Fault;

/// Lookups of one kind. At most `MOST` names go into one call.
///
/// A call only serves lookups that were requested before it was sent, so that a read after a write sees the write.
pub struct Batch<T, const MOST: usize> {
    waiting: Mutex<Vec<Question<T>>>,
    /// Held by the caller that sends the batch.
    line: tokio::sync::Mutex<()>,
}

struct Question<T> {
    name: String,
    answer: oneshot::Sender<Result<Option<T>, Fault>>,
}

impl<T, const MOST: usize> Default for Batch<T, MOST> {
    fn default() -> Self {
        Batch { waiting: Mutex::default(), line: tokio::sync::Mutex::default() }
    }
}

impl<T: Clone, const MOST: usize> Batch<T, MOST> {
    /// Looks up a name with `ask`, which is called with all names waiting at that time. Returns `None` for a name that
    /// it does not find; its error is returned to every caller of the batch.
    pub async fn read<F>(&self, name: &str, ask: impl Fn(Vec<String>) -> F) -> Result<Option<T>, Fault>
    where
        F: Future<Output = Result<HashMap<String, T>, Fault>>,
    {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting().push(Question { name: name.to_owned(), answer });
            // Lets callers that are about to wait join the first call.
            tokio::task::yield_now().await;
            let answer = loop {
                tokio::select! {
                    biased;
                    answer = &mut answered => break answer,
                    _line = self.line.lock() => self.ask_for_all(&ask).await,
                }
            };
            // The caller that sent the batch may have been cancelled before the answer arrived.
            if let Ok(answer) = answer {
                return answer;
            }
        }
    }

    async fn ask_for_all<F>(&self, ask: impl Fn(Vec<String>) -> F)
    where
        F: Future<Output = Result<HashMap<String, T>, Fault>>,
    {
        let questions: Vec<Question<T>> = {
            let mut waiting = self.waiting();
            waiting.retain(|question| !question.answer.is_closed());
            let most = waiting.len().min(MOST);
            waiting.drain(..most).collect()
        };
        if questions.is_empty() {
            return;
        }
        let found = ask(questions.iter().map(|question| question.name.clone()).collect()).await;
        for Question { name, answer } in questions {
            // A cancelled caller needs no answer.
            let _ = answer.send(found.as_ref().map(|found| found.get(&name).cloned()).map_err(Fault::clone));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Question<T>>> {
        self.waiting.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    /// Finds every name that begins with a letter, after a second, and records the names of each call.
    async fn upper(asked: &Mutex<Vec<usize>>, names: Vec<String>) -> Result<HashMap<String, String>, Fault> {
        asked.lock().push(names.len());
        tokio::time::sleep(Duration::from_secs(1)).await;
        if names.iter().any(|name| name == "forbidden") {
            return Err(Fault::new("Describe", "AccessDenied", "no"));
        }
        let there = names.into_iter().filter(|name| name.starts_with(char::is_alphabetic));
        Ok(there.map(|name| (name.clone(), name.to_uppercase())).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_look_ups_share_a_call_and_each_gets_its_own_answer() {
        let (batch, asked) = (Batch::<String, 4>::default(), Mutex::default());
        let names: Vec<String> = ('a'..='i').map(String::from).chain(["1".into()]).collect();
        let answers = join_all(names.iter().map(|name| batch.read(name, |names| upper(&asked, names)))).await;
        for (name, answer) in names.iter().zip(answers) {
            assert_eq!(answer.unwrap(), (name != "1").then(|| name.to_uppercase()));
        }
        assert_eq!(*asked.lock(), [4, 4, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_batch_is_refused_for_every_caller() {
        let (batch, asked) = (Batch::<String, 4>::default(), Mutex::default());
        let answers = join_all(["a", "forbidden"].map(|name| batch.read(name, |names| upper(&asked, names)))).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap_err().code == "AccessDenied"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_whose_batch_was_cancelled_is_repeated() {
        let (batch, asked) = (Batch::<String, 4>::default(), Mutex::default());
        let stopped = tokio::time::timeout(Duration::from_millis(500), batch.read("a", |names| upper(&asked, names)));
        let (stopped, answer) = futures::join!(stopped, batch.read("b", |names| upper(&asked, names)));
        assert!(stopped.is_err());
        assert_eq!(answer.unwrap().as_deref(), Some("B"));
        assert_eq!(*asked.lock(), [2, 1]);
    }
}
