//! Certificates of AWS Certificate Manager, validated by DNS.
//!
//! A certificate has no name of its own, and an account may have several for one domain: ours is found by its domain and
//! the stack's tag. One that ACM could not issue is replaced by another request.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use aws_sdk_acm::types::{
    CertificateDetail, CertificateStatus as Status, CertificateSummary, Filters, KeyAlgorithm, Tag, ValidationMethod,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{tags::bounded, validation_record};
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
};

/// A certificate, identified by its domain and its stack.
#[derive(Debug)]
pub struct Certificate {
    /// The domain name.
    pub domain: String,
    /// The stack that it belongs to.
    pub stack: String,
    /// How often this run has requested one.
    requests: AtomicU32,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Why ACM did not issue it. Never wanted, so always a difference: it is requested again.
    pub failure: Option<String>,
    /// The ARNs of other certificates of ours for this domain that nothing uses. Never wanted.
    pub superfluous: BTreeSet<String>,
}

/// What AWS assigns.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// Whether it can be used.
    pub is_issued: bool,
    /// Whether ACM has refused to issue it, so that it is to be replaced.
    pub is_failed: bool,
    /// The record by which ACM validates the domain.
    pub record: Option<Record>,
    /// Whether the account has a certificate of another owner for this domain: ACM validates both by the same record
    /// (docs/aws.md §9.7).
    pub shares_record: bool,
}

/// A CNAME record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The code of our fault for a certificate that ACM did not issue.
pub const NOT_ISSUED: &str = "CertificateNotIssued";

/// Every type of key: without a filter, ACM lists RSA keys of up to 2048 bits only (docs/aws.md §9.7).
const KEYS: &[KeyAlgorithm] = &[
    KeyAlgorithm::Rsa1024,
    KeyAlgorithm::Rsa2048,
    KeyAlgorithm::Rsa3072,
    KeyAlgorithm::Rsa4096,
    KeyAlgorithm::EcPrime256v1,
    KeyAlgorithm::EcSecp384r1,
    KeyAlgorithm::EcSecp521r1,
];

/// After this long, a certificate that was requested is listed.
const LISTED_WITHIN: Duration = Duration::from_secs(60);
/// The rank of a certificate that was not issued.
const FAILED: u8 = 2;
/// The longest idempotency token.
const LONGEST_TOKEN: usize = 32;

impl Settings {
    /// Issued, or to be issued.
    pub fn wanted() -> Settings {
        Settings { failure: None, superfluous: BTreeSet::new() }
    }
}

impl Certificate {
    /// The certificate of a stack for a domain.
    pub fn of(stack: &str, domain: &str) -> Certificate {
        Certificate { domain: domain.into(), stack: stack.into(), requests: AtomicU32::new(0) }
    }
}

