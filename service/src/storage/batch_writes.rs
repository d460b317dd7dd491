//! Coalesces concurrent puts of new rows into `BatchWriteItem` calls.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use posts::attribute;
use serde::Deserialize;
use serde_json::{Value, json};
use thread_local::ThreadLocal;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http::error::{Error, caused};
use crate::storage::dynamodb::{DynamoDb, Failed};

/// The limit on rows per call. <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const MOST: usize = 25;
/// How long puts wait for the call in flight, many times what it usually takes.
const PATIENCE: Duration = Duration::from_millis(50);

/// Coalesces concurrent puts into one `BatchWriteItem`; a single put is sent at once. Puts that arrive while a call is
/// in flight share the next one, so that the cost of each falls with their number.
///
/// Guarantees: every caller gets the outcome of its own row. A slow call delays later rows by [`PATIENCE`] at most, and
/// a full batch not at all. Rows of callers that have been dropped are not written.
#[derive(Debug, Clone)]
pub(crate) struct BatchWrites(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: DynamoDb,
    table: String,
    /// One queue per thread, so that calls stay on their thread and wake no other.
    queues: ThreadLocal<Arc<Mutex<Queue>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Row>,
    /// Whether a call is in flight that new puts wait for.
    is_under_way: bool,
}

#[derive(Debug)]
struct Row {
    item: Value,
    done: oneshot::Sender<Result<(), Error>>,
}

impl BatchWrites {
    pub(crate) fn new(client: DynamoDb, table: String) -> Self {
        Self(Arc::new(Inner { client, table, queues: ThreadLocal::new() }))
    }

    /// Writes a new row. Its key is new, so nothing can be overwritten, and a repeated call has the same result.
    pub(crate) async fn put(&self, item: Value) -> Result<(), Error> {
        let (done, written) = oneshot::channel();
        let row = Row { item, done };
        let queue = self.0.queues.get_or_default();
        let begins = {
            let mut queue = lock(queue);
            queue.waiting.push_back(row);
            // Waiting longer would not make the batch larger.
            let is_full = queue.waiting.len() >= MOST;
            !mem::replace(&mut queue.is_under_way, true) || is_full
        };
        if begins {
            self.begin_next(queue.clone());
        }
        // A dropped sender means that the runtime has ended or the call has panicked.
        written.await.unwrap_or_else(|_| Err(Error::Late(caused("the service stops"))))
    }

    /// Sends the waiting puts, if there are any.
    fn begin_next(&self, queue: Arc<Mutex<Queue>>) {
        let rows = lock(&queue).next();
        if rows.is_empty() {
            return;
        }
        let writes = self.clone();
        // Detached: a caller that is dropped must not cancel the others' rows.
        tokio::spawn(async move {
            let mut call = pin!(writes.write(rows));
            let ended = timeout(PATIENCE, &mut call).await.is_ok();
            writes.begin_next(queue);
            if !ended {
                call.await;
            }
        });
    }

    async fn write(&self, rows: Vec<Row>) {
        if rows.len() == 1 {
            return self.each(rows).await;
        }
        let puts: Vec<_> = rows.iter().map(|row| json!({ "PutRequest": { "Item": row.item } })).collect();
        let request = json!({ "RequestItems": { &self.0.table: puts } });
        let left = match self.0.client.call("BatchWriteItem", &request).await {
            Ok(answer) => serde_json::from_slice(&answer).map_err(Failed::from),
            Err(failed) => Err(failed),
        };
        match left {
            Ok(Unprocessed { items }) => {
                let left: HashSet<_> = items.values().flatten().map(|put| id(&put["PutRequest"]["Item"])).collect();
                let is_left = |row: &Row| left.contains(id(&row.item));
                let (left, written): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_left);
                written.into_iter().for_each(|row| row.end(Ok(())));
                self.each(left).await;
            }
            Err(failed) if failed.may_pass() => {
                let error = Error::from(failed);
                rows.into_iter().for_each(|row| row.end(Err(error.clone())));
            }
            // The error may concern only one of the rows, or batch writes in general.
            Err(failed) => {
                tracing::warn!(cause = %failed, "writing rows one by one");
                self.each(rows).await;
            }
        }
    }

    /// Writes each row with its own call.
    async fn each(&self, rows: Vec<Row>) {
        let put = async |row: Row| {
            let request = json!({ "TableName": self.0.table, "Item": row.item });
            row.end(self.0.client.perform("PutItem", &request).await.map_err(Error::from));
        };
        join_all(rows.into_iter().filter(|row| !row.done.is_closed()).map(put)).await;
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock()
}

impl Queue {
    /// Takes the rows of the next call.
    fn next(&mut self) -> Vec<Row> {
        self.waiting.retain(|row| !row.done.is_closed());
        let later = self.waiting.split_off(self.waiting.len().min(MOST));
        let rows = mem::replace(&mut self.waiting, later);
        self.is_under_way = !rows.is_empty();
        rows.into()
    }
}

