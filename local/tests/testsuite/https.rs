//! HTTPS listeners, from the certificate to the answer.

use std::sync::Arc;

use aws_sdk_acm::types::{CertificateStatus, KeyAlgorithm, ValidationMethod};
use aws_sdk_elasticloadbalancingv2::Client as Balancing;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, LoadBalancerAttribute, LoadBalancerStateEnum,
    ProtocolEnum, RedirectActionConfig, RedirectActionStatusCodeEnum as RedirectStatus,
};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use testkit::clients::{code, without_retries};
use testkit::{LocalAws, eventually, until};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct HttpsScene {
    aws: LocalAws,
    acm: aws_sdk_acm::Client,
    route53: aws_sdk_route53::Client,
    balancing: Balancing,
    zone: String,
}

const DOMAIN: &str = "shop.localhost";

impl HttpsScene {
    async fn start() -> HttpsScene {
        let aws = LocalAws::start().await;
        let config = without_retries(&aws.config);
        let route53 = aws_sdk_route53::Client::new(&config);
        let made = route53.create_hosted_zone().name(DOMAIN).caller_reference("1").send().await.unwrap();
        HttpsScene {
            acm: aws_sdk_acm::Client::new(&config),
            balancing: Balancing::new(&config),
            zone: made.hosted_zone.unwrap().id.trim_start_matches("/hostedzone/").to_owned(),
            route53,
            aws,
        }
    }

    /// Requests a certificate for names below the zone.
    async fn request(&self, names: &[&str], algorithm: KeyAlgorithm) -> String {
        let others = (names.len() > 1).then(|| names[1..].iter().map(|name| (*name).to_owned()).collect());
        let request = self.acm.request_certificate().domain_name(names[0]).validation_method(ValidationMethod::Dns);
        let request = request.key_algorithm(algorithm).set_subject_alternative_names(others);
        request.send().await.unwrap().certificate_arn.unwrap()
    }

    async fn issued(&self, names: &[&str], algorithm: KeyAlgorithm) -> String {
        let arn = self.request(names, algorithm).await;
        let describe =
            async || self.acm.describe_certificate().certificate_arn(&arn).send().await.unwrap().certificate.unwrap();
        let proofs = eventually("the records", async || {
            let options = describe().await.domain_validation_options?;
            options.into_iter().map(|option| option.resource_record).collect::<Option<Vec<_>>>()
        });
        for proof in proofs.await {
            let value = ResourceRecord::builder().value(&proof.value).build().unwrap();
            let set = ResourceRecordSet::builder().name(&proof.name).r#type(RrType::Cname).ttl(60);
            let set = set.resource_records(value).build().unwrap();
            let change = Change::builder().action(ChangeAction::Upsert).resource_record_set(set).build().unwrap();
            let batch = ChangeBatch::builder().changes(change).build().unwrap();
            until("the record", async || {
                let change = self.route53.change_resource_record_sets().hosted_zone_id(&self.zone);
                change.change_batch(batch.clone()).send().await.is_ok()
            })
            .await;
        }
        until("the certificate", async || describe().await.status == Some(CertificateStatus::Issued)).await;
        arn
    }

    /// Creates a load balancer without targets.
    async fn balancer(&self) -> String {
        let ec2 = aws_sdk_ec2::Client::new(&self.aws.config);
        let subnets = ec2.describe_subnets().send().await.unwrap().subnets.unwrap();
        let subnets = subnets.into_iter().take(2).map(|subnet| subnet.subnet_id.unwrap()).collect();
        let create = self.balancing.create_load_balancer().name("web").set_subnets(Some(subnets));
        create.send().await.unwrap().load_balancers()[0].load_balancer_arn.clone().unwrap()
    }

    async fn secure(&self, balancer: &str, certificate: &str, policy: Option<&str>) -> String {
        let create = self.balancing.create_listener().load_balancer_arn(balancer).port(443);
        let create = create.protocol(ProtocolEnum::Https).set_ssl_policy(policy.map(str::to_owned));
        let create = create.certificates(Certificate::builder().certificate_arn(certificate).build());
        create.default_actions(fixed()).send().await.unwrap().listeners()[0].listener_arn.clone().unwrap()
    }

    /// Returns the local port of a listener, once it answers.
    async fn port(&self, port: u16) -> u16 {
        eventually("the listener", async || {
            let shown = self.aws.control().get("status").await;
            let listeners = shown["load_balancers"][0]["listeners"].as_array()?.clone();
            let found = listeners.iter().find(|one| one["port"] == port)?["local_port"].as_u64()?;
            let found = u16::try_from(found).unwrap();
            // Until the load balancer is active, connections are accepted but not answered.
            let active = self.balancing.describe_load_balancers().send().await.unwrap();
            let code = active.load_balancers()[0].state()?.code()?.clone();
            (code == LoadBalancerStateEnum::Active).then_some(found)
        })
        .await
    }

