//! A proxy between a browser and the service: it records every request, and answers some in the service's place.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use poem::http::{HeaderName, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use serde_json::{Value, json};
use service::Limits;
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use super::{serve_app, serve_at};

/// A proxy in front of one service. It forwards everything that it does not answer itself.
pub struct Front {
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    service: String,
    client: reqwest::Client,
    rules: Mutex<Vec<(&'static str, Answer)>>,
    changed: Notify,
    seen: Mutex<Vec<String>>,
}

/// An answer in the service's place.
#[derive(Clone)]
pub enum Answer {
    /// No answer until the rule is removed.
    Wait,
    /// An error in the service's format.
    Refuse(u16),
    /// This value, with status 200.
    Say(Value),
    /// This value to one request only.
    SayOnce(Value),
    /// The service's answer, with this text before its body.
    Prepend(&'static str),
}

impl Front {
    pub async fn of(service: &str) -> Front {
        let state = Arc::new(State { service: service.to_owned(), ..State::default() });
        let shared = state.clone();
        let app = poem::endpoint::make(move |request| {
            let state = shared.clone();
            async move { Ok::<_, poem::Error>(state.answer(request).await) }
        });
        // With a small buffer: of a large upload that has to wait, only a part arrives.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let url = serve_at(socket.listen(1024).unwrap(), app, Limits::default());
        Front { url, state }
    }

    /// Answers requests that begin like this, such as `GET /posts`, from now on.
    pub fn answer(&self, requests: &'static str, answer: Answer) {
        self.state.rules().insert(0, (requests, answer));
    }

    /// Forwards these requests to the service again.
    pub fn pass(&self, requests: &'static str) {
        self.state.rules().retain(|(known, _)| *known != requests);
        self.state.changed.notify_waiters();
    }

    /// The requests since the last call, such as `GET /posts?limit=40`, or `GET / if changed` for a conditional one.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }
}

impl State {
    fn rules(&self) -> MutexGuard<'_, Vec<(&'static str, Answer)>> {
        self.rules.lock().unwrap()
    }

    async fn answer(&self, mut request: Request) -> Response {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let asked = format!("{} {path}", request.method());
        let condition = if request.headers().contains_key(header::IF_NONE_MATCH) { " if changed" } else { "" };
        self.seen.lock().unwrap().push(format!("{asked}{condition}"));
        loop {
            let changed = self.changed.notified();
            match self.rule_for(&asked) {
                Some(Answer::Wait) => changed.await,
                Some(Answer::Refuse(status)) => return refusal(status),
                Some(Answer::Say(value) | Answer::SayOnce(value)) => {
                    // All of it arrives, as it would at the service; a client may have given up.
                    let _ = request.take_body().into_vec().await;
                    return poem::web::Json(value).into_response();
                }
                Some(Answer::Prepend(text)) => {
                    request.headers_mut().remove(header::ACCEPT_ENCODING); // nothing fits before a compressed body
                    return self.forward(request, &asked, text).await;
                }
                None => return self.forward(request, &asked, "").await,
            }
        }
    }

    fn rule_for(&self, asked: &str) -> Option<Answer> {
        let mut rules = self.rules();
        let place = rules.iter().position(|(begin, _)| asked.starts_with(begin))?;
        match &rules[place].1 {
            Answer::SayOnce(_) => Some(rules.remove(place).1),
            answer => Some(answer.clone()),
        }
    }

    async fn forward(&self, mut request: Request, asked: &str, before: &str) -> Response {
        let (method, path) = asked.split_once(' ').unwrap();
        let body = request.take_body().into_vec().await.unwrap();
        let mut call = self.client.request(method.parse().unwrap(), format!("{}{path}", self.service)).body(body);
        for (name, value) in request.headers() {
            if !of_the_line(name) {
                call = call.header(name, value);
            }
        }
        let answer = call.send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if !of_the_line(name) {
                response = response.header(name, value);
            }
        }
        response.body([before.as_bytes(), &answer.bytes().await.unwrap()].concat())
    }
}

/// Whether a header concerns the connection rather than its content.
fn of_the_line(name: &HeaderName) -> bool {
    [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH].contains(name)
}

/// Serves a page at its own origin, and returns its address.
pub async fn elsewhere(html: &'static str) -> String {
    let app = poem::endpoint::make(move |_| async move { Ok::<_, poem::Error>(poem::web::Html(html).into_response()) });
    serve_app(app, Limits::default()).await
}

fn refusal(status: u16) -> Response {
    let body = json!({ "status_code": status, "message": "not today", "data": null });
    poem::web::Json(body).with_status(StatusCode::from_u16(status).unwrap()).into_response()
}
