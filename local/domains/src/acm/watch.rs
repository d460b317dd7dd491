//! Validates domains through DNS, and issues and renews certificates (docs/aws.md §22.2, §22.3).

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;

use super::certificate::{Certificate, CertificateStatus, IssuedAt, record};
use super::{Acm, Context, times};
use crate::clock::{after, now_ms};
use crate::dns::DnsStatus;
use crate::name;
use crate::route53::{Route53, records};

/// The interval between lookups in seconds, before scaling by the speed, and its least value.
const INTERVAL_S: u64 = 15;
const SHORTEST: Duration = Duration::from_millis(50);

/// How long a certificate is valid, and how long before its end it is renewed.
const LIFE: time::Duration = time::Duration::days(198);
const RENEWAL: time::Duration = time::Duration::days(45);

/// The names of Amazon's certificate authorities in CAA records.
const AMAZON: &[&str] = &["amazon.com", "amazontrust.com", "awstrust.com", "amazonaws.com"];

impl Acm {
    /// Validates and issues certificates until [`Acm::stop`].
    pub async fn watch(self: Arc<Acm>) {
        let interval = self.speed.takes(INTERVAL_S).max(SHORTEST);
        while self.stop.run_until_cancelled(sleep(interval)).await.is_some() {
            self.note_uses();
            for arn in self.unfinished() {
                let acm = self.clone();
                // Generating a key takes a while.
                let done = tokio::task::spawn_blocking(move || acm.advance(&arn)).await;
                if let Err(fault) = done.map_err(anyhow::Error::from).flatten() {
                    tracing::error!("a certificate could not be issued: {fault:#}");
                }
            }
        }
    }

    /// Returns the certificates that are to be validated or renewed.
    fn unfinished(&self) -> Vec<String> {
        let now_ms = now_ms();
        let context = Context { region: &self.region, speed: self.speed, now_ms };
        let is_unfinished = |certificate: &Certificate| match certificate.status(now_ms) {
            CertificateStatus::PendingValidation => certificate.is_older(&context, times::RECORDS_S),
            CertificateStatus::Issued => is_ending(certificate, now_ms) && !certificate.users.is_empty(),
            _ => false,
        };
        let state = self.state.lock();
        state.iter().filter(|(_, certificate)| is_unfinished(certificate)).map(|(arn, _)| arn.clone()).collect()
    }

    /// Looks up the records of a certificate, and issues it once all of its domains are validated.
    fn advance(&self, arn: &str) -> anyhow::Result<()> {
        let now_ms = now_ms();
        let context = Context { region: &self.region, speed: self.speed, now_ms };
        let Some(before) = self.state.lock().get(arn).cloned() else { return Ok(()) };
        let mut next = before.clone();
        let is_renewal = next.issued.is_some();
        let delay = self.speed.takes(times::VALIDATION_S);
        for validation in &mut next.validations {
            let has_record = is_proven(&self.route53, &validation.domain);
            validation.seen_ms = has_record.then(|| validation.seen_ms.unwrap_or(now_ms));
            validation.is_done |= validation.seen_ms.is_some_and(|seen_ms| after(seen_ms, delay) <= now_ms);
        }
        let is_proven = match is_renewal {
            // A renewal requires that the records are still there.
            true => next.validations.iter().all(|validation| validation.seen_ms.is_some()),
            false => next.validations.iter().all(|validation| validation.is_done),
        };
        if is_proven {
            match next.names.iter().all(|name| may_issue(&self.route53, name)) {
                true => next.issued = Some(self.issue(&next, now_ms)?),
                false if !is_renewal => next.failure = Some("CAA_ERROR".to_owned()),
                false => (),
            }
        } else if !is_renewal && next.is_older(&context, times::PATIENCE_S) {
            next.timed_out = true;
        }
        let changed = self.change(|state| {
            // It may have been deleted or tagged meanwhile.
            if let Some(certificate) = state.get_mut(arn) {
                certificate.validations = next.validations;
                (certificate.failure, certificate.timed_out, certificate.issued) =
                    (next.failure, next.timed_out, next.issued);
            }
            Ok(())
        });
        changed.map_err(|refusal| anyhow::anyhow!(refusal.message))
    }

