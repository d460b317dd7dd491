//! Services at a domain of their own: certificates, DNS records, and the redirect from plain HTTP.

use std::net::SocketAddr;

use aws_sdk_acm::types::{CertificateStatus, ValidationMethod};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum};
use aws_sdk_route53::types::{ChangeAction, ResourceRecordSet, RrType};
use reqwest::{Client, StatusCode, redirect::Policy};
use serde_json::json;
use testkit::{eventually, programs::tool};

use crate::support::{
    Project, RunOutput,
    cloud::TestAws,
    domain::{self, DOMAIN, ZONE, assert_https},
};

/// Connects to a port of this machine as a client of a domain, and trusts one authority.
const OVER_TLS: &str = "
import socket, ssl, sys
authority, domain, port = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
with context.wrap_socket(socket.create_connection(('127.0.0.1', int(port)), 30), server_hostname=domain) as stream:
    stream.sendall(f'GET /health HTTP/1.1\\r\\nHost: {domain}\\r\\nConnection: close\\r\\n\\r\\n'.encode())
    while data := stream.recv(65536):
        print(data.decode(), end='')
";

/// A local AWS with a service that wants to be served at a domain.
struct DomainScene {
    cloud: TestAws,
    project: Project,
}

impl DomainScene {
    async fn start() -> DomainScene {
        DomainScene { cloud: TestAws::start().await, project: Project::of_service(&format!("    domain: {DOMAIN}\n")) }
    }

    /// The same, with the hosted zone of the domain and its id.
    async fn with_zone() -> (DomainScene, String) {
        let scene = DomainScene::start().await;
        let zone = scene.zone().await;
        (scene, zone)
    }

    /// Removes the stack, and ends the local AWS.
    async fn close(self) {
        self.cloud.done(&self.project, &["down", "--yes"]).await;
        self.cloud.end().await;
    }

    /// Creates the hosted zone, with a record of others in it, and returns its id.
    async fn zone(&self) -> String {
        domain::make_zone(&self.cloud.aws).await
    }

    async fn change(&self, zone: &str, action: ChangeAction, set: ResourceRecordSet) {
        domain::change(&self.cloud.aws, zone, action, set).await;
    }

    /// The record sets of a zone, as text.
    async fn records(&self, zone: &str) -> Vec<String> {
        domain::sets(&self.cloud.aws, zone).await.iter().map(|set| format!("{set:?}")).collect()
    }

    async fn set(&self, zone: &str, name: &str, kind: RrType) -> Option<ResourceRecordSet> {
        domain::set_of(&self.cloud.aws, zone, name, kind).await
    }

    async fn certificates(&self) -> usize {
        let listed = self.cloud.aws.acm.list_certificates().send().await.expect("certificates");
        listed.certificate_summary_list().len()
    }

    /// Obtains a certificate for the domain as its owner would by hand, and returns its ARN.
    async fn certificate_by_hand(&self, zone: &str) -> String {
        let acm = &self.cloud.aws.acm;
        let request = acm.request_certificate().domain_name(DOMAIN).validation_method(ValidationMethod::Dns);
        let arn = request.send().await.expect("it can be requested").certificate_arn.expect("it has an ARN");
        let look = async || acm.describe_certificate().certificate_arn(&arn).send().await.ok()?.certificate;
        let record = eventually("the validation record", async || {
            look().await?.domain_validation_options().first()?.resource_record().cloned()
        })
        .await;
        self.change(zone, ChangeAction::Create, domain::set(&record.name, RrType::Cname, &record.value)).await;
        eventually("the certificate", async || {
            look().await.filter(|it| it.status() == Some(&CertificateStatus::Issued)).map(drop)
        })
        .await;
        arn
    }

