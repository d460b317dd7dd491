//! Object Lock: retention and legal holds of versions (S3 user guide, "Locking objects with Object Lock").

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::request::S3Request;
use super::store::{Bucket, BucketSettings, Change, Metadata, Version, Versioning, now};
use super::xml::{Element, element, malformed, wrap};
use super::{S3, object_arn, xml};
use identity::permissions::Need;
use kit::answer::{Refusal, Response, empty};

/// The Object Lock configuration of a bucket, with the default retention of new versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    default: Option<(Mode, Period)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    Governance,
    Compliance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Period {
    Days(i64),
    Years(i64),
}

/// The period during which a version may not be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retention {
    pub mode: Mode,
    /// In Unix milliseconds.
    pub until: i64,
}

const DAY: i64 = 24 * 60 * 60 * 1000;
/// The longest period: a hundred years.
const MOST_DAYS: i64 = 36_500;

impl Mode {
    fn named(name: &str) -> Option<Mode> {
        [Mode::Governance, Mode::Compliance].into_iter().find(|mode| mode.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Governance => "GOVERNANCE",
            Mode::Compliance => "COMPLIANCE",
        }
    }
}

impl Retention {
    fn is_over(self) -> bool {
        self.until <= now()
    }

    pub(super) fn until_text(self) -> String {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.until) * 1_000_000);
        at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
    }

    /// Parses the retention in the headers of an upload.
    pub(super) fn in_headers(mode: Option<&str>, until: Option<&str>) -> Result<Option<Retention>, Refusal> {
        let invalid = |text: &str| Refusal::new(400, "InvalidArgument", text);
        match (mode, until) {
            (None, None) => Ok(None),
            (Some(mode), Some(until)) => {
                let mode = Mode::named(mode).ok_or_else(|| invalid("Unknown wormMode directive."))?;
                let until = moment(until)
                    .ok_or_else(|| invalid("The retain until date must be provided in ISO 8601 format"))?;
                Ok(Some(Retention { mode, until }.in_future()?))
            }
            _ => Err(invalid("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")),
        }
    }

    fn in_future(self) -> Result<Retention, Refusal> {
        match self.is_over() {
            true => Err(Refusal::new(400, "InvalidArgument", "The retain until date must be in the future!")),
            false => Ok(self),
        }
    }
}

/// Parses the header of a legal hold.
pub(super) fn hold(header: Option<&str>) -> Result<bool, Refusal> {
    match header {
        None | Some("OFF") => Ok(false),
        Some("ON") => Ok(true),
        Some(_) => Err(Refusal::new(400, "InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'")),
    }
}

fn moment(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

impl BucketSettings {
    /// Refuses an upload to be locked in a bucket without Object Lock, and gives others the default retention of new
    /// versions.
    pub(super) fn locked(&self, mut metadata: Metadata) -> Result<Metadata, Refusal> {
        let Some(lock) = &self.lock else {
            return if metadata.retention.is_some() || metadata.is_held { Err(no_lock()) } else { Ok(metadata) };
        };
        if metadata.retention.is_none() {
            metadata.retention = lock.default.map(|(mode, period)| Retention { mode, until: now() + period.length() });
        }
        Ok(metadata)
    }

    /// Whether an upload without lock headers will be locked.
    pub(super) fn locks_by_default(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.default.is_some())
    }
}

impl Period {
    fn length(self) -> i64 {
        match self {
            Period::Days(days) => days * DAY,
            Period::Years(years) => years * 365 * DAY,
        }
    }
}

impl Version {
    /// Refuses the deletion of a version that is locked.
    pub(super) fn check_unlocked(&self, bypass: bool) -> Result<(), Refusal> {
        let Some(object) = &self.object else { return Ok(()) };
        let is_kept = object
            .metadata
            .retention
            .is_some_and(|retention| !(retention.is_over() || bypass && retention.mode == Mode::Governance));
        match is_kept || object.metadata.is_held {
            true => Err(Refusal::new(403, "AccessDenied", "Access Denied because object protected by object lock.")),
            false => Ok(()),
        }
    }
}

impl S3Request<'_> {
    /// Whether the request bypasses governance mode, and its caller may do so.
    pub(super) fn bypasses(&self, key: &str) -> bool {
        let wanted =
            self.header("x-amz-bypass-governance-retention").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let need = Need::new("s3:BypassGovernanceRetention", object_arn(&self.bucket, key));
        wanted && self.caller.may(&need).is_ok()
    }
}