    fn issue(&self, certificate: &Certificate, now_ms: i64) -> anyhow::Result<IssuedAt> {
        // As Amazon's, it is valid from the beginning of the day.
        let from = OffsetDateTime::now_utc().date().midnight().assume_utc();
        let until = from + LIFE - time::Duration::SECOND;
        let pem = self.authority.issue(&certificate.names, certificate.algorithm, from, until)?;
        let ms = |at: OffsetDateTime| at.unix_timestamp() * 1000;
        Ok(IssuedAt { at_ms: now_ms, from_ms: ms(from), until_ms: ms(until), pem })
    }
}

fn is_ending(certificate: &Certificate, now_ms: i64) -> bool {
    let renewal_ms = i64::try_from(RENEWAL.whole_milliseconds()).unwrap_or(i64::MAX);
    certificate.issued.as_ref().is_some_and(|issued| issued.until_ms.saturating_sub(renewal_ms) <= now_ms)
}

/// Whether DNS answers with the record that proves control of a domain.
fn is_proven(dns: &Route53, domain: &str) -> bool {
    let (name, value) = record(domain);
    let same = |found: &str| name::normal(found) == name::normal(&value);
    dns.ask(&name, "CNAME").values("CNAME").into_iter().any(same)
}

/// Whether the CAA records closest to a domain let Amazon issue certificates for it (RFC 8659).
fn may_issue(dns: &Route53, domain: &str) -> bool {
    let base = domain.strip_prefix("*.");
    let Some(start) = name::normal(base.unwrap_or(domain)) else { return false };
    let mut at = Some(start.as_str());
    while let Some(name) = at {
        let answer = dns.ask(name, "CAA");
        let found: Vec<(u8, String, String)> = answer.values("CAA").into_iter().filter_map(records::caa).collect();
        if !found.is_empty() {
            return lets_amazon(&found, base.is_some());
        }
        if answer.status == DnsStatus::ServerFailure {
            return false;
        }
        at = name::parent(name);
    }
    true
}

fn lets_amazon(records: &[(u8, String, String)], is_wildcard: bool) -> bool {
    /// The flag of a property that an issuer must understand.
    const CRITICAL: u8 = 128;
    let known = ["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];
    if records.iter().any(|(flags, tag, _)| flags & CRITICAL != 0 && !known.contains(&tag.as_str())) {
        return false;
    }
    let of =
        |wanted: &str| records.iter().filter(|(_, tag, _)| tag == wanted).map(|(.., value)| value).collect::<Vec<_>>();
    let (issue, wild) = (of("issue"), of("issuewild"));
    let relevant = if is_wildcard && !wild.is_empty() { wild } else { issue };
    let issuer = |value: &&String| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    relevant.is_empty() || relevant.iter().map(issuer).any(|issuer| AMAZON.contains(&issuer.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caa_records_name_who_may_issue() {
        let check = |records: &[&str], plain: bool, wildcard: bool| {
            let found: Vec<_> = records.iter().filter_map(|value| records::caa(value)).collect();
            assert_eq!(found.len(), records.len());
            assert_eq!((lets_amazon(&found, false), lets_amazon(&found, true)), (plain, wildcard), "{records:?}");
        };
        check(&["0 issue \"amazon.com\""], true, true);
        check(&["0 issue \"letsencrypt.org\""], false, false);
        check(&["0 issue \"letsencrypt.org\"", "0 issue \"AmazonTrust.com; account=1\""], true, true);
        check(&["0 issue \";\""], false, false);
        check(&["0 issue \"amazon.com\"", "0 issuewild \";\""], true, false);
        check(&["0 issuewild \"letsencrypt.org\""], true, false);
        check(&["0 iodef \"mailto:a@b.c\""], true, true);
        check(&["128 unknown \"x\""], false, false);
    }
}
