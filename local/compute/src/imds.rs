//! The instance metadata service, version 2: facts about an instance, and its credentials.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::json;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clock::Moment;
use super::ec2::find_image;
use super::state::Instance;
use super::{Compute, Credentials};

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// The host names of the service, local and on AWS. They protect against DNS rebinding: a web page whose own name
/// resolves to this machine sends that name.
const HOSTS: &[&str] = &["127.0.0.1", "localhost", "169.254.169.254", "[fd00:ec2::254]", "instance-data.ec2.internal"];

/// Credentials are renewed this long before they expire.
const MARGIN: time::Duration = time::Duration::minutes(5);

struct Service {
    compute: Arc<Compute>,
    instance: Instance,
    tokens: Mutex<Vec<(String, OffsetDateTime)>>,
    credentials: tokio::sync::Mutex<Option<Credentials>>,
}

/// Serves an instance's metadata until it stops, and returns the address.
pub async fn serve(compute: Arc<Compute>, instance: Instance, stop: CancellationToken) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let tasks = compute.tasks.clone();
    let service = Arc::new(Service { compute, instance, tokens: Mutex::default(), credentials: Default::default() });
    tasks.spawn(async move {
        let connections = tokio_util::task::TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (service, stop) = (service.clone(), stop.clone());
            connections.spawn(async move {
                let answer = service_fn(move |request| {
                    let service = service.clone();
                    async move { Ok::<_, Infallible>(service.respond(&request).await) }
                });
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                // How a client disconnects does not matter.
                drop(stop.run_until_cancelled(connection).await);
            });
        }
        connections.close();
        connections.wait().await;
    });
    Ok(address)
}