impl Resource for Certificate {
    const KIND: &'static str = "certificate";
    /// A load balancer's use of it outlives its listener by some minutes.
    const LIMIT: Duration = Duration::from_secs(20 * 60);

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.domain
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Found { mut ours, others } = self.find(aws).await?;
        if ours.is_empty() {
            return Ok(Observed::Absent);
        }
        let Owned { detail, tags } = ours.remove(0);
        let (record, failure) = (record_of(&detail), failure_of(&detail));
        // ACM determines the record some seconds after the request (docs/aws.md §9.7).
        if record.is_none() && failure.is_none() && !is_issued(&detail) {
            return Ok(Observed::Settling("waiting for its validation record".into()));
        }
        let superfluous = ours.into_iter().filter(|it| it.detail.in_use_by().is_empty());
        Ok(Observed::Present(Live {
            settings: Settings {
                failure: failure.clone(),
                superfluous: superfluous.filter_map(|it| it.detail.certificate_arn).collect(),
            },
            output: Output {
                is_issued: is_issued(&detail),
                is_failed: failure.is_some(),
                arn: detail.certificate_arn.unwrap_or_default(),
                record,
                shares_record: !others.is_empty(),
            },
            owner: Owner::Tags(tags),
        }))
    }

    async fn create(&self, aws: &Aws, _: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        // One that has lost our tag is among the others: the token of its request would return it again.
        let others = self.find(aws).await?.others;
        self.request(aws, &others.join("\n"), tags).await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, _: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Live { settings, output, owner } = live;
        for arn in &settings.superfluous {
            gone(aws.acm.delete_certificate().certificate_arn(arn).send().await)?;
        }
        if let Some(failure) = &settings.failure {
            // One request for each run: a domain that ACM refuses would use up the quota.
            if self.requests.load(Ordering::Relaxed) > 0 {
                return Err(Fault::new("DescribeCertificate", NOT_ISSUED, failure).within(LISTED_WITHIN));
            }
            let Owner::Tags(tags) = owner else { return Ok(()) };
            let kept = tags.iter().filter(|(key, _)| !key.starts_with("aws:"));
            let tags = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
            return self.request(aws, &output.arn, &tags).await;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let call = aws.acm.add_tags_to_certificate().certificate_arn(&live.output.arn);
        call.set_tags(Some(to_acm(tags)?)).send().await?;
        Ok(())
    }

    /// Deletes its validation record first: only the certificate shows that the record is ours.
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        if let Some(record) = live.output.record.as_ref().filter(|_| !live.output.shares_record) {
            validation_record::remove(aws, &self.domain, record).await?;
        }
        for arn in live.settings.superfluous.iter().chain([&live.output.arn]) {
            gone(aws.acm.delete_certificate().certificate_arn(arn).send().await)?;
        }
        Ok(())
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let read = |one: CertificateSummary| async move {
            let (name, created_s) = (one.domain_name.unwrap_or_default(), one.created_at.map(|at| at.secs()));
            let tags = tags_of(aws, &one.certificate_arn.unwrap_or_default()).await.transpose()?;
            Some(tags.map(|tags| Tagged::new(name, tags, created_s)))
        };
        let reads = list(aws).await?.into_iter().map(read).collect();
        Ok(bounded(reads).await.into_iter().flatten().collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let all = list(aws).await?.into_iter();
        let all = all.filter(|one| one.domain_name().is_some_and(|domain| !but.contains(domain)));
        let read = |one: CertificateSummary| async move {
            let tags = tags_of(aws, &one.certificate_arn.unwrap_or_default()).await?.unwrap_or_default();
            let is_ours = tags.get(STACK_TAG).is_some_and(|owner| owner == stack);
            Ok(one.domain_name.filter(|_| is_ours))
        };
        let domains: Result<Vec<Option<String>>, Fault> = bounded(all.map(read).collect()).await.into_iter().collect();
        let domains: BTreeSet<String> = domains?.into_iter().flatten().collect();
        Ok(domains.iter().map(|domain| Certificate::of(stack, domain)).collect())
    }
}

/// A certificate of ours.
struct Owned {
    detail: CertificateDetail,
    tags: Tags,
}

/// The certificates of a domain.
struct Found {
    /// Ours, the most useful one first.
    ours: Vec<Owned>,
    /// The ARNs of the others, sorted.
    others: Vec<String>,
}

/// How far the issue of a certificate has got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Progress {
    /// It is not requested.
    #[default]
    Absent,
    /// The domain is not validated yet.
    Pending(Option<Record>),
    /// It can be used.
    Issued,
    /// ACM did not issue it, for this reason.
    Failed(String),
}

impl Certificate {
    /// Reads how far its issue has got.
    pub async fn progress(&self, aws: &Aws) -> Result<Progress, Fault> {
        let Found { ours, .. } = self.find(aws).await?;
        Ok(ours.first().map_or(Progress::Absent, |it| progress_of(&it.detail)))
    }

