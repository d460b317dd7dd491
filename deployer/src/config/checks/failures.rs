//! Where functions send the events that they failed on.

use super::{Checks, keys};
use crate::config::{Destination, Function, Name, Upload};

impl Checks<'_> {
    /// A destination is in the function's own region; of a bucket, only its name is known here.
    pub(super) fn destination(&mut self, path: &str, function: &Function) {
        let path = format!("{path}.on_failure");
        match &function.on_failure {
            Some(Destination::Bucket(bucket)) if !self.config.buckets.contains_key(bucket) => {
                self.unknown(&path, "entry of buckets", bucket.as_str(), keys(&self.config.buckets));
            }
            Some(Destination::Arn(arn)) => {
                let (elsewhere, region) = (arn.split(':').nth(3).unwrap_or_default(), self.config.region.as_str());
                if !elsewhere.is_empty() && elsewhere != region {
                    let message = format!("a destination in {elsewhere}, and the stack is in {region}");
                    self.problem(&path, message, "name a queue or topic of the function's region");
                }
            }
            _ => {}
        }
    }

    /// The record of a failed event is an upload like any other. If it triggers the function that has failed, directly
    /// or by way of other functions, each failure makes another event, without end.
    pub(super) fn endless_failures(&mut self, path: &str, entry: &Name) {
        let (mut way, mut buckets) = (vec![entry], Vec::new());
        while let Some((bucket, next)) = way.last().and_then(|last| self.triggered_by_failures(last)) {
            buckets.push(bucket);
            if next == entry {
                break;
            }
            // A circle that does not contain this function, and is reported at its own.
            if way.contains(&next) {
                return;
            }
            way.push(next);
        }
        // Each circle is reported once.
        if buckets.len() < way.len() || way.iter().any(|other| *other < entry) {
            return;
        }
        let names: Vec<String> = way.iter().chain([&entry]).map(ToString::to_string).collect();
        let bucket = buckets[0];
        let message = format!("records of failed events trigger functions without end: {}", names.join(" → "));
        let help = format!(
            "record them in another bucket, or give `buckets.{bucket}.on_upload` a `prefix` that keys below {FAILURES} do \
             not have"
        );
        self.problem(&format!("{path}.on_failure"), message, help);
    }

    /// The bucket with the records of a function's failed events, and the function that they trigger.
    fn triggered_by_failures(&self, entry: &Name) -> Option<(&Name, &Name)> {
        let destination = self.config.functions.get(entry)?.on_failure.as_ref()?;
        let (name, bucket) = self.config.buckets.iter().find(|(name, _)| match destination {
            Destination::Bucket(bucket) => bucket == *name,
            Destination::Arn(arn) => self.is_bucket(arn, name),
        })?;
        let upload = bucket.on_upload.as_ref()?;
        let folder = format!("{FAILURES}{}-{entry}/", self.config.name);
        admits_record(upload, &folder).then_some((name, &upload.function))
    }
}

/// The folder in a bucket for the records of failed events (docs/aws.md §7.5).
const FAILURES: &str = "aws/lambda/async/";

/// Whether the key of a record in this folder of a function triggers. It is `FOLDER/yyyy/mm/dd/TIME-UUID`.
fn admits_record(upload: &Upload, folder: &str) -> bool {
    let prefix = upload.prefix.as_deref().unwrap_or_default();
    let suffix = upload.suffix.as_deref().unwrap_or_default();
    let is_of_id = |(at, byte): (usize, u8)| match at {
        12 | 17 | 22 | 27 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let ends_alike = suffix.bytes().rev().take(36).enumerate().all(is_of_id);
    (folder.starts_with(prefix) || prefix.starts_with(folder)) && ends_alike
}
