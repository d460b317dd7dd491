//! Limits: requests that are too large, too many, or too slow.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use service::{Limits, Workers, serve};
use testkit::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::{NOWHERE, TestService, assert_refused, serve_app};

/// A limit that is reached quickly.
const SOON: Duration = Duration::from_millis(50);
/// A limit that no test reaches.
const NEVER: Duration = Duration::from_secs(24 * 3600);

async fn connect(base: &str) -> TcpStream {
    TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Reads until the other side closes the connection.
async fn all_of(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn requests_beyond_the_limit_get_503_with_retry_after() {
    let mut service = TestService::start().await;
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move |call: String| {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            async move {
                if call == "Scan" {
                    begun.notify_one();
                    go_on.notified().await;
                }
                None
            }
        }
    };
    let limits = Limits { requests: 1, ..Limits::default() };
    let proxy = Proxy::with_hook(&service.endpoint, slow).await;
    service.base = service.elsewhere_with(&proxy.endpoint(), limits).await;
    let first = tokio::spawn(service.http.get(format!("{}/posts", service.base)).send());
    begun.notified().await;
    let refused = service.get("/posts?user=ada").await;
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_refused(refused, 503).await;
    // Requests that are exempt from the limit: health checks, preflights, and the page.
    assert_eq!(service.get("/health").await.status(), StatusCode::OK);
    assert_eq!(service.ask(Method::OPTIONS, "/posts", b"").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(service.get("/").await.status(), StatusCode::OK);
    go_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(service.get("/posts?user=ada").await.status(), StatusCode::OK);
    service.end().await;
}

/// A client that has sent the head of a request to write a post, whose body the service awaits.
async fn begin_to_write(base: &str) -> TcpStream {
    let mut slow = connect(base).await;
    let head = "POST /posts HTTP/1.1\r\nHost: x\r\nAuthorization: ada\r\nContent-Type: application/json\r\n";
    let more = "Expect: 100-continue\r\nContent-Length: 25\r\nConnection: close\r\n\r\n";
    slow.write_all(format!("{head}{more}").as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    slow.write_all(b"{").await.unwrap();
    slow
}

#[tokio::test]
async fn a_request_whose_body_is_missing_holds_no_place() {
    let mut service = TestService::start().await;
    service.base = service.otherwise(&[], Limits { requests: 1, senders: 3, body: NEVER, ..Limits::default() }).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(begin_to_write(&service.base).await);
    }
    // Too many clients are slow: the one that has been slow for longest is disconnected.
    let answer = all_of(slow.remove(0)).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(service.get("/posts").await.status(), StatusCode::OK);
    service.write(b"bob", "t").await;
    for mut slow in slow {
        slow.write_all(br#""title":"t","body":"b" }"#).await.unwrap();
        assert!(all_of(slow).await.starts_with("HTTP/1.1 201 Created\r\n"));
    }
    assert_eq!(service.list("/posts").await.len(), 4);
    service.end().await;
}

#[tokio::test]
async fn a_silent_connection_gives_way_to_a_new_one() {
    let mut service = TestService::start().await;
    service.base = service.otherwise(&[], Limits { silent: 2, head: NEVER, ..Limits::default() }).await;
    let silent = connect(&service.base).await;
    let mut slow = connect(&service.base).await;
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let mut third = connect(&service.base).await;
    assert_eq!(all_of(silent).await, "");
    let ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answer = [0; 15];
    for _ in 0..3 {
        third.write_all(ask).await.unwrap();
        third.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        // The rest of the answer.
        while third.read(&mut [0; 4096]).await.unwrap() == 4096 {}
    }
    let _fourth = connect(&service.base).await;
    assert_eq!(all_of(slow).await, "", "an incomplete head gets no answer");
    service.end().await;
}

#[tokio::test]
async fn a_request_whose_body_does_not_arrive_times_out() {
    let mut service = TestService::start().await;
    service.base = service.otherwise(&[], Limits { body: SOON, ..Limits::default() }).await;
    let mut slow = connect(&service.base).await;
    let head = "POST /posts HTTP/1.1\r\nHost: x\r\nAuthorization: ada\r\nContent-Type: application/json\r\n";
    slow.write_all(format!("{head}Content-Length: 25\r\n\r\n{{").as_bytes()).await.unwrap();
    let answer = all_of(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    assert_eq!(service.rows().await, 0);
    service.end().await;
}

#[tokio::test]
async fn a_client_that_never_completes_its_request_is_disconnected() {
    let mut service = TestService::start().await;
    service.base = service.otherwise(&[], Limits { head: SOON, ..Limits::default() }).await;
    let silent = connect(&service.base).await;
    assert_eq!(all_of(silent).await, "");
    let mut slow = connect(&service.base).await;
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    assert!(!all_of(slow).await.contains("200 OK"));
    let mut idle = connect(&service.base).await;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(all_of(idle).await.starts_with("HTTP/1.1 200 OK\r\n"));
    service.end().await;
}

/// Serves answers that are larger than a connection's buffers; the `Notify` fires when an answer is dropped.
async fn more_than_fits(limits: Limits) -> (String, Arc<Notify>) {
    let (done, more_than_fits) = (Arc::new(Notify::new()), vec![b'x'; 64 * 1024 * 1024]);
    let done_too = done.clone();
    struct NotifyOnDrop(Arc<Notify>);
    impl Drop for NotifyOnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let app = poem::endpoint::make_sync(move |_| {
        let (notify_on_drop, text) = (NotifyOnDrop(done_too.clone()), more_than_fits.clone());
        let parts = futures::stream::iter([Ok::<_, std::io::Error>(text)]).chain(futures::stream::once(async move {
            drop(notify_on_drop);
            Ok(Vec::new())
        }));
        poem::Body::from_bytes_stream(parts)
    });
    (serve_app(app, limits).await, done)
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_disconnected() {
    let (base, done) = more_than_fits(Limits { reading: SOON, ..Limits::default() }).await;
    let mut deaf = connect(&base).await;
    deaf.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    done.notified().await;
    drop(deaf);
}

#[tokio::test]
async fn the_slowest_of_too_many_readers_is_disconnected() {
    let (base, done) = more_than_fits(Limits { readers: 1, reading: NEVER, ..Limits::default() }).await;
    let (mut deaf, mut other) = (connect(&base).await, connect(&base).await);
    for client in [&mut deaf, &mut other] {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    }
    done.notified().await;
    drop((deaf, other));
}

#[tokio::test]
async fn a_request_that_takes_too_long_gets_503() {
    let mut service = TestService::start().await;
    // An AWS that accepts calls and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    service.base = service.elsewhere_with(&endpoint, Limits { whole: SOON, ..Limits::default() }).await;
    let answer = service.get("/posts").await;
    assert_eq!(answer.headers()["retry-after"], "2");
    assert_eq!(assert_refused(answer, 503).await, "this took too long, please try again");
    service.end().await;
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_service_from_stopping() {
    let begun = Arc::new(Notify::new());
    let begins = begun.clone();
    let app = poem::endpoint::make(move |_| {
        let begins = begins.clone();
        async move {
            begins.notify_one();
            pending::<poem::Result<()>>().await
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop_sender, stopped) = tokio::sync::oneshot::channel();
    let limits = Limits { drain: SOON, ..Limits::default() };
    let stop = async move { stopped.await.unwrap() };
    let serving = tokio::spawn(async move { serve("test", listener, app, &limits, &Workers::here(), stop).await });
    let mut waiting = connect(&base).await;
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    begun.notified().await;
    stop_sender.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(base.strip_prefix("http://").unwrap()).await.is_err());
}

#[tokio::test]
async fn oversized_requests_are_refused_with_the_services_errors() {
    let service = TestService::start().await;
    assert_refused(service.get(&format!("/posts?user={}", "u".repeat(8 * 1024))).await, 414).await;
    let large = service.http.get(format!("{}/posts", service.base)).header("X-Large", "x".repeat(17 * 1024));
    assert_refused(large.send().await.unwrap(), 431).await;
    // A request beyond the parser's own limit is not read to its end.
    let mut endless = connect(&service.base).await;
    endless.write_all(format!("GET /posts HTTP/1.1\r\nX-Large: {}", "x".repeat(65 * 1024)).as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    endless.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    // About as much as browsers send.
    assert_eq!(service.get(&format!("/posts?user={}", "u".repeat(4 * 1024))).await.status(), StatusCode::OK);
    service.end().await;
}

#[tokio::test]
async fn readiness_depends_on_the_storage_and_is_cached() {
    let mut service = TestService::start().await;
    let before = service.calls().await;
    for _ in 0..10 {
        let answer = service.get("/ready").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "status": "ready" }));
    }
    assert_eq!(service.calls().await, before + 2);
    for (base, missing) in [
        (service.elsewhere(Some(NOWHERE), None).await, "S3"),
        (service.elsewhere(None, Some(NOWHERE)).await, "DynamoDB"),
    ] {
        service.base = base;
        for _ in 0..2 {
            let answer = service.get("/ready").await;
            assert_eq!(answer.headers()["retry-after"], "2");
            assert_eq!(assert_refused(answer, 503).await, format!("{missing} cannot be used now"));
        }
        assert_eq!(service.get("/health").await.status(), StatusCode::OK);
    }
    service.end().await;
}