fn no_lock() -> Refusal {
    Refusal::new(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
}

fn lock_of(bucket: &Bucket) -> Result<&Lock, Refusal> {
    bucket.settings.lock.as_ref().ok_or_else(no_lock)
}

impl S3 {
    pub(super) fn put_lock(&self, request: &S3Request) -> Result<Response, Refusal> {
        let lock = read_lock(&request.http.body)?;
        self.store.change(|state, _| {
            let mut settings = state.bucket(&request.bucket)?.settings.clone();
            if settings.versioning != Some(Versioning::Enabled) {
                let text = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
                return Err(Refusal::new(409, "InvalidBucketState", text));
            }
            settings.lock = Some(lock);
            Ok((vec![Change::Settings { bucket: request.bucket.clone(), settings }], ()))
        })?;
        Ok(empty(200))
    }

    pub(super) fn get_lock(&self, request: &S3Request) -> Result<Response, Refusal> {
        let lock = self.store.read(|state| Ok::<_, Refusal>(state.bucket(&request.bucket)?.settings.lock.clone()))?;
        let Some(Lock { default }) = lock else {
            let text = "Object Lock configuration does not exist for this bucket";
            return Err(Refusal::new(404, "ObjectLockConfigurationNotFoundError", text));
        };
        let rule = default.map(|(mode, period)| {
            let period = match period {
                Period::Days(days) => element("Days", &days.to_string()),
                Period::Years(years) => element("Years", &years.to_string()),
            };
            wrap("Rule", &wrap("DefaultRetention", &(element("Mode", mode.name()) + &period)))
        });
        let inside = element("ObjectLockEnabled", "Enabled") + &rule.unwrap_or_default();
        Ok(xml::document("ObjectLockConfiguration", &inside))
    }

    pub(super) fn put_retention(&self, request: &S3Request) -> Result<Response, Refusal> {
        let wanted = read_retention(&request.http.body)?;
        let bypass = request.bypasses(&request.key);
        self.change_metadata(request, |bucket, metadata| {
            lock_of(bucket)?;
            if let Some(kept) = metadata.retention.filter(|kept| !kept.is_over()) {
                let is_longer = wanted.is_some_and(|wanted| wanted.mode == kept.mode && wanted.until >= kept.until);
                let may_change = kept.mode == Mode::Governance && bypass;
                if !is_longer && !may_change {
                    let text = "Access Denied because object protected by object lock.";
                    return Err(Refusal::new(403, "AccessDenied", text));
                }
            }
            metadata.retention = wanted;
            Ok(())
        })
    }

    pub(super) fn get_retention(&self, request: &S3Request) -> Result<Response, Refusal> {
        let (_, metadata) = self.metadata(request, |bucket| lock_of(bucket).map(drop))?;
        let kept = metadata.retention.ok_or_else(not_locked)?;
        let inside = element("Mode", kept.mode.name()) + &element("RetainUntilDate", &kept.until_text());
        Ok(xml::document("Retention", &inside))
    }

    pub(super) fn put_hold(&self, request: &S3Request) -> Result<Response, Refusal> {
        let document = Element::read(&request.http.body, "LegalHold")?;
        let status = document.expect(&["Status"], &[])?.one_of("Status", &["ON", "OFF"])?;
        let is_held = status.ok_or_else(malformed)? == "ON";
        self.change_metadata(request, |bucket, metadata| {
            lock_of(bucket)?;
            metadata.is_held = is_held;
            Ok(())
        })
    }

    pub(super) fn get_hold(&self, request: &S3Request) -> Result<Response, Refusal> {
        let (_, metadata) = self.metadata(request, |bucket| lock_of(bucket).map(drop))?;
        Ok(xml::document("LegalHold", &element("Status", if metadata.is_held { "ON" } else { "OFF" })))
    }
}

fn not_locked() -> Refusal {
    let text = "The specified object does not have a ObjectLock configuration";
    Refusal::new(404, "NoSuchObjectLockConfiguration", text)
}

/// Parses a retention. A document without mode and date removes the retention.
fn read_retention(body: &[u8]) -> Result<Option<Retention>, Refusal> {
    let document = Element::read(body, "Retention")?;
    document.expect(&["Mode", "RetainUntilDate"], &[])?;
    match (document.get("Mode"), document.get("RetainUntilDate")) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let mode = Mode::named(mode).ok_or_else(malformed)?;
            let until = moment(until).ok_or_else(malformed)?;
            Ok(Some(Retention { mode, until }.in_future()?))
        }
        _ => Err(malformed()),
    }
}