    async fn find(&self, aws: &Aws) -> Result<Found, Fault> {
        let mut found = Found { ours: Vec::new(), others: Vec::new() };
        for one in list(aws).await?.into_iter().filter(|one| one.domain_name() == Some(&self.domain)) {
            let arn = one.certificate_arn.unwrap_or_default();
            let Some(tags) = tags_of(aws, &arn).await? else { continue };
            if tags.get(STACK_TAG) != Some(&self.stack) {
                found.others.push(arn);
                continue;
            }
            let detail = described(aws, &arn).await?;
            found.ours.extend(detail.map(|detail| Owned { detail, tags }));
        }
        found.ours.sort_by_key(|it| usefulness(&it.detail));
        found.others.sort();
        Ok(found)
    }

    /// Requests one beside these. The token makes a repeated request return the same certificate for an hour; another one
    /// is chosen for a replacement, and if the certificate of a request did not appear (docs/aws.md §9.7).
    async fn request(&self, aws: &Aws, beside: &str, tags: &Tags) -> Result<(), Fault> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        aws.acm
            .request_certificate()
            .domain_name(&self.domain)
            .validation_method(ValidationMethod::Dns)
            .idempotency_token(token(&self.stack, &self.domain, beside, number))
            .set_tags(Some(to_acm(tags)?))
            .send()
            .await?;
        Ok(())
    }
}

fn token(stack: &str, domain: &str, beside: &str, number: u32) -> String {
    let digest = Sha256::digest(format!("{stack}\n{domain}\n{beside}\n{number}"));
    hex::encode(digest)[..LONGEST_TOKEN].to_owned()
}

/// The order in which certificates of a domain are preferred: issued ones, the one in use, the oldest. Of those that were
/// not issued, the newest: the token of a replacement depends on it, and must not be that of an earlier replacement.
fn usefulness(detail: &CertificateDetail) -> (u8, bool, Option<i64>, Option<String>) {
    let rank = match detail.status() {
        Some(Status::Issued) => 0,
        Some(Status::PendingValidation) => 1,
        _ => FAILED,
    };
    let is_idle = detail.in_use_by().is_empty();
    let created_ms = detail.created_at().and_then(|at| at.to_millis().ok());
    let age = if rank < FAILED { created_ms } else { created_ms.map(std::ops::Neg::neg) };
    (rank, is_idle, age, detail.certificate_arn.clone())
}

/// Reads how far the issue of the certificate of this ARN has got.
pub async fn progress(aws: &Aws, arn: &str) -> Result<Progress, Fault> {
    Ok(described(aws, arn).await?.map_or(Progress::Absent, |detail| progress_of(&detail)))
}

fn progress_of(detail: &CertificateDetail) -> Progress {
    match failure_of(detail) {
        Some(failure) => Progress::Failed(failure),
        None if is_issued(detail) => Progress::Issued,
        None => Progress::Pending(record_of(detail)),
    }
}

fn is_issued(detail: &CertificateDetail) -> bool {
    detail.status() == Some(&Status::Issued)
}

fn record_of(detail: &CertificateDetail) -> Option<Record> {
    let record = detail.domain_validation_options().iter().find_map(|option| option.resource_record())?;
    Some(Record { name: record.name.trim_end_matches('.').into(), value: record.value.trim_end_matches('.').into() })
}

/// Why a certificate cannot be used and will not become usable, with the remedy.
fn failure_of(detail: &CertificateDetail) -> Option<String> {
    let status = detail.status()?;
    let reason = detail.failure_reason().map_or("", |reason| reason.as_str());
    let remedy = match (status, reason) {
        (Status::Issued | Status::PendingValidation, _) => return None,
        (Status::ValidationTimedOut, _) => "ACM did not find the validation record within 72 hours",
        (_, "CAA_ERROR") => "a CAA record of the domain excludes Amazon: add `0 issue \"amazon.com\"` beside it",
        (_, "ADDITIONAL_VERIFICATION_REQUIRED") => "AWS Support has to verify the domain first",
        (_, "INVALID_PUBLIC_DOMAIN") => "the domain has no public top-level domain",
        (_, "DOMAIN_NOT_ALLOWED") => "the domain is on a list of unsafe domains: see the help of ACM",
        _ => "ACM does not say more",
    };
    let code = if reason.is_empty() { status.as_str() } else { reason };
    Some(format!("{code}: {remedy}"))
}

