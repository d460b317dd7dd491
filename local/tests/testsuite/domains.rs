//! Route 53, its DNS and Certificate Manager, as their clients see them.

use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_acm::types::{
    CertificateDetail, CertificateStatus, FailureReason, ResourceRecord as Proof, ValidationMethod,
};
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ChangeInfo, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use serde_json::json;
use testkit::clients::{code, config_of, without_retries};
use testkit::programs::tool;
use testkit::{LocalAws, eventually, until};

use crate::support::script;

const DOMAIN: &str = "shop.example.com";

struct DomainScene {
    aws: LocalAws,
    route53: aws_sdk_route53::Client,
    acm: aws_sdk_acm::Client,
}

impl DomainScene {
    async fn of(aws: LocalAws) -> DomainScene {
        let config = without_retries(&aws.config);
        DomainScene { route53: aws_sdk_route53::Client::new(&config), acm: aws_sdk_acm::Client::new(&config), aws }
    }

    async fn start() -> DomainScene {
        DomainScene::of(LocalAws::start().await).await
    }

    async fn zone(&self, name: &str) -> (String, Vec<String>) {
        let create = self.route53.create_hosted_zone().name(name).caller_reference(name);
        let made = create.send().await.unwrap();
        let id = made.hosted_zone.unwrap().id.trim_start_matches("/hostedzone/").to_owned();
        (id, made.delegation_set.unwrap().name_servers)
    }

    async fn change(&self, zone: &str, changes: Vec<Change>) -> Result<ChangeInfo, String> {
        let batch = ChangeBatch::builder().set_changes(Some(changes)).build().unwrap();
        let sent = self.route53.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch).send().await;
        match sent {
            Ok(done) => Ok(done.change_info.unwrap()),
            refused => Err(code(refused)),
        }
    }

    /// Changes records, and waits until DNS answers with them.
    async fn put(&self, zone: &str, changes: Vec<Change>) {
        let changed =
            eventually("the zone to accept changes", async || match self.change(zone, changes.clone()).await {
                Err(code) if code == "PriorRequestNotComplete" => None,
                other => Some(other),
            });
        let info = changed.await.unwrap();
        until("the change", async || {
            let change = self.route53.get_change().id(&info.id).send().await.unwrap();
            change.change_info.unwrap().status == ChangeStatus::Insync
        })
        .await;
    }

    async fn request(&self, names: &[&str]) -> String {
        let request = self.acm.request_certificate().domain_name(names[0]).validation_method(ValidationMethod::Dns);
        let others = (names.len() > 1).then(|| names[1..].iter().map(|name| (*name).to_owned()).collect());
        request.set_subject_alternative_names(others).send().await.unwrap().certificate_arn.unwrap()
    }

    async fn describe(&self, arn: &str) -> CertificateDetail {
        self.acm.describe_certificate().certificate_arn(arn).send().await.unwrap().certificate.unwrap()
    }

    async fn proofs(&self, arn: &str) -> Vec<Proof> {
        eventually("the records", async || {
            let options = self.describe(arn).await.domain_validation_options?;
            options.into_iter().map(|option| option.resource_record).collect::<Option<Vec<Proof>>>()
        })
        .await
    }

    /// Puts the records that prove control of a certificate's domains into a zone.
    async fn prove(&self, arn: &str, zone: &str) {
        for proof in self.proofs(arn).await {
            self.put(zone, vec![change(ChangeAction::Upsert, &proof.name, RrType::Cname, &proof.value)]).await;
        }
    }

    async fn becomes(&self, arn: &str, status: CertificateStatus) -> CertificateDetail {
        eventually(&format!("{status:?}"), async || {
            let certificate = self.describe(arn).await;
            (certificate.status.as_ref() == Some(&status)).then_some(certificate)
        })
        .await
    }

    async fn put_page(&self, page: &str, body: serde_json::Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let address = format!("{}/_local/{page}", self.aws.endpoint());
        assert!(client.put(address).body(body.to_string()).send().await.unwrap().status().is_success());
    }
}

fn change(action: ChangeAction, name: &str, kind: RrType, value: &str) -> Change {
    let record = ResourceRecord::builder().value(value).build().unwrap();
    let set = ResourceRecordSet::builder().name(name).r#type(kind).ttl(60).resource_records(record).build().unwrap();
    Change::builder().action(action).resource_record_set(set).build().unwrap()
}

