//! Certificates of AWS Certificate Manager, validated by DNS.
//!
//! A certificate has no name of its own, and an account may have several for one domain: ours is found by its domain and
//! the stack's tag. One that ACM could not issue is replaced by another request.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_acm::types::{
    CertificateDetail, CertificateStatus as Status, CertificateSummary, Filters, KeyAlgorithm, Tag, ValidationMethod,
};
use parking_lot::Mutex;
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
    /// The ARNs that this run has requested.
    requested: Mutex<Vec<String>>,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The reason why ACM did not issue it. Never wanted, so always a difference: it is requested again.
    pub failure: Option<String>,
    /// The ARNs of our other, unused certificates for this domain. Never wanted.
    pub superfluous: BTreeSet<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// Whether it can be used.
    pub is_issued: bool,
    /// The record by which ACM validates the domain.
    pub record: Option<Record>,
    /// Whether a load balancer uses it, or another certificate of ours for this domain.
    pub is_used: bool,
    /// Whether its validation record stays when it is removed: another certificate needs it, or it was there before
    /// (docs/aws.md §9.7).
    pub keeps_record: bool,
}

/// A CNAME record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The tag of a certificate whose validation record we have created. Without it, the record was there before, perhaps
/// for a certificate that cannot be seen here, such as one of another region.
const RECORD_TAG: (&str, &str) = ("deployer:record", "created");

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
        Certificate { domain: domain.into(), stack: stack.into(), requested: Mutex::default() }
    }
}

impl Resource for Certificate {
    const KIND: &'static str = "certificate";
    /// One that ACM did not issue is replaced, and the replacement has another ARN.
    const UPDATE_MOVES_OUTPUT: bool = true;
    /// A load balancer's use of it outlives its listener by some minutes.
    const LIMIT: Duration = Duration::from_secs(20 * 60);

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.domain
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Found { mut ours, strangers, is_shared } = self.find(aws).await?;
        if ours.is_empty() {
            return Ok(Observed::Absent);
        }
        let is_used = ours.iter().any(|it| !it.detail.in_use_by().is_empty());
        let has_made_record = ours.iter().any(|it| it.tags.get(RECORD_TAG.0).is_some_and(|made| made == RECORD_TAG.1));
        let Owned { detail, tags } = ours.remove(0);
        let (record, failure) = (record_of(&detail), failure_of(&detail));
        // ACM determines the record some seconds after the request (docs/aws.md §9.7).
        if record.is_none() && failure.is_none() && !is_issued(&detail) {
            return Ok(Observed::Settling("waiting for its validation record".into()));
        }
        let superfluous = ours.into_iter().filter(|it| it.detail.in_use_by().is_empty());
        Ok(Observed::Present(Live {
            settings: Settings {
                failure,
                superfluous: superfluous.filter_map(|it| it.detail.certificate_arn).collect(),
            },
            output: Output {
                is_issued: is_issued(&detail),
                arn: detail.certificate_arn.unwrap_or_default(),
                record,
                is_used,
                keeps_record: is_shared || !strangers.is_empty() || !has_made_record,
            },
            owner: Owner::Tags(tags),
        }))
    }

    async fn create(&self, aws: &Aws, _: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        // A certificate that lost our tag is a stranger. Without another token, the request would return it again.
        let strangers = self.find(aws).await?.strangers;
        self.request(aws, &strangers.join("\n"), tags).await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, _: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Live { settings, output, owner } = live;
        for arn in &settings.superfluous {
            gone(aws.acm.delete_certificate().certificate_arn(arn).send().await)?;
        }
        let (Some(failure), Owner::Tags(tags)) = (&settings.failure, owner) else { return Ok(()) };
        // One request for each run: a domain that ACM refuses would use up the quota.
        let (is_requested, is_this) = {
            let requested = self.requested.lock();
            (!requested.is_empty(), requested.contains(&output.arn))
        };
        let fault = || Fault::new("DescribeCertificate", NOT_ISSUED, failure);
        match (is_requested, is_this) {
            (_, true) => return Err(fault()),
            (true, false) => return Err(fault().within(LISTED_WITHIN)),
            (false, false) => (),
        }
        let kept = tags.iter().filter(|(key, _)| !key.starts_with("aws:"));
        let tags = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.request(aws, &output.arn, &tags).await
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        add_tags(aws, &live.output.arn, tags).await
    }

    /// Deletes its validation record first: only the certificate shows that the record is ours. One that is in use keeps
    /// its record, which renewals need, until AWS lets it be deleted.
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        let record = live.output.record.as_ref().filter(|_| !live.output.keeps_record);
        if !live.output.is_used
            && let Some(record) = record
        {
            validation_record::remove(aws, &self.domain, record).await?;
        }
        for arn in live.settings.superfluous.iter().chain([&live.output.arn]) {
            gone(aws.acm.delete_certificate().certificate_arn(arn).send().await)?;
        }
        // Only moto deletes a certificate that is in use.
        match record.filter(|_| live.output.is_used) {
            Some(record) => validation_record::remove(aws, &self.domain, record).await,
            None => Ok(()),
        }
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
    /// The ARNs of others with this domain as their first name, sorted.
    strangers: Vec<String>,
    /// Whether the same record validates a certificate with another first name.
    is_shared: bool,
}