async fn list(aws: &Aws) -> Result<Vec<CertificateSummary>, Fault> {
    let keys = Filters::builder().set_key_types(Some(KEYS.to_vec())).build();
    items(aws.acm.list_certificates().includes(keys).into_paginator().send()).await
}

/// The tags of a certificate; `None` if it is gone.
async fn tags_of(aws: &Aws, arn: &str) -> Result<Option<Tags>, Fault> {
    let answer = found(aws.acm.list_tags_for_certificate().certificate_arn(arn).send().await)?;
    let pair = |tag: Tag| (tag.key, tag.value.unwrap_or_default());
    Ok(answer.map(|answer| answer.tags.unwrap_or_default().into_iter().map(pair).collect()))
}

async fn described(aws: &Aws, arn: &str) -> Result<Option<CertificateDetail>, Fault> {
    let answer = found(aws.acm.describe_certificate().certificate_arn(arn).send().await)?;
    Ok(answer.and_then(|answer| answer.certificate))
}

fn to_acm(tags: &Tags) -> Result<Vec<Tag>, Fault> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let tags: Result<_, _> = tags.iter().map(tag).collect();
    tags.map_err(|error| Fault::new("RequestCertificate", "IncompleteTag", error.to_string()))
}

#[cfg(test)]
mod tests {
    use aws_sdk_acm::types::FailureReason;
    use aws_smithy_types::DateTime;

    use super::*;

    fn detail(arn: &str, status: Status, created_s: i64) -> CertificateDetail {
        CertificateDetail::builder()
            .certificate_arn(arn)
            .status(status)
            .created_at(DateTime::from_secs(created_s))
            .build()
    }

    #[test]
    fn the_most_useful_certificate_is_ours() {
        let mut in_use = detail("used", Status::Issued, 9);
        in_use.in_use_by = Some(vec!["lb".into()]);
        let mut all = [
            detail("failed", Status::Failed, 1),
            detail("timed out later", Status::ValidationTimedOut, 5),
            detail("pending", Status::PendingValidation, 2),
            detail("younger", Status::Issued, 4),
            detail("older", Status::Issued, 3),
            in_use,
        ];
        all.sort_by_key(usefulness);
        let order: Vec<&str> = all.iter().filter_map(|it| it.certificate_arn()).collect();
        assert_eq!(order, ["used", "older", "younger", "pending", "timed out later", "failed"]);
    }

    #[test]
    fn a_certificate_that_was_not_issued_has_a_reason_and_a_remedy() {
        let failed = |reason| {
            let mut failed = detail("a", Status::Failed, 1);
            failed.failure_reason = Some(reason);
            failed
        };
        for (detail, begins) in [
            (failed(FailureReason::CaaError), "CAA_ERROR: a CAA record"),
            (failed(FailureReason::Other), "OTHER: ACM does not say more"),
            (detail("a", Status::ValidationTimedOut, 1), "VALIDATION_TIMED_OUT: ACM did not find"),
            (detail("a", Status::Expired, 1), "EXPIRED: "),
        ] {
            let Progress::Failed(failure) = progress_of(&detail) else { panic!("{detail:?}") };
            assert!(failure.starts_with(begins), "{failure}");
        }
        assert_eq!(progress_of(&detail("a", Status::Issued, 1)), Progress::Issued);
        assert_eq!(progress_of(&detail("a", Status::PendingValidation, 1)), Progress::Pending(None));
    }

    #[test]
    fn a_replacement_is_requested_with_another_token() {
        let tokens = [token("app", "a.org", "", 0), token("app", "a.org", "", 1), token("app", "a.org", "arn:1", 0)];
        let different: BTreeSet<&String> = tokens.iter().collect();
        assert_eq!(different.len(), 3);
        assert_eq!(token("app", "a.org", "", 0), tokens[0]);
        assert!(tokens.iter().all(|token| token.len() == LONGEST_TOKEN));
    }
}