    /// The address of this machine at which the load balancer listens on a port.
    async fn address(&self, port: u16) -> SocketAddr {
        eventually("the listener", async || {
            let shown = self.cloud.control().get("status").await;
            let listeners = shown["load_balancers"][0]["listeners"].as_array()?.clone();
            let local = listeners.iter().find(|one| one["port"] == port)?["local_port"].as_u64()?;
            Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(local).expect("a port"))))
        })
        .await
    }

    /// A client for which the domain is on this machine.
    fn client(&self) -> Client {
        let client = Client::builder().no_proxy().redirect(Policy::none()).resolve(DOMAIN, ([127, 0, 0, 1], 0).into());
        client.build().expect("a client can be made")
    }

    /// Requests a page over HTTPS from a listener that has to prove that it is the domain, and returns the answer.
    async fn secured(&self, port: u16) -> String {
        let health = self.cloud.control().get("health").await;
        let authority = health["certificate_authority"].as_str().expect("a file").to_owned();
        let mut python = tokio::process::Command::new(tool("bin/python"));
        python.args(["-c", OVER_TLS, &authority, DOMAIN, &port.to_string()]);
        let output = python.output().await.expect("Python can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Asserts that a plan has nothing to do.
    async fn assert_settled(&self) {
        let plan = self.cloud.done(&self.project, &["plan", "--detailed-exitcode"]).await;
        assert!(plan.stderr.contains("nothing to do"), "{}", plan.all());
    }

    /// Asserts that a command has printed an address without HTTPS, and that plain HTTP is not redirected.
    async fn assert_plain(&self, said: &RunOutput) {
        assert!(said.output("URL").starts_with("http://"), "{}", said.all());
        let plain = self.address(80).await;
        let page = self.client().get(format!("http://{DOMAIN}:{}/health", plain.port())).send().await;
        assert_eq!(page.expect("it answers").status(), StatusCode::OK);
    }

    /// Asserts that HTTPS is served and that plain HTTP redirects to it.
    async fn assert_served(&self) {
        let (plain, secured) = (self.address(80).await, self.address(443).await);
        let page = self.secured(secured.port()).await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        let redirect = self.client().get(format!("http://{DOMAIN}:{}/health?a=b", plain.port())).send().await;
        let redirect = redirect.expect("it answers");
        assert_eq!(redirect.status(), StatusCode::MOVED_PERMANENTLY);
        let location = redirect.headers()["location"].to_str().expect("text");
        assert!(location.starts_with("https://") && location.ends_with("/health?a=b"), "{location}");
    }

    async fn put_page(&self, page: &str, body: serde_json::Value) {
        let address = format!("{}/_local/{page}", self.cloud.endpoint());
        let put = Client::new().put(address).body(body.to_string()).send().await.expect("it answers");
        assert!(put.status().is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_in_a_zone_is_served_over_https_and_leaves_nothing() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    let before = scene.records(&zone).await;

    let up = cloud.done(project, &["up", "--yes"]).await;
    assert_https(&up);
    scene.assert_served().await;
    assert_eq!(scene.records(&zone).await.len(), before.len() + 3, "two aliases and the validation record");
    scene.assert_settled().await;
    let status = cloud.done(project, &["status"]).await;
    assert!(status.stdout.contains(&format!("https://{DOMAIN}")), "{}", status.all());
    assert!(!status.stdout.contains("pending"), "{}", status.all());

    // Changes by hand.
    let ipv6 = scene.set(&zone, DOMAIN, RrType::Aaaa).await.expect("an alias for IPv6");
    scene.change(&zone, ChangeAction::Delete, ipv6).await;
    let balancers = cloud.aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let balancer = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN").to_owned();
    let listeners = cloud.aws.elb.describe_listeners().load_balancer_arn(balancer).send().await.expect("listeners");
    let plain = listeners.listeners().iter().find(|it| it.port() == Some(80)).expect("one for plain HTTP");
    let groups = cloud.aws.elb.describe_target_groups().send().await.expect("target groups");
    let group = groups.target_groups()[0].target_group_arn().expect("an ARN");
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
    let modify = cloud.aws.elb.modify_listener().listener_arn(plain.listener_arn().expect("an ARN"));
    modify.default_actions(forward).send().await.expect("it can be modified");
    let secured = listeners.listeners().iter().find(|it| it.port() == Some(443)).expect("one for HTTPS");
    let modify = cloud.aws.elb.modify_listener().listener_arn(secured.listener_arn().expect("an ARN"));
    modify.ssl_policy("ELBSecurityPolicy-2016-08").send().await.expect("it can be modified");
    let listed = cloud.aws.route53.list_resource_record_sets().hosted_zone_id(&zone).send().await.expect("records");
    let proof = listed.resource_record_sets.into_iter().find(|set| set.r#type == RrType::Cname);
    scene.change(&zone, ChangeAction::Delete, proof.expect("the validation record")).await;
    let mended = cloud.done(project, &["up", "--yes"]).await;
    for change in ["~ alias.web", "+ validation_record.web", "~ listener.web-https", "~ default_action.web\n"] {
        assert!(mended.stderr.contains(change), "{change}: {}", mended.all());
    }
    scene.assert_served().await;

    let down = cloud.done(project, &["down", "--yes"]).await;
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    assert_eq!(scene.records(&zone).await, before);
    assert_eq!(scene.certificates().await, 0);
    scene.cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_is_taken_out_is_served_over_http_again() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    let before = scene.records(&zone).await;
    cloud.done(project, &["up", "--yes"]).await;
    project.edit(&format!("    domain: {DOMAIN}\n"), "");
    let up = cloud.done(project, &["up", "--yes"]).await;
    scene.assert_plain(&up).await;
    assert_eq!(scene.records(&zone).await, before);
    assert_eq!(scene.certificates().await, 0);
    scene.assert_settled().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_record_that_others_may_need_stays() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    let acm = &cloud.aws.acm;
    // Its wildcard, and another certificate that has the domain beside its first name.
    let mut needed = Vec::new();
    for (first, second) in [(format!("*.{DOMAIN}"), None), ("example.org".to_owned(), Some(DOMAIN.to_owned()))] {
        let request = acm.request_certificate().domain_name(first).validation_method(ValidationMethod::Dns);
        let request = request.set_subject_alternative_names(second.map(|name| vec![name]));
        needed.push(request.send().await.expect("it can be requested").certificate_arn.expect("an ARN"));
    }
    let proofs = async || {
        let records = scene.records(&zone).await;
        records.into_iter().filter(|set| set.contains(&format!(".{DOMAIN}.")) && set.contains("Cname")).count()
    };
    for arn in needed {
        cloud.done(project, &["up", "--yes"]).await;
        cloud.done(project, &["down", "--yes"]).await;
        assert_eq!(proofs().await, 1, "another certificate needs it");
        acm.delete_certificate().certificate_arn(arn).send().await.expect("it can be deleted");
    }
    // It is there before our certificate now.
    cloud.done(project, &["up", "--yes"]).await;
    cloud.done(project, &["down", "--yes"]).await;
    assert_eq!(proofs().await, 1, "it was there before");
    scene.cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_follows_its_service_to_another_name() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    cloud.done(project, &["up", "--yes"]).await;
    project.edit("  web:\n", "  site:\n");
    project.edit("services.web.url", "services.site.url");
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert_https(&up);
    let balancers = cloud.aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let [balancer] = balancers.load_balancers() else { panic!("{balancers:?}") };
    assert_eq!(balancer.load_balancer_name(), Some("s-site"));
    for kind in [RrType::A, RrType::Aaaa] {
        let alias = scene.set(&zone, DOMAIN, kind).await.and_then(|set| set.alias_target).expect("an alias");
        assert_eq!(Some(alias.dns_name.trim_end_matches('.')), balancer.dns_name());
    }
    scene.assert_served().await;
    scene.assert_settled().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_domain_that_is_not_served_yet_replaces_the_first() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    let before = scene.records(&zone).await;
    cloud.done(project, &["up", "--yes"]).await;
    project.edit(DOMAIN, "app.example.com");
    let up = cloud.done(project, &["up", "--yes"]).await;
    scene.assert_plain(&up).await;
    assert_eq!(scene.records(&zone).await, before);
    assert_eq!(scene.certificates().await, 1, "that of the second domain");
    scene.assert_settled().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ns_records_below_a_zone_are_named() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    let cut = domain::set(DOMAIN, RrType::Ns, "ns.elsewhere.example");
    scene.change(&zone, ChangeAction::Create, cut).await;
    let plan = cloud.done(project, &["plan"]).await;
    let words = format!("NS records in hosted zone {ZONE} lead {DOMAIN} to ns.elsewhere.example");
    assert!(plan.stderr.contains(&words), "{}", plan.all());
    scene.cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alias_follows_a_paused_service() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    cloud.done(project, &["up", "--yes"]).await;
    cloud.done(project, &["pause", "--yes"]).await;
    assert!(scene.set(&zone, DOMAIN, RrType::A).await.is_none(), "nothing leads to a load balancer that is gone");
    assert_eq!(scene.certificates().await, 1, "the certificate is kept");
    cloud.done(project, &["resume", "--yes"]).await;
    assert!(scene.set(&zone, DOMAIN, RrType::A).await.is_some());
    scene.assert_served().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_zone_the_records_are_printed_and_the_next_up_continues() {
    let scene = DomainScene::start().await;
    let DomainScene { cloud, project } = &scene;
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert!(up.output("URL").starts_with("http://"), "{}", up.all());
    for text in ["no public hosted zone", "acm-validations.aws", &format!("    {DOMAIN}  CNAME  ")] {
        assert!(up.stderr.contains(text), "{text}: {}", up.all());
    }
    let status = cloud.run(project, &["status"]).await;
    assert!(status.stdout.contains("HTTPS is pending"), "{}", status.all());
    let why = cloud.run(project, &["why"]).await;
    assert!(why.stdout.contains("acm-validations.aws"), "{}", why.all());
    let outputs = cloud.done(project, &["outputs"]).await;
    assert!(outputs.output("URL").starts_with("http://") && outputs.stderr.contains("pending"), "{}", outputs.all());
    let described = project.description();
    project.edit("outputs:\n  URL: ${services.web.url}\n", "");
    let without = cloud.done(project, &["outputs"]).await;
    for text in [&format!("    {DOMAIN}  CNAME  ")[..], "stack.yaml has no `outputs`"] {
        assert!(without.stderr.contains(text), "{text}: {}", without.all());
    }
    project.describe(&described);

    scene.zone().await;
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert_https(&up);
    assert_eq!(scene.certificates().await, 1, "the same certificate");
    scene.assert_served().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_delegation_is_named_at_once() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    scene.put_page(&format!("delegations/{ZONE}"), json!({ "nameServers": ["ns.elsewhere.example"] })).await;
    let plan = cloud.done(project, &["plan"]).await;
    for text in [&format!("DNS does not lead to hosted zone {ZONE}")[..], "example.org  NS  ns-"] {
        assert!(plan.stderr.contains(text), "{text}: {}", plan.all());
    }
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert!(up.output("URL").starts_with("http://") && up.stderr.contains("is pending"), "{}", up.all());
    assert!(scene.set(&zone, DOMAIN, RrType::A).await.is_some(), "the records are there all the same");

    assert_eq!(cloud.control().delete(&format!("delegations/{ZONE}")).await, 200);
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert_https(&up);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_others_is_neither_changed_nor_deleted() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    scene.change(&zone, ChangeAction::Create, domain::set(DOMAIN, RrType::A, "192.0.2.7")).await;
    let before = scene.records(&zone).await;
    cloud.done(project, &["plan"]).await;
    let up = cloud.run(project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    assert!(up.stderr.contains("its A record leads to 192.0.2.7"), "{}", up.all());
    assert!(scene.set(&zone, DOMAIN, RrType::A).await.is_some_and(|set| set.alias_target.is_none()));
    let again = cloud.run(project, &["up", "--yes"]).await;
    assert_eq!(again.code, 1, "{}", again.all());
    cloud.done(project, &["down", "--yes"]).await;
    assert_eq!(scene.records(&zone).await, before);
    scene.cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_certificate_is_served_and_left_alone() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    let arn = scene.certificate_by_hand(&zone).await;
    let (before, named) = (scene.records(&zone).await, format!("    certificate: {arn}\n"));
    let domain = format!("    domain: {DOMAIN}\n");
    project.edit(&domain, &format!("{domain}{named}"));
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert_https(&up);
    scene.assert_served().await;
    assert_eq!(scene.records(&zone).await.len(), before.len() + 2, "two aliases");
    assert_eq!(scene.certificates().await, 1, "none is requested");
    scene.assert_settled().await;

    // One of our own in its place, and back.
    project.edit(&named, "");
    cloud.done(project, &["up", "--yes"]).await;
    scene.assert_served().await;
    assert_eq!(scene.certificates().await, 2);
    scene.assert_settled().await;
    project.edit(&domain, &format!("{domain}{named}"));
    cloud.done(project, &["up", "--yes"]).await;
    scene.assert_served().await;
    assert_eq!(scene.certificates().await, 1, "ours is deleted");
    assert_eq!(scene.records(&zone).await.len(), before.len() + 2, "the validation record is the other's, too");
    scene.assert_settled().await;

    cloud.done(project, &["down", "--yes"]).await;
    assert_eq!(scene.records(&zone).await, before);
    let tags = cloud.aws.acm.list_tags_for_certificate().certificate_arn(&arn).send().await.expect("it is there");
    assert_eq!(tags.tags(), []);
    scene.cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_a_caa_record_prevents_is_replaced_once_the_record_is_mended() {
    let (scene, zone) = DomainScene::with_zone().await;
    let DomainScene { cloud, project } = &scene;
    let before = scene.records(&zone).await;
    let excluding = domain::set(ZONE, RrType::Caa, "0 issue \"letsencrypt.org\"");
    scene.change(&zone, ChangeAction::Create, excluding.clone()).await;
    let remedy = "CAA_ERROR: a CAA record of the domain excludes Amazon: add `0 issue \"amazon.com\"` beside it";
    // The second one requests another certificate, which ACM does not issue either.
    for _ in 0..2 {
        let up = cloud.run(project, &["up", "--yes"]).await;
        assert_eq!(up.code, 1, "{}", up.all());
        assert!(up.stderr.contains(remedy), "{}", up.all());
        let plan = cloud.done(project, &["plan"]).await;
        let named = format!("web: ACM did not issue the certificate for {DOMAIN}: {remedy}");
        let changes = ["~ certificate.web", "validation_record.web", "listener.web-https"];
        for text in [&*named, "`deployer up` requests another one"].iter().chain(&changes) {
            assert!(plan.stderr.contains(*text), "{text}: {}", plan.all());
        }
        let why = cloud.run(project, &["why"]).await;
        assert!(why.stdout.contains(remedy), "{}", why.all());
    }

    scene.change(&zone, ChangeAction::Delete, excluding).await;
    let both = ["0 issue \"letsencrypt.org\"", "0 issue \"amazon.com\""];
    scene.change(&zone, ChangeAction::Create, domain::set_of_values(ZONE, RrType::Caa, &both)).await;
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert_https(&up);
    assert_eq!(scene.certificates().await, 1, "those that were not issued are deleted");
    scene.assert_served().await;
    scene.assert_settled().await;
    cloud.done(project, &["down", "--yes"]).await;
    assert_eq!(scene.records(&zone).await.len(), before.len() + 1, "the CAA record is not ours");
    assert_eq!(scene.certificates().await, 0);
    scene.cloud.end().await;
}