/// The state of a certificate's issuance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Issuance {
    /// It is not requested.
    #[default]
    Absent,
    /// The domain is not validated yet.
    Pending(Option<Record>),
    /// It is issued.
    Issued,
    /// ACM did not issue it, for this reason.
    Failed(String),
}

impl Certificate {
    /// Reads how far its issue has got.
    pub async fn issuance(&self, aws: &Aws) -> Result<Issuance, Fault> {
        let Found { ours, .. } = self.find(aws).await?;
        Ok(ours.first().map_or(Issuance::Absent, |it| issuance_of(&it.detail)))
    }

    async fn find(&self, aws: &Aws) -> Result<Found, Fault> {
        let mut found = Found { ours: Vec::new(), strangers: Vec::new(), is_shared: false };
        for one in list(aws).await? {
            if one.domain_name() != Some(&self.domain) {
                found.is_shared = found.is_shared || self.shares_record_with(aws, &one).await?;
                continue;
            }
            let arn = one.certificate_arn.unwrap_or_default();
            let Some(tags) = tags_of(aws, &arn).await? else { continue };
            if tags.get(STACK_TAG) != Some(&self.stack) {
                found.strangers.push(arn);
                continue;
            }
            let detail = described(aws, &arn).await?;
            found.ours.extend(detail.map(|detail| Owned { detail, tags }));
        }
        found.ours.sort_by_key(|it| usefulness(&it.detail));
        found.strangers.sort();
        Ok(found)
    }

    /// Whether the same record validates this certificate, which has another first name.
    async fn shares_record_with(&self, aws: &Aws, one: &CertificateSummary) -> Result<bool, Fault> {
        let mut names = one.subject_alternative_name_summaries().iter().chain(&one.domain_name);
        if names.any(|name| shares_record(name, &self.domain)) {
            return Ok(true);
        }
        if one.has_additional_subject_alternative_names() != Some(true) {
            return Ok(false);
        }
        let detail = described(aws, one.certificate_arn().unwrap_or_default()).await?;
        let names = detail.map(|detail| detail.subject_alternative_names.unwrap_or_default()).unwrap_or_default();
        Ok(names.iter().any(|name| shares_record(name, &self.domain)))
    }

    /// Requests one beside these. The token makes a repeated request return the same certificate for an hour; another one
    /// is chosen for a replacement, and if the certificate of a request did not appear (docs/aws.md §9.7).
    async fn request(&self, aws: &Aws, beside: &str, tags: &Tags) -> Result<(), Fault> {
        let number = self.requested.lock().len();
        let answer = aws
            .acm
            .request_certificate()
            .domain_name(&self.domain)
            .validation_method(ValidationMethod::Dns)
            .idempotency_token(token(&self.stack, &self.domain, beside, number))
            .set_tags(Some(to_acm("RequestCertificate", tags)?))
            .send()
            .await?;
        self.requested.lock().extend(answer.certificate_arn);
        Ok(())
    }
}

/// Whether ACM validates both names by the same record, as it does a name and its wildcard (docs/aws.md §9.7).
fn shares_record(name: &str, domain: &str) -> bool {
    name.strip_prefix("*.").unwrap_or(name).eq_ignore_ascii_case(domain)
}

/// Notes in a tag that its validation record is ours. Called before the record is created: if we are killed in between,
/// there is no record yet.
pub async fn claim_record(aws: &Aws, arn: &str) -> Result<(), Fault> {
    add_tags(aws, arn, &Tags::from([(RECORD_TAG.0.into(), RECORD_TAG.1.into())])).await
}

async fn add_tags(aws: &Aws, arn: &str, tags: &Tags) -> Result<(), Fault> {
    let call = aws.acm.add_tags_to_certificate().certificate_arn(arn);
    call.set_tags(Some(to_acm("AddTagsToCertificate", tags)?)).send().await?;
    Ok(())
}

fn token(stack: &str, domain: &str, beside: &str, number: usize) -> String {
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
pub async fn issuance(aws: &Aws, arn: &str) -> Result<Issuance, Fault> {
    Ok(described(aws, arn).await?.map_or(Issuance::Absent, |detail| issuance_of(&detail)))
}

fn issuance_of(detail: &CertificateDetail) -> Issuance {
    match failure_of(detail) {
        Some(failure) => Issuance::Failed(failure),
        None if is_issued(detail) => Issuance::Issued,
        None => Issuance::Pending(record_of(detail)),
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

/// Converts tags for this operation.
fn to_acm(operation: &str, tags: &Tags) -> Result<Vec<Tag>, Fault> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let tags: Result<_, _> = tags.iter().map(tag).collect();
    tags.map_err(|error| Fault::new(operation, "IncompleteTag", error.to_string()))
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
            let Issuance::Failed(failure) = issuance_of(&detail) else { panic!("{detail:?}") };
            assert!(failure.starts_with(begins), "{failure}");
        }
        assert_eq!(issuance_of(&detail("a", Status::Issued, 1)), Issuance::Issued);
        assert_eq!(issuance_of(&detail("a", Status::PendingValidation, 1)), Issuance::Pending(None));
    }

    #[test]
    fn a_name_and_its_wildcard_have_the_same_record() {
        for (name, shared) in [
            ("app.example.org", true),
            ("*.app.example.org", true),
            ("*.App.Example.org", true),
            ("*.example.org", false),
            ("www.app.example.org", false),
            ("example.org", false),
        ] {
            assert_eq!(shares_record(name, "app.example.org"), shared, "{name}");
        }
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