/// Returns the status with which an instance that never ran responds; it accepts this token.
pub(super) async fn rehearse(
    compute: Arc<Compute>,
    token: &str,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> StatusCode {
    let instance = Instance { id: "i-0".to_owned(), user_data: "#cloud-config".to_owned(), ..Instance::default() };
    let known = (token.to_owned(), OffsetDateTime::now_utc() + time::Duration::HOUR);
    let service = Service { compute, instance, tokens: Mutex::new(vec![known]), credentials: Default::default() };
    service.answer(method, path, headers).await.status()
}

impl Service {
    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match is_ours(request.headers()) {
            true => self.answer(request.method(), request.uri().path(), request.headers()).await,
            false => plain(StatusCode::FORBIDDEN, "Forbidden"),
        }
    }

    async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let settings = &self.instance.settings;
        match (method, path.trim_end_matches('/')) {
            _ if !settings.metadata_enabled => plain(StatusCode::FORBIDDEN, "Forbidden"),
            // A request with this header came through a proxy, not from a program of this instance (EC2 user guide,
            // "How Instance Metadata Service Version 2 works").
            (&Method::PUT, _) if headers.contains_key("x-forwarded-for") => plain(StatusCode::FORBIDDEN, "Forbidden"),
            (&Method::PUT, "/latest/api/token") => match header(TOKEN_TTL).and_then(|ttl| ttl.parse().ok()) {
                Some(ttl @ 1..=21600) => self.new_token(ttl),
                _ => plain(StatusCode::BAD_REQUEST, "Bad Request"),
            },
            (&Method::GET, path) if header(TOKEN).map_or(!settings.needs_token, |token| self.knows(token)) => {
                match self.value(path).await {
                    Some(value) => plain(StatusCode::OK, value),
                    None => plain(StatusCode::NOT_FOUND, "Not Found"),
                }
            }
            (&Method::GET, _) => plain(StatusCode::UNAUTHORIZED, "Unauthorized"),
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        }
    }

    fn new_token(&self, ttl_s: i64) -> Response<Full<Bytes>> {
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let now = OffsetDateTime::now_utc();
        let mut tokens = self.tokens.lock();
        tokens.retain(|(_, expires)| *expires > now);
        tokens.push((token.clone(), now + time::Duration::seconds(ttl_s)));
        let mut response = plain(StatusCode::OK, token);
        response.headers_mut().insert(TOKEN_TTL, ttl_s.into());
        response
    }

    fn knows(&self, token: &str) -> bool {
        let now = OffsetDateTime::now_utc();
        let tokens = self.tokens.lock();
        tokens.iter().any(|(known, expires)| known == token && *expires > now)
    }

    async fn value(&self, path: &str) -> Option<String> {
        let one = &self.instance;
        let site = &self.compute.site;
        let path = path.strip_prefix("/latest/")?;
        Some(match path {
            "meta-data" => "ami-id\nhostname\niam/\ninstance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\nplacement/\npublic-hostname\npublic-ipv4\nsecurity-groups".to_owned(),
            "meta-data/ami-id" => one.image.clone(),
            "meta-data/instance-id" => one.id.clone(),
            "meta-data/instance-type" => one.kind.clone(),
            "meta-data/hostname" | "meta-data/local-hostname" => format!("ip-{}.ec2.internal", one.address.replace('.', "-")),
            "meta-data/local-ipv4" => one.address.clone(),
            "meta-data/public-hostname" if one.settings.has_public_address => "localhost".to_owned(),
            "meta-data/public-ipv4" if one.settings.has_public_address => "127.0.0.1".to_owned(),
            "meta-data/placement" => "availability-zone\nregion".to_owned(),
            "meta-data/placement/region" => site.region.clone(),
            "meta-data/placement/availability-zone" => one.zone.clone(),
            "meta-data/security-groups" => self.group_names(),
            "meta-data/services/domain" => "amazonaws.com".to_owned(),
            "meta-data/services/partition" => "aws".to_owned(),
            "meta-data/iam/info" => {
                let profile = one.shown_profile.as_ref()?;
                json!({ "Code": "Success", "LastUpdated": Moment::now().seconds(), "InstanceProfileArn": profile.arn, "InstanceProfileId": profile.id }).to_string()
            }
            "meta-data/iam/security-credentials" => self.role().await?,
            "user-data" if !one.user_data.is_empty() => one.user_data.clone(),
            "dynamic/instance-identity/document" => json!({
                "accountId": site.account, "architecture": find_image(site, &one.image).map_or("x86_64", |image| image.architecture),
                "availabilityZone": one.zone, "imageId": one.image, "instanceId": one.id, "instanceType": one.kind,
                "pendingTime": one.launched.seconds(), "privateIp": one.address, "region": site.region, "version": "2017-09-30",
            })
            .to_string(),
            path => {
                let role = path.strip_prefix("meta-data/iam/security-credentials/")?;
                if self.role().await.as_deref() != Some(role) {
                    return None;
                }
                self.credentials(role).await
            }
        })
    }

    fn group_names(&self) -> String {
        self.compute.read(|state| {
            let names = self.instance.security_groups.iter().filter_map(|id| state.security_groups.get(id));
            names.map(|group| group.name.as_str()).collect::<Vec<&str>>().join("\n")
        })
    }

    async fn role(&self) -> Option<String> {
        self.compute.roles.role_of_profile(self.instance.profile.as_deref()?).await
    }

    async fn credentials(&self, role: &str) -> String {
        let mut kept = self.credentials.lock().await;
        let fresh = kept.take().filter(|kept| kept.expires - MARGIN > OffsetDateTime::now_utc());
        let credentials = match fresh {
            Some(fresh) => fresh,
            None => match self.compute.roles.credentials(role, &self.instance.id).await {
                Ok(fresh) => fresh,
                Err(fault) => return json!({ "Code": "Failed", "Message": fault.to_string() }).to_string(),
            },
        };
        let document = json!({
            "Code": "Success",
            "LastUpdated": Moment::now().seconds(),
            "Type": "AWS-HMAC",
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": Moment::from(credentials.expires).seconds(),
        });
        *kept = Some(credentials);
        document.to_string()
    }
}

/// Returns whether the request's `Host` is one of the service's names.
fn is_ours(headers: &HeaderMap) -> bool {
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    HOSTS.contains(&name)
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_service_accepts_only_its_own_host_names() {
        let is_ours = |host: &str| is_ours(&HeaderMap::from_iter([(http::header::HOST, host.parse().unwrap())]));
        for good in ["127.0.0.1:40123", "localhost", "169.254.169.254", "[fd00:ec2::254]", "[fd00:ec2::254]:80"] {
            assert!(is_ours(good), "{good}");
        }
        for bad in ["", "evil.example:80", "127.0.0.1.evil.example", "localhost:80.evil.example", "evil.localhost"] {
            assert!(!is_ours(bad), "{bad}");
        }
    }
}
