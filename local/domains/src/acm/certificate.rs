//! A certificate, in storage and in answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Context, times};
use crate::authority::{Algorithm, IssuedCertificate};
use crate::clock::after;
use kit::ACCOUNT;

/// A requested certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Certificate {
    /// The domain names in lower case; the first is the subject.
    pub names: Vec<String>,
    pub algorithm: Algorithm,
    pub created_ms: i64,
    pub token: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// `ENABLED` or `DISABLED`.
    pub transparency: String,
    pub validations: Vec<Validation>,
    /// Why it will never be issued.
    pub failure: Option<String>,
    pub timed_out: bool,
    pub issued: Option<IssuedAt>,
    /// The load balancers that use it, with the last time they were seen to.
    #[serde(default)]
    pub users: BTreeMap<String, i64>,
}

/// The validation of one domain name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Validation {
    pub domain: String,
    /// Since when DNS has answered with its record.
    pub seen_ms: Option<i64>,
    pub is_done: bool,
}

/// A certificate with its times.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuedAt {
    pub at_ms: i64,
    pub from_ms: i64,
    pub until_ms: i64,
    pub pem: IssuedCertificate,
}

/// The status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    PendingValidation,
    Issued,
    Expired,
    Failed,
    ValidationTimedOut,
}

impl CertificateStatus {
    /// Returns its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            CertificateStatus::PendingValidation => "PENDING_VALIDATION",
            CertificateStatus::Issued => "ISSUED",
            CertificateStatus::Expired => "EXPIRED",
            CertificateStatus::Failed => "FAILED",
            CertificateStatus::ValidationTimedOut => "VALIDATION_TIMED_OUT",
        }
    }
}

/// The record that proves control of a domain: its name and its value (docs/aws.md §22.2).
///
/// The account and the domain determine both, so that a name and its wildcard, and every certificate for them, share
/// it.
pub fn record(domain: &str) -> (String, String) {
    let base = domain.strip_prefix("*.").unwrap_or(domain);
    let digest = |what: &str| hex::encode(Sha256::digest(format!("{ACCOUNT} {base} {what}")));
    let letters: String = digest("zone").bytes().take(10).map(|byte| char::from(b'a' + byte % 26)).collect();
    (
        format!("_{}.{base}.", &digest("name")[..32]),
        format!("_{}.{letters}.acm-validations.aws.", &digest("value")[..32]),
    )
}

impl Certificate {
    pub fn status(&self, now_ms: i64) -> CertificateStatus {
        match () {
            () if self.failure.is_some() => CertificateStatus::Failed,
            () if self.timed_out => CertificateStatus::ValidationTimedOut,
            () => match &self.issued {
                None => CertificateStatus::PendingValidation,
                Some(issued) if issued.until_ms <= now_ms => CertificateStatus::Expired,
                Some(_) => CertificateStatus::Issued,
            },
        }
    }

    /// Returns the names of its algorithm in requests and in answers.
    pub fn algorithm_names(&self) -> (&'static str, &'static str) {
        let known = Algorithm::NAMES.iter().find(|(.., known)| *known == self.algorithm);
        known.map_or(("", ""), |(asked, shown, _)| (asked, shown))
    }

    /// Returns whether a time in seconds has passed since it was requested.
    pub fn is_older(&self, context: &Context, seconds: u64) -> bool {
        after(self.created_ms, context.speed.takes(seconds)) <= context.now_ms
    }

