//! The record by which ACM validates a domain, now and for every renewal.
//!
//! Records carry no tags. The name and the value of this one are those of our certificate.

use std::time::Duration;

use aws_sdk_route53::types::{ResourceRecordSet, RrType};
use serde::Serialize;

use super::certificate::{self, Issuance, NOT_ISSUED, Record};
use crate::{
    cloud::{
        aws::Aws,
        zones::{self, leads_to, plain},
    },
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// The validation record of a certificate.
#[derive(Debug, Clone)]
pub struct ValidationRecord {
    /// The id of the hosted zone.
    pub zone: String,
    /// The record.
    pub record: Record,
    /// The ARN of the certificate.
    pub certificate: String,
    /// Whether to wait until the certificate is issued.
    pub awaits: bool,
    /// Whether a removal leaves it.
    pub is_kept: bool,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The value of the record.
    pub value: String,
    /// Whether a removal leaves it. Not a setting: it follows from other certificates.
    #[serde(skip)]
    pub is_kept: bool,
}

/// The record as it is.
#[derive(Debug, Clone)]
pub struct Output {
    set: Option<ResourceRecordSet>,
}

impl Output {
    /// How long it is cached, in seconds.
    pub fn ttl_s(&self) -> Option<i64> {
        self.set.as_ref()?.ttl
    }
}

impl Settings {
    /// Leads to this name.
    pub fn to(value: &str) -> Settings {
        Settings { value: plain(value), is_kept: false }
    }
}

impl Resource for ValidationRecord {
    const KIND: &'static str = "validation_record";
    /// ACM usually validates a domain within minutes, and may take half an hour (docs/aws.md §9.7).
    const LIMIT: Duration = Duration::from_secs(45 * 60);

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.record.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Some(set) = set_of(aws, &self.zone, &self.record.name).await? else { return Ok(Observed::Absent) };
        let value = leads_to(&set);
        let is_right = value == plain(&self.record.value);
        if is_right && self.awaits {
            match certificate::issuance(aws, &self.certificate).await? {
                Issuance::Pending(_) => return Ok(Observed::Settling("being validated by ACM".into())),
                Issuance::Failed(reason) => return Err(Fault::new("DescribeCertificate", NOT_ISSUED, reason)),
                Issuance::Issued | Issuance::Absent => (),
            }
        }
        // Only a record that leads where our certificate says is ours to remove.
        let settings = Settings { value, is_kept: self.is_kept || !is_right };
        Ok(Observed::Present(Live { settings, output: Output { set: Some(set) }, owner: Owner::Parent }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        // If the certificate was absent, the record has not been read: it may be there from before.
        if set_of(aws, &self.zone, &self.record.name).await?.is_some() {
            return Ok(None);
        }
        certificate::claim_record(aws, &self.certificate).await?;
        zones::change(aws, &self.zone, Vec::new(), vec![zones::cname(&self.record.name, &want.value)?]).await?;
        let settings = want.clone();
        Ok((!self.awaits).then_some(Live { settings, output: Output { set: None }, owner: Owner::Parent }))
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let (before, after) = (live.output.set.clone(), zones::cname(&self.record.name, &want.value)?);
        zones::change(aws, &self.zone, before.into_iter().collect(), vec![after]).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        zones::change(aws, &self.zone, live.output.set.clone().into_iter().collect(), Vec::new()).await
    }

    fn is_bare(live: &Settings) -> bool {
        live.is_kept
    }
}

/// Removes the record of a certificate for this domain from every zone that may hold it, if it leads where the
/// certificate says.
pub async fn remove(aws: &Aws, domain: &str, record: &Record) -> Result<(), Fault> {
    for zone in zones::above(aws, domain).await? {
        let set = set_of(aws, &zone.id, &record.name).await?;
        let ours = set.filter(|set| leads_to(set) == plain(&record.value));
        zones::change(aws, &zone.id, ours.into_iter().collect(), Vec::new()).await?;
    }
    Ok(())
}

async fn set_of(aws: &Aws, zone: &str, name: &str) -> Result<Option<ResourceRecordSet>, Fault> {
    let sets = zones::records(aws, zone, &plain(name)).await?;
    Ok(sets.into_iter().find(|set| set.r#type == RrType::Cname))
}