fn read_lock(body: &[u8]) -> Result<Lock, Refusal> {
    let document = Element::read(body, "ObjectLockConfiguration")?;
    document.expect(&["ObjectLockEnabled", "Rule"], &[])?;
    document.one_of("ObjectLockEnabled", &["Enabled"])?.ok_or_else(malformed)?;
    let Some(rule) = document.child("Rule") else { return Ok(Lock::default()) };
    let default = rule.expect(&["DefaultRetention"], &[])?.child("DefaultRetention").ok_or_else(malformed)?;
    let mode = Mode::named(default.expect(&["Mode", "Days", "Years"], &[])?.need("Mode")?).ok_or_else(malformed)?;
    let invalid = |text: &str| Err(Refusal::new(400, "InvalidRetentionPeriod", text));
    let period = match (default.number("Days")?, default.number("Years")?) {
        (Some(days), None) if days > MOST_DAYS => return invalid("Default retention period is too large"),
        (None, Some(years)) if years > MOST_DAYS / 365 => return invalid("Default retention period is too large"),
        (Some(..1), None) | (None, Some(..1)) => {
            return invalid("Default retention period must be a positive integer value.");
        }
        (Some(days), None) => Period::Days(days),
        (None, Some(years)) => Period::Years(years),
        _ => return Err(malformed()),
    };
    Ok(Lock { default: Some((mode, period)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Object;

    fn version(retention: Option<(Mode, i64)>, is_held: bool) -> Version {
        let retention = retention.map(|(mode, from_now)| Retention { mode, until: now() + from_now });
        let metadata = Metadata { retention, is_held, ..Metadata::default() };
        Version { id: "v".into(), modified: 0, object: Some(Box::new(Object { metadata, ..Object::default() })) }
    }

    #[test]
    fn a_locked_version_is_not_deleted() {
        for (retention, is_held, bypass, allowed) in [
            (None, false, false, true),
            (None, true, true, false),
            (Some((Mode::Governance, DAY)), false, false, false),
            (Some((Mode::Governance, DAY)), false, true, true),
            (Some((Mode::Compliance, DAY)), false, true, false),
            (Some((Mode::Compliance, -1)), false, false, true),
            (Some((Mode::Compliance, -1)), true, false, false),
        ] {
            let checked = version(retention, is_held).check_unlocked(bypass);
            assert_eq!(checked.is_ok(), allowed, "{retention:?} {is_held} {bypass}");
        }
    }

    #[test]
    fn documents_say_a_whole_retention_or_none() {
        let code =
            |inside: &str| read_retention(wrap("Retention", inside).as_bytes()).err().map(|refusal| refusal.code);
        let date = "<RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate>";
        assert_eq!(code(""), None);
        assert_eq!(code(&format!("<Mode>COMPLIANCE</Mode>{date}")), None);
        assert_eq!(code(&format!("<Mode>governance</Mode>{date}")).as_deref(), Some("MalformedXML"));
        assert_eq!(code("<Mode>COMPLIANCE</Mode>").as_deref(), Some("MalformedXML"));
        let past = "<Mode>COMPLIANCE</Mode><RetainUntilDate>2001-01-01T00:00:00Z</RetainUntilDate>";
        assert_eq!(code(past).as_deref(), Some("InvalidArgument"));
        let lock = |inside: &str| {
            let rule = format!(
                "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode>{inside}</DefaultRetention></Rule>"
            );
            read_lock(wrap("ObjectLockConfiguration", &rule).as_bytes()).err().map(|refusal| refusal.code)
        };
        assert_eq!(lock("<Days>1</Days>"), None);
        assert_eq!(lock("<Days>0</Days>").as_deref(), Some("InvalidRetentionPeriod"));
        assert_eq!(lock("<Years>101</Years>").as_deref(), Some("InvalidRetentionPeriod"));
        assert_eq!(lock("<Days>1</Days><Years>1</Years>").as_deref(), Some("MalformedXML"));
    }
}