    fn eligibility(&self, now_ms: i64) -> &'static str {
        match self.status(now_ms) == CertificateStatus::Issued && !self.users.is_empty() {
            true => "ELIGIBLE",
            false => "INELIGIBLE",
        }
    }

    pub fn described(&self, arn: &str, context: &Context) -> Value {
        let status = self.status(context.now_ms);
        let (key_algorithm, signature) = (self.algorithm_names().1, "SHA256WITHECDSA");
        let mut shown = json!({
            "CertificateArn": arn,
            "DomainName": self.names[0],
            "SubjectAlternativeNames": self.names,
            "Subject": format!("CN={}", self.names[0]),
            "Issuer": "Amazon",
            "CreatedAt": seconds(self.created_ms),
            "Status": status.name(),
            "KeyAlgorithm": key_algorithm,
            "SignatureAlgorithm": signature,
            "InUseBy": self.users.keys().collect::<Vec<_>>(),
            "Type": "AMAZON_ISSUED",
            "KeyUsages": [],
            "ExtendedKeyUsages": [],
            "RenewalEligibility": self.eligibility(context.now_ms),
            "Options": { "CertificateTransparencyLoggingPreference": self.transparency, "Export": "DISABLED" },
            "CertificateKeyPairOrigin": "AWS_MANAGED",
        });
        if let Some(reason) = &self.failure {
            shown["FailureReason"] = json!(reason);
        }
        if self.is_older(context, times::DOMAINS_S) {
            let has_records = self.is_older(context, times::RECORDS_S);
            let of = |validation: &Validation| self.shown_validation(validation, has_records, status);
            shown["DomainValidationOptions"] = self.validations.iter().map(of).collect();
        }
        if let Some(issued) = &self.issued {
            shown["Serial"] = json!(issued.pem.serial);
            shown["IssuedAt"] = seconds(issued.at_ms);
            shown["NotBefore"] = seconds(issued.from_ms);
            shown["NotAfter"] = seconds(issued.until_ms);
            shown["KeyUsages"] = json!([{ "Name": "DIGITAL_SIGNATURE" }, { "Name": "KEY_ENCIPHERMENT" }]);
            shown["ExtendedKeyUsages"] =
                json!([{ "Name": "TLS_WEB_SERVER_AUTHENTICATION", "OID": "1.3.6.1.5.5.7.3.1" }]);
        }
        shown
    }

    fn shown_validation(&self, validation: &Validation, has_records: bool, status: CertificateStatus) -> Value {
        let domain = &validation.domain;
        let state = match () {
            () if validation.is_done => "SUCCESS",
            () if matches!(status, CertificateStatus::Failed | CertificateStatus::ValidationTimedOut) => "FAILED",
            () => "PENDING_VALIDATION",
        };
        let mut shown = json!({
            "DomainName": domain,
            "ValidationDomain": domain,
            "ValidationStatus": state,
            "ValidationMethod": "DNS",
        });
        if has_records {
            let (name, value) = record(domain);
            shown["ResourceRecord"] = json!({ "Name": name, "Type": "CNAME", "Value": value });
        }
        shown
    }

    pub fn summary(&self, arn: &str, context: &Context) -> Value {
        let mut shown = json!({
            "CertificateArn": arn,
            "DomainName": self.names[0],
            "SubjectAlternativeNameSummaries": self.names,
            "HasAdditionalSubjectAlternativeNames": false,
            "Status": self.status(context.now_ms).name(),
            "Type": "AMAZON_ISSUED",
            "KeyAlgorithm": self.algorithm_names().1,
            "KeyUsages": if self.issued.is_some() { json!(["DIGITAL_SIGNATURE", "KEY_ENCIPHERMENT"]) } else { json!([]) },
            "ExtendedKeyUsages": if self.issued.is_some() { json!(["TLS_WEB_SERVER_AUTHENTICATION"]) } else { json!([]) },
            "ExportOption": "DISABLED",
            "InUse": !self.users.is_empty(),
            "RenewalEligibility": self.eligibility(context.now_ms),
            "CreatedAt": seconds(self.created_ms),
        });
        if let Some(issued) = &self.issued {
            shown["IssuedAt"] = seconds(issued.at_ms);
            shown["NotBefore"] = seconds(issued.from_ms);
            shown["NotAfter"] = seconds(issued.until_ms);
        }
        shown
    }
}

/// A time as JSON documents show it.
fn seconds(at_ms: i64) -> Value {
    json!(at_ms as f64 / 1000.0)
}