    /// Returns the certificate of the authority, which is all that clients have to trust.
    async fn authority(&self) -> RootCertStore {
        let health = self.aws.control().get("health").await;
        let file = health["certificate_authority"].as_str().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
        roots
    }
}

/// A client of HTTPS listeners.
struct Client {
    roots: RootCertStore,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Client {
    fn of(roots: RootCertStore) -> Client {
        Client { roots, versions: vec![&version::TLS12, &version::TLS13] }
    }

    async fn connect(&self, name: &str, port: u16, protocol: &[u8]) -> Result<TlsStream<TcpStream>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&self.versions).unwrap();
        let mut config = builder.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        secured.map_err(|fault| fault.to_string())
    }

    /// Sends a request over HTTP/1.1, and returns the answer.
    async fn get(&self, name: &str, port: u16, path: &str) -> Result<String, String> {
        let stream = self.connect(name, port, b"http/1.1").await?;
        Ok(asked(stream, name, path).await)
    }
}

/// Sends a request, and returns the answer.
async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The balancer may close the connection without saying goodbye.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn plain(port: u16, name: &str, path: &str) -> String {
    asked(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), name, path).await
}

/// Returns the status in an answer.
fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn fixed() -> Action {
    let response = FixedResponseActionConfig::builder().status_code("200").message_body("secure").build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build()
}