impl Row {
    fn end(self, how: Result<(), Error>) {
        // A caller that has been dropped needs no answer.
        let _ = self.done.send(how);
    }
}

/// The rows not written because of throttling. AWS always includes the list, even if it is empty: an answer without it
/// is not AWS's.
#[derive(Deserialize)]
struct Unprocessed {
    #[serde(rename = "UnprocessedItems")]
    items: HashMap<String, Vec<Value>>,
}

fn id(item: &Value) -> &str {
    item[attribute::ID]["S"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_types::body::SdkBody;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::storage::sigv4::{Destination, Signer};

    /// Records the calls that are made, as operation and ids, each to be answered by the test.
    #[derive(Debug, Clone, Default)]
    struct Cloud(Arc<Mutex<Vec<Call>>>);

    #[derive(Debug)]
    struct Call {
        operation: String,
        ids: Vec<String>,
        answer: oneshot::Sender<(u16, String)>,
    }

    impl HttpConnector for Cloud {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let operation = request.headers().get("x-amz-target").unwrap().rsplit('.').next().unwrap().to_owned();
            let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            let ids = match operation.as_str() {
                "PutItem" => vec![id(&body["Item"]).to_owned()],
                _ => {
                    let puts = body["RequestItems"]["posts"].as_array().unwrap();
                    puts.iter().map(|put| id(&put["PutRequest"]["Item"]).to_owned()).collect()
                }
            };
            let (answer, answered) = oneshot::channel();
            self.0.lock().push(Call { operation, ids, answer });
            HttpConnectorFuture::new(async move {
                let (status, body) = answered.await.unwrap();
                Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
            })
        }
    }

    impl Cloud {
        fn writes(&self) -> BatchWrites {
            let (origin, path) = ("http://127.0.0.1:1".to_owned(), String::new());
            let place = Destination { origin, path, region: "us-east-1".to_owned(), service: "dynamodb".to_owned() };
            let keys = SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test"));
            let http = SharedHttpConnector::new(self.clone());
            BatchWrites::new(DynamoDb::new(http, Signer::new(place, keys), None, None), "posts".to_owned())
        }

        /// Returns the calls in flight once everything else is blocked on them.
        async fn calls(&self) -> Vec<Call> {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            mem::take(&mut *self.0.lock())
        }

        /// Returns the only call.
        async fn call(&self) -> Call {
            let mut calls = self.calls().await;
            assert_eq!(calls.len(), 1, "{calls:?}");
            calls.remove(0)
        }
    }

    impl Call {
        fn summary(&self) -> (&str, Vec<&str>) {
            (&self.operation, self.ids.iter().map(String::as_str).collect())
        }

        fn end(self) {
            let done = if self.operation == "PutItem" { "{}" } else { r#"{"UnprocessedItems":{}}"# };
            self.answer.send((200, done.to_owned())).unwrap();
        }

        fn refuse(self, code: &str) {
            self.answer.send((400, json!({ "__type": format!("x#{code}") }).to_string())).unwrap();
        }
    }

    type Written = JoinHandle<Result<(), Error>>;

    fn put(writes: &BatchWrites, name: &str) -> Written {
        let (writes, item) = (writes.clone(), json!({ attribute::ID: { "S": name } }));
        tokio::spawn(async move { writes.put(item).await })
    }

    /// Returns one row whose call is in flight, and rows that arrived since.
    async fn crowd(cloud: &Cloud, names: &[&str]) -> (Written, Call, Vec<Written>) {
        let writes = cloud.writes();
        let first = put(&writes, "first");
        let call = cloud.call().await;
        assert_eq!(call.summary(), ("PutItem", vec!["first"]));
        let others = names.iter().map(|name| put(&writes, name)).collect();
        assert!(cloud.calls().await.is_empty(), "they wait");
        (first, call, others)
    }

    #[tokio::test(start_paused = true)]
    async fn writes_during_a_call_go_into_the_next_batch() {
        let cloud = Cloud::default();
        let (first, call, others) = crowd(&cloud, &["a", "b"]).await;
        call.end();
        let call = cloud.call().await;
        assert!(first.await.unwrap().is_ok());
        assert_eq!(call.summary(), ("BatchWriteItem", vec!["a", "b"]));
        call.end();
        assert!(join_all(others).await.into_iter().all(|written| written.unwrap().is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_is_sent_at_once() {
        let (cloud, names) = (Cloud::default(), (0..=MOST).map(|number| number.to_string()).collect::<Vec<_>>());
        let writes = cloud.writes();
        let first = put(&writes, "first");
        let call = cloud.call().await;
        let others: Vec<_> = names.iter().map(|name| put(&writes, name)).collect();
        let full = cloud.call().await;
        assert_eq!(full.summary(), ("BatchWriteItem", names[..MOST].iter().map(String::as_str).collect()));
        full.end();
        let left = cloud.call().await;
        assert_eq!(left.summary(), ("PutItem", vec!["25"]));
        left.end();
        assert!(join_all(others).await.into_iter().all(|written| written.unwrap().is_ok()));
        call.end();
        assert!(first.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn unprocessed_items_are_written_one_by_one() {
        let cloud = Cloud::default();
        let (_first, call, mut others) = crowd(&cloud, &["a", "b", "c"]).await;
        call.end();
        let left = json!([{ "PutRequest": { "Item": { "id": { "S": "b" }, "user": { "S": "ada" } } } }]);
        let call = cloud.call().await;
        call.answer.send((200, json!({ "UnprocessedItems": { "posts": left } }).to_string())).unwrap();
        let call = cloud.call().await;
        assert_eq!(call.summary(), ("PutItem", vec!["b"]));
        let (b, c) = (others.remove(1), others.remove(1));
        assert!(others.remove(0).await.unwrap().is_ok() && c.await.unwrap().is_ok());
        call.refuse("ValidationException");
        assert!(matches!(b.await.unwrap(), Err(Error::Refused(_))), "each caller gets the outcome of its own row");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_batch_is_retried_one_by_one() {
        let cloud = Cloud::default();
        let (_first, call, others) = crowd(&cloud, &["a", "b"]).await;
        call.end();
        cloud.call().await.refuse("AccessDeniedException");
        let mut calls = cloud.calls().await;
        assert_eq!(calls.iter().map(Call::summary).collect::<Vec<_>>(), ["a", "b"].map(|name| ("PutItem", vec![name])));
        calls.pop().unwrap().refuse("ValidationException");
        calls.pop().unwrap().end();
        let ended = join_all(others).await;
        assert!(matches!(&ended[..], [Ok(Ok(())), Ok(Err(Error::Refused(_)))]), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_fails_every_caller_of_a_batch() {
        let cloud = Cloud::default();
        let (_first, call, others) = crowd(&cloud, &["a", "b"]).await;
        call.end();
        while others.iter().any(|other| !other.is_finished()) {
            for call in cloud.calls().await {
                assert_eq!(call.operation, "BatchWriteItem", "an outage does not multiply the calls");
                call.refuse("ThrottlingException");
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for other in others {
            assert!(matches!(other.await.unwrap(), Err(Error::Unavailable(_))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_malformed_answer_to_a_batch_is_an_error() {
        for answer in ["", "{}", "[]", "<html>", r#"{"UnprocessedItems":[]}"#, r#"{"UnprocessedItems":null}"#] {
            let cloud = Cloud::default();
            let (_first, call, others) = crowd(&cloud, &["a", "b"]).await;
            call.end();
            while others.iter().any(|other| !other.is_finished()) {
                for call in cloud.calls().await {
                    assert_eq!(call.operation, "BatchWriteItem");
                    call.answer.send((200, answer.to_owned())).unwrap();
                }
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            for other in others {
                let written = other.await.unwrap();
                assert!(matches!(written, Err(Error::Unavailable(_))), "{answer}: {written:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_batch_does_not_hold_up_later_writes() {
        let cloud = Cloud::default();
        let (first, call, others) = crowd(&cloud, &["a", "b"]).await;
        tokio::time::advance(PATIENCE).await;
        cloud.call().await.end();
        assert!(join_all(others).await.into_iter().all(|written| written.unwrap().is_ok()));
        assert!(!first.is_finished());
        call.end();
        assert!(first.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_write_is_dropped_from_its_batch() {
        let cloud = Cloud::default();
        let (first, call, others) = crowd(&cloud, &["a", "b", "c"]).await;
        for left in [&first, &others[0]] {
            left.abort();
        }
        assert!(cloud.calls().await.is_empty());
        call.end();
        let call = cloud.call().await;
        assert_eq!(call.summary(), ("BatchWriteItem", vec!["b", "c"]));
        call.end();
        assert!(others.into_iter().next_back().unwrap().await.unwrap().is_ok());
    }

    /// A multi-threaded runtime moves a call between threads.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_write_is_answered_when_calls_move_between_threads() {
        let cloud = Cloud::default();
        let writes = cloud.writes();
        let answers = tokio::spawn({
            let cloud = cloud.clone();
            async move {
                loop {
                    cloud.calls().await.into_iter().for_each(Call::end);
                }
            }
        });
        for round in 0..100 {
            let rows = (0..8).map(|number| put(&writes, &format!("{round}-{number}")));
            let written = timeout(Duration::from_secs(60), join_all(rows)).await.expect("all are answered");
            assert!(written.into_iter().all(|written| written.unwrap().is_ok()));
        }
        answers.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_write_is_sent_at_once() {
        let cloud = Cloud::default();
        let writes = cloud.writes();
        for name in ["a", "b"] {
            let written = put(&writes, name);
            let call = cloud.call().await;
            assert_eq!(call.summary(), ("PutItem", vec![name]));
            call.end();
            assert!(written.await.unwrap().is_ok());
        }
    }
}
