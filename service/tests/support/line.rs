//! The line between the service and AWS, which sees every call and can be cut.
#![allow(dead_code)] // each test binary uses its part

use std::future::pending;
use std::sync::Arc;

use poem::http::{HeaderName, StatusCode, header};
use poem::{Body, IntoResponse, Request, Response};
use service::{Limits, Workers};
use tokio::net::TcpListener;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, and so does its answer.
    Pass,
    /// It does not arrive.
    Lost,
    /// It arrives, and its answer does not.
    Unheard,
    /// It is one too many: `DynamoDB` and S3 each say so in their own way.
    Throttled,
}

/// Stands between a service and this endpoint and asks for each call, such as `DeleteItem` or `GET /images`, what is to
/// become of it; returns its own address.
pub async fn line<F>(endpoint: &str, fate: impl Fn(String) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = Fate> + Send + 'static,
{
    let (endpoint, client, fate) = (endpoint.to_owned(), reqwest::Client::new(), Arc::new(fate));
    let app = poem::endpoint::make(move |request: Request| {
        let (endpoint, client, fate) = (endpoint.clone(), client.clone(), fate.clone());
        async move {
            let lost = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            let fate = fate(name(&request)).await;
            Ok::<_, poem::Error>(match fate {
                Fate::Pass => forward(&client, &endpoint, request).await,
                Fate::Lost => lost,
                Fate::Unheard => {
                    forward(&client, &endpoint, request).await;
                    lost
                }
                Fate::Throttled => throttled(&request),
            })
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        service::serve("line", listener, app, &Limits::default(), &Workers::here(), pending()).await
    });
    address
}

/// DynamoDB's calls have a name, S3's a method and a path.
fn name(request: &Request) -> String {
    match request.header("x-amz-target").and_then(|target| target.split_once('.')) {
        Some((_, name)) => name.to_owned(),
        None => format!("{} {}", request.method(), request.uri().path()),
    }
}

fn throttled(request: &Request) -> Response {
    const DYNAMODB: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#;
    const S3: &str = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    match request.header("x-amz-target") {
        Some(_) => Response::builder().status(StatusCode::BAD_REQUEST).body(DYNAMODB),
        None => Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(S3),
    }
}

async fn forward(client: &reqwest::Client, endpoint: &str, mut request: Request) -> Response {
    let body = request.take_body().into_vec().await.unwrap();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut call = client.request(request.method().clone(), format!("{endpoint}{path}")).body(body);
    // The host as well: it is signed.
    for (name, value) in request.headers().iter().filter(|(name, _)| !of_the_connection(name)) {
        call = call.header(name, value);
    }
    let answer = call.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| !of_the_connection(name)) {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.bytes().await.unwrap()))
}

fn of_the_connection(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH].contains(name)
}