fn alias(name: &str, kind: RrType, zone: &str, target: &str) -> Change {
    let target = AliasTarget::builder().hosted_zone_id(zone).dns_name(target).evaluate_target_health(false).build();
    let set = ResourceRecordSet::builder().name(name).r#type(kind).alias_target(target.unwrap()).build().unwrap();
    Change::builder().action(ChangeAction::Upsert).resource_record_set(set).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_makes_a_zone_and_a_certificate_and_removes_them() {
    let scene = DomainScene::start().await;
    let dns = scene.aws.control().get("health").await["dns"].as_str().unwrap().to_owned();
    let arguments = [scene.aws.endpoint(), dns];
    script::run(tool("bin/python"), "domains.py", &arguments.each_ref().map(|it| it.as_ref())).await;
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_only_while_dns_answers_with_its_records() {
    let scene = DomainScene::start().await;
    let (zone, servers) = scene.zone(DOMAIN).await;
    scene.put_page(&format!("delegations/{DOMAIN}"), json!({ "nameServers": ["ns.elsewhere.example"] })).await;
    let arn = scene.request(&[DOMAIN]).await;
    scene.prove(&arn, &zone).await;
    // Another certificate of a delegated domain takes the whole way meanwhile.
    let (other, _) = scene.zone("example.org").await;
    let second = scene.request(&["example.org"]).await;
    scene.prove(&second, &other).await;
    scene.becomes(&second, CertificateStatus::Issued).await;
    assert_eq!(scene.describe(&arn).await.status, Some(CertificateStatus::PendingValidation));
    // The right name servers, under other names' delegation.
    scene.put_page(&format!("delegations/{DOMAIN}"), json!({ "nameServers": servers })).await;
    let issued = scene.becomes(&arn, CertificateStatus::Issued).await;
    assert!(issued.not_before < issued.not_after && issued.in_use_by.unwrap_or_default().is_empty());
    assert_eq!(scene.aws.control().delete(&format!("delegations/{DOMAIN}")).await, 200);
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_lame_delegation_no_certificate_is_issued_until_it_is_over() {
    let scene = DomainScene::start().await;
    scene.aws.control().set_chaos(&["lame-delegation"]).await;
    let (zone, _) = scene.zone(DOMAIN).await;
    let arn = scene.request(&[DOMAIN]).await;
    scene.prove(&arn, &zone).await;
    for _ in 0..20 {
        assert_eq!(scene.describe(&arn).await.status, Some(CertificateStatus::PendingValidation));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.aws.control().set_chaos(&[]).await;
    scene.becomes(&arn, CertificateStatus::Issued).await;
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caa_records_of_another_authority_and_names_that_are_not_public_fail() {
    let scene = DomainScene::start().await;
    let (zone, _) = scene.zone("example.com").await;
    scene
        .put(&zone, vec![change(ChangeAction::Create, "example.com", RrType::Caa, "0 issue \"letsencrypt.org\"")])
        .await;
    let arn = scene.request(&["www.example.com"]).await;
    scene.prove(&arn, &zone).await;
    let failed = scene.becomes(&arn, CertificateStatus::Failed).await;
    assert_eq!(failed.failure_reason, Some(FailureReason::CaaError));
    let arn = scene.request(&["shop.internal"]).await;
    let failed = scene.becomes(&arn, CertificateStatus::Failed).await;
    assert_eq!(failed.failure_reason, Some(FailureReason::InvalidPublicDomain));
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_below_another_is_reached_through_its_ns_records_only() {
    let scene = DomainScene::start().await;
    let (above, _) = scene.zone("example.com").await;
    let (below, servers) = scene.zone(DOMAIN).await;
    let arn = scene.request(&[DOMAIN]).await;
    scene.prove(&arn, &below).await;
    let (other, _) = scene.zone("example.org").await;
    let second = scene.request(&["example.org"]).await;
    scene.prove(&second, &other).await;
    scene.becomes(&second, CertificateStatus::Issued).await;
    assert_eq!(scene.describe(&arn).await.status, Some(CertificateStatus::PendingValidation));
    let records = servers.iter().map(|server| ResourceRecord::builder().value(format!("{server}.")).build().unwrap());
    let set = ResourceRecordSet::builder().name(DOMAIN).r#type(RrType::Ns).ttl(60);
    let set = set.set_resource_records(Some(records.collect())).build().unwrap();
    let delegation = Change::builder().action(ChangeAction::Create).resource_record_set(set).build().unwrap();
    scene.put(&above, vec![delegation]).await;
    scene.becomes(&arn, CertificateStatus::Issued).await;
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_atomic_and_an_alias_refers_to_a_load_balancer_that_exists() {
    let scene = DomainScene::start().await;
    let (zone, _) = scene.zone(DOMAIN).await;
    let name = format!("www.{DOMAIN}");
    let good = change(ChangeAction::Create, &name, RrType::A, "127.0.0.1");
    let bad = change(ChangeAction::Delete, &format!("no.{DOMAIN}"), RrType::A, "127.0.0.1");
    assert_eq!(scene.change(&zone, vec![good.clone(), bad]).await.unwrap_err(), "InvalidChangeBatch");
    let records = async || {
        let found = scene.route53.list_resource_record_sets().hosted_zone_id(&zone).send().await.unwrap();
        found.resource_record_sets.len()
    };
    assert_eq!(records().await, 2);
    for (id, target) in [("Z35SXDOTRQ7X7K", "web-1.us-east-1.elb.amazonaws.com"), ("ZNONE", "example.com")] {
        let refused = scene.change(&zone, vec![alias(&name, RrType::A, id, target)]).await;
        assert_eq!(refused.unwrap_err(), "InvalidChangeBatch", "{target}");
    }
    scene.put(&zone, vec![good]).await;
    assert_eq!(records().await, 3);
    assert_eq!(scene.change("ZNONE", vec![alias(&name, RrType::A, "Z1", "x")]).await.unwrap_err(), "NoSuchHostedZone");
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_change_only_the_records_that_its_policy_names() {
    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"sts:AssumeRole"}]}"#;
    let scene = DomainScene::start().await;
    let (zone, _) = scene.zone(DOMAIN).await;
    let iam = aws_sdk_iam::Client::new(&scene.aws.config);
    iam.create_role().role_name("dns").assume_role_policy_document(TRUST).send().await.unwrap();
    let name = format!("www.{DOMAIN}");
    let policy = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow",
        "Action": "route53:ChangeResourceRecordSets",
        "Resource": format!("arn:aws:route53:::hostedzone/{zone}"),
        "Condition": { "ForAllValues:StringEquals": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [name],
        } },
    } });
    let put = iam.put_role_policy().role_name("dns").policy_name("records").policy_document(policy.to_string());
    put.send().await.unwrap();
    let sts = aws_sdk_sts::Client::new(&scene.aws.config);
    let role = sts.assume_role().role_arn("arn:aws:iam::000000000000:role/dns").role_session_name("me").send().await;
    let keys = role.unwrap().credentials.unwrap();
    let (key, secret, token) = (keys.access_key_id, keys.secret_access_key, Some(keys.session_token));
    let config = config_of(&scene.aws.endpoint(), &key, &secret, token).await;
    let dns = aws_sdk_route53::Client::new(&without_retries(&config));
    let send = async |names: &[&str]| {
        let changes = names.iter().map(|name| change(ChangeAction::Create, name, RrType::A, "127.0.0.1")).collect();
        let batch = ChangeBatch::builder().set_changes(Some(changes)).build().unwrap();
        dns.change_resource_record_sets().hosted_zone_id(&zone).change_batch(batch).send().await
    };
    let other = format!("other.{DOMAIN}");
    // Every name of a batch counts, in any order.
    for names in [&[name.as_str(), other.as_str()], &[other.as_str(), name.as_str()]] {
        assert_eq!(code(send(names).await), "AccessDenied", "{names:?}");
    }
    send(&[name.to_uppercase().as_str()]).await.unwrap();
    assert_eq!(code(dns.list_hosted_zones().send().await), "AccessDenied");
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_and_certificates_survive_a_restart() {
    let scene = DomainScene::start().await;
    let (zone, servers) = scene.zone(DOMAIN).await;
    let arn = scene.request(&[DOMAIN]).await;
    scene.prove(&arn, &zone).await;
    let issued = scene.becomes(&arn, CertificateStatus::Issued).await;
    let health = scene.aws.control().get("health").await;
    let scene = DomainScene::of(scene.aws.restarted().await).await;
    assert_eq!(scene.describe(&arn).await, issued);
    let found = scene.route53.get_hosted_zone().id(&zone).send().await.unwrap();
    assert_eq!(found.delegation_set.unwrap().name_servers, servers);
    let after = scene.aws.control().get("health").await;
    assert_eq!(after["certificate_authority"], health["certificate_authority"]);
    scene.aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn route_53_is_one_for_all_regions_and_throttles_five_calls_a_second() {
    let scene = DomainScene::start().await;
    let elsewhere: SdkConfig =
        without_retries(&scene.aws.config).into_builder().region(Region::new("eu-west-1")).build();
    let signed_elsewhere = aws_sdk_route53::config::Builder::from(&elsewhere);
    let client = aws_sdk_route53::Client::from_conf(signed_elsewhere.build());
    let (zone, _) = scene.zone(DOMAIN).await;
    client.get_hosted_zone().id(&zone).send().await.unwrap();
    scene.aws.control().set_chaos(&["rates"]).await;
    let calls = (0..10).map(|_| scene.route53.list_hosted_zones().send());
    let answers = futures::future::join_all(calls).await;
    let refused: Vec<String> = answers.into_iter().filter(|answer| answer.is_err()).map(code).collect();
    assert!(!refused.is_empty() && refused.iter().all(|code| code == "Throttling"), "{refused:?}");
    scene.aws.stop().await;
}