fn redirect() -> Action {
    let config = RedirectActionConfig::builder().protocol("HTTPS").port("443").status_code(RedirectStatus::Http301);
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config.build()).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_redirected_to_https_and_the_certificate_has_its_name() {
    let scene = HttpsScene::start().await;
    let first = scene.issued(&[DOMAIN, "*.shop.localhost"], KeyAlgorithm::Rsa2048).await;
    let balancer = scene.balancer().await;
    let listen = scene.balancing.create_listener().load_balancer_arn(&balancer).port(80).protocol(ProtocolEnum::Http);
    listen.default_actions(redirect()).send().await.unwrap();
    let policy = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09";
    let listener = scene.secure(&balancer, &first, Some(policy)).await;
    let (port, secure) = (scene.port(80).await, scene.port(443).await);
    let client = Client::of(scene.authority().await);
    let www = format!("www.{DOMAIN}");

    let answer = plain(port, &format!("{www}:{port}"), "/a?b=c").await;
    assert_eq!(status(&answer), 301, "{answer}");
    assert!(answer.contains(&format!("\r\nlocation: https://{www}:{secure}/a?b=c\r\n")), "{answer}");
    for name in [www.as_str(), DOMAIN] {
        let answer = client.get(name, secure, "/a?b=c").await.unwrap();
        assert!(status(&answer) == 200 && answer.ends_with("secure"), "{name}: {answer}");
    }
    // A wildcard matches one label: any other name gets the default certificate, which does not have it.
    let deep = format!("a.b.{DOMAIN}");
    let refused = client.get(&deep, secure, "/").await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    let stranger = Client::of(RootCertStore::empty()).get(DOMAIN, secure, "/").await.unwrap_err();
    assert!(stranger.contains("UnknownIssuer"), "{stranger}");

    // HTTP/2, if the client prefers it.
    let stream = client.connect(&www, secure, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("https://{www}:{secure}/")).body(Empty::<Bytes>::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "secure");

    // The certificate of another name is chosen once the listener has it.
    let second = scene.issued(&["a.b.shop.localhost"], KeyAlgorithm::EcPrime256v1).await;
    let added = Certificate::builder().certificate_arn(&second).build();
    let add = scene.balancing.add_listener_certificates().listener_arn(&listener).certificates(added.clone());
    assert_eq!(add.send().await.unwrap().certificates().len(), 1);
    assert_eq!(status(&client.get(&deep, secure, "/").await.unwrap()), 200);
    let described = scene.balancing.describe_listener_certificates().listener_arn(&listener).send().await.unwrap();
    let shown: Vec<_> =
        described.certificates().iter().map(|one| (one.certificate_arn().unwrap(), one.is_default())).collect();
    assert_eq!(shown, [(first.as_str(), Some(true)), (second.as_str(), Some(false))]);

    // In use, until some time after the last listener has released it.
    let delete = async |arn: &str| scene.acm.delete_certificate().certificate_arn(arn).send().await;
    assert_eq!(code(delete(&second).await), "ResourceInUseException");
    let in_use = scene.acm.describe_certificate().certificate_arn(&second).send().await.unwrap();
    assert_eq!(in_use.certificate.unwrap().in_use_by(), std::slice::from_ref(&balancer));
    let remove = scene.balancing.remove_listener_certificates().listener_arn(&listener);
    remove.certificates(added).send().await.unwrap();
    until("the certificate to be released", async || delete(&second).await.is_ok()).await;
    let default = Certificate::builder().certificate_arn(&first).build();
    let remove = scene.balancing.remove_listener_certificates().listener_arn(&listener).certificates(default);
    assert_eq!(code(remove.send().await), "OperationNotPermitted");

    let answer = plain(secure, DOMAIN, "/").await;
    assert!(status(&answer) == 400 && answer.contains("The plain HTTP request was sent to HTTPS port"), "{answer}");
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_of_http2_is_closed() {
    let scene = HttpsScene::start().await;
    let arn = scene.issued(&[DOMAIN], KeyAlgorithm::EcPrime256v1).await;
    let balancer = scene.balancer().await;
    let timeout = LoadBalancerAttribute::builder().key("idle_timeout.timeout_seconds").value("1").build();
    let modify = scene.balancing.modify_load_balancer_attributes().load_balancer_arn(&balancer).attributes(timeout);
    modify.send().await.unwrap();
    scene.secure(&balancer, &arn, None).await;
    let port = scene.port(443).await;
    let client = Client::of(scene.authority().await);
    let stream = client.connect(DOMAIN, port, b"h2").await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("https://{DOMAIN}:{port}/")).body(Empty::<Bytes>::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "secure");
    connection.await.unwrap().expect("the load balancer closes it gracefully");
    drop(sender);
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_refused_as_on_aws() {
    let scene = HttpsScene::start().await;
    let arn = scene.issued(&[DOMAIN], KeyAlgorithm::EcSecp384r1).await;
    let pending = scene.request(&["other.shop.localhost"], KeyAlgorithm::Rsa2048).await;
    let balancer = scene.balancer().await;
    let create = || scene.balancing.create_listener().load_balancer_arn(&balancer).port(443).default_actions(fixed());
    let certificate = |arn: &str| Certificate::builder().certificate_arn(arn).build();
    let secure = || create().protocol(ProtocolEnum::Https);
    let unknown = arn.replace(|letter: char| letter.is_ascii_digit(), "0");
    for (call, expected) in [
        (secure(), "ValidationError"),
        (secure().certificates(certificate(&unknown)), "CertificateNotFound"),
        (secure().certificates(certificate(&pending)), "UnsupportedCertificate"),
        (secure().certificates(certificate(&arn)).certificates(certificate(&arn)), "TooManyCertificates"),
        (secure().certificates(certificate(&arn)).ssl_policy("ELBSecurityPolicy-None"), "SSLPolicyNotFound"),
        (create().protocol(ProtocolEnum::Http).certificates(certificate(&arn)), "ValidationError"),
        (create().protocol(ProtocolEnum::Http).ssl_policy("ELBSecurityPolicy-2016-08"), "ValidationError"),
    ] {
        assert_eq!(code(call.send().await), expected);
    }
    let config = RedirectActionConfig::builder().status_code(RedirectStatus::Http301).build();
    let looping = Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config).build();
    let looping = scene.balancing.create_listener().load_balancer_arn(&balancer).port(80).default_actions(looping);
    assert_eq!(code(looping.protocol(ProtocolEnum::Http).send().await), "InvalidLoadBalancerAction");

    let listener = scene.secure(&balancer, &arn, None).await;
    let describe = async || {
        let found = scene.balancing.describe_listeners().listener_arns(&listener).send().await.unwrap();
        found.listeners.unwrap().remove(0)
    };
    let made = describe().await;
    assert_eq!(made.ssl_policy(), Some("ELBSecurityPolicy-2016-08"));
    assert_eq!(made.certificates()[0].certificate_arn(), Some(arn.as_str()));
    let modify = || scene.balancing.modify_listener().listener_arn(&listener);
    assert_eq!(code(modify().ssl_policy("ELBSecurityPolicy-None").send().await), "SSLPolicyNotFound");
    modify().ssl_policy("ELBSecurityPolicy-TLS13-1-3-2021-06").send().await.unwrap();
    assert_eq!(describe().await.ssl_policy(), Some("ELBSecurityPolicy-TLS13-1-3-2021-06"));
    modify().protocol(ProtocolEnum::Http).send().await.unwrap();
    assert!(describe().await.certificates().is_empty() && describe().await.ssl_policy().is_none());
    assert_eq!(code(modify().protocol(ProtocolEnum::Https).send().await), "ValidationError");
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_security_policy_decides_the_version_of_tls() {
    let scene = HttpsScene::start().await;
    let arn = scene.issued(&[DOMAIN], KeyAlgorithm::EcPrime256v1).await;
    let balancer = scene.balancer().await;
    let listener = scene.secure(&balancer, &arn, None).await;
    let port = scene.port(443).await;
    let roots = scene.authority().await;
    let ask = async |version: &'static SupportedProtocolVersion| {
        let client = Client { roots: roots.clone(), versions: vec![version] };
        client.get(DOMAIN, port, "/").await.map(|answer| status(&answer)).ok()
    };
    assert_eq!((ask(&version::TLS12).await, ask(&version::TLS13).await), (Some(200), None));
    let modify = scene.balancing.modify_listener().listener_arn(&listener);
    modify.ssl_policy("ELBSecurityPolicy-TLS13-1-3-2021-06").send().await.unwrap();
    assert_eq!((ask(&version::TLS12).await, ask(&version::TLS13).await), (None, Some(200)));
    scene.aws.stop().await;
}
