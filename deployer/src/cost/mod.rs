//! The cost of a stack, from a table of prices. Nothing here calls AWS.

pub mod difference;
pub mod existing;
pub mod prices;
pub mod spent;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    config::{ChosenNetwork, Config, Service, Store, Table, WebAcl},
    kinds::alarm,
    output::counted::counted,
    page::USUAL_BAKE_MINUTES,
};
use prices::{HOURS, instance_hour, price, prices, unit};

/// The average number of capacity units of a load balancer that estimates assume: about 2.5 new connections a second.
const LCUS: f64 = 0.1;
/// The number of zones of a load balancer, if the region's network is unknown.
pub const ZONES: usize = 3;
/// The number of alarms of a scaling policy (docs/aws.md §10.6).
const POLICY_ALARMS: u32 = 2;
/// The number of metrics of each alarm of a watched roll-out: an alarm costs as much as its metrics.
const METRICS: u32 = 2;

/// The parts of a service that have a price.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// The instance type.
    pub instance_type: String,
    /// The number of instances.
    pub instances: u32,
    /// The size of the disk of each instance, in GB.
    pub disk_gb: u32,
    /// Whether its Auto Scaling group exists, which has a scaling policy.
    pub has_group: bool,
    /// The number of metrics that alarms watch.
    pub alarms: u32,
    /// Whether its load balancer exists.
    pub has_balancer: bool,
    /// The number of public addresses of the load balancer: one in each zone, unless it is internal.
    pub addresses: usize,
    /// Whether it has an elastic IP address, which has a price even without an instance.
    pub has_address: bool,
}

impl Fleet {
    /// A service as `stack.yaml` describes it, with its smallest number of instances. `usual_bake` is how many minutes
    /// a roll-out is watched unless it says otherwise.
    pub fn described(service: &Service, zones: usize, usual_bake: u16) -> Fleet {
        Fleet {
            instance_type: service.instance_type.to_string(),
            instances: service.instances.min.into(),
            disk_gb: service.disk_gb.into(),
            has_group: true,
            alarms: if service.is_direct { 0 } else { POLICY_ALARMS }
                + if is_watched(service, usual_bake) { METRICS * roll_out_alarms() } else { 0 },
            has_balancer: !service.is_direct && service.behind.is_none(),
            has_address: service.is_direct,
            addresses: if service.load_balancer.internal { 0 } else { zones },
        }
    }

    /// The price of a month; `None` if the instance type has no price.
    pub fn monthly(&self) -> Option<f64> {
        let instances = match self.instances {
            0 => 0.0,
            some => instance_monthly(&self.instance_type, self.disk_gb)? * f64::from(some),
        };
        let alarms = if self.has_group { alarms_monthly(self.alarms) } else { 0.0 };
        let balancer = if self.has_balancer { balancer_monthly(self.addresses) } else { 0.0 };
        let idle = if self.has_address && self.instances == 0 { address_monthly() } else { 0.0 };
        Some(instances + alarms + balancer + idle)
    }
}

/// The price of a month of an instance with its disk and its public address; `None` if its type has no price.
pub fn instance_monthly(instance_type: &str, disk_gb: u32) -> Option<f64> {
    let hourly = instance_hour(instance_type)? + price("ipv4.hour");
    Some(hourly * HOURS + f64::from(disk_gb) * price("ebs.gp3-gb-month"))
}

/// The price of a month of a public address.
pub fn address_monthly() -> f64 {
    price("ipv4.hour") * HOURS
}

/// The price of a month of a load balancer with so many public addresses.
pub fn balancer_monthly(addresses: usize) -> f64 {
    HOURS * (price("alb.hour") + LCUS * price("alb.lcu-hour") + addresses as f64 * price("ipv4.hour"))
}

/// The number of alarms of a watched roll-out: as many as of a service that shares its load balancer.
fn roll_out_alarms() -> u32 {
    alarm::watching(false).count() as u32
}

/// Whether AWS watches the roll-outs of a service.
fn is_watched(service: &Service, usual_bake: u16) -> bool {
    service.bake_minutes.unwrap_or(usual_bake) > 0
}

/// The price of a month of secrets.
pub fn secrets_monthly(count: u32) -> f64 {
    f64::from(count) * price("secrets.secret-month")
}

fn alarms_monthly(metrics: u32) -> f64 {
    f64::from(metrics) * price("cloudwatch.alarm-month")
}

/// The price of a month of the existing resources. Charges by use are left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// In US dollars; `None` if unknown.
    pub monthly: Option<f64>,
    /// The region of the prices.
    pub prices_region: &'static str,
    /// The date of the prices.
    pub prices_date: &'static str,
}

impl Cost {
    /// An amount in US dollars, with the table that it is from.
    pub fn of(monthly: Option<f64>) -> Cost {
        let prices = prices();
        Cost { monthly: monthly.map(rounded), prices_region: prices.region, prices_date: prices.date }
    }
}

impl Default for Cost {
    fn default() -> Cost {
        Cost::of(None)
    }
}

/// The cost of a stack. Its fields are the keys of `cost --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// The stack's name.
    pub stack: String,
    /// Its region.
    pub region: String,
    /// The region of the prices.
    pub prices_region: &'static str,
    /// The date of the prices.
    pub prices_date: &'static str,
    /// The hours of a month.
    pub hours: f64,
    /// The sum with the smallest number of instances, in US dollars a month.
    pub least: f64,
    /// The same with the largest number.
    pub most: f64,
    /// Whether everything that is not billed by use has a price.
    pub complete: bool,
    /// The priced items.
    pub items: Vec<Item>,
}

/// One thing that has a price.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// The entry of `stack.yaml`, such as `services.web`.
    pub section: String,
    /// Its description.
    pub what: String,
    /// US dollars a month at least; `None` if it is billed by use or has no price.
    pub least: Option<f64>,
    /// US dollars a month at most.
    pub most: Option<f64>,
    /// The certainty of the figures.
    pub sure: Sure,
    /// The assumption, or the unit prices.
    pub note: String,
}

/// The certainty of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sure {
    /// It follows from `stack.yaml`.
    Exact,
    /// It depends on an assumption.
    Assumed,
    /// It depends on use.
    ByUse,
    /// The table has no price for it.
    Unknown,
}

/// Returns the cost of the described stack. `zones` is the number of zones of a load balancer, if known.
pub fn estimate(config: &Config, zones: Option<usize>) -> Estimate {
    let zones = zones.or(config.network.as_ref().map(ChosenNetwork::zones));
    let mut items = Vec::new();
    for (entry, service) in &config.services {
        items.extend(of_service(&format!("services.{entry}"), service, zones));
    }
    for (entry, function) in &config.functions {
        let section = format!("functions.{entry}");
        let gb_second = price(&format!("lambda.gb-second-{}", function.architecture.name()));
        let second = gb_second * f64::from(function.memory_mb) / 1024.0;
        let note = format!(
            "{} per 1M requests, {} per 1000 s",
            unit(price("lambda.million-requests")),
            unit((second * 1000.0 * 1e6).round() / 1e6)
        );
        items.push(by_use(&section, &format!("function, {} MB", function.memory_mb), note));
        items.push(log(&section));
        items.extend(function.uses.rekognition.then(|| rekognition(&section)));
        items.extend(function.tracing.then(|| traces(&section)));
    }
    items.extend(secrets(config));
    items.extend(config.tables.iter().map(|(entry, table)| of_table(&format!("tables.{entry}"), table)));
    items.extend(config.buckets.keys().map(|entry| bucket(&format!("buckets.{entry}"))));
    items.push(bucket("artifacts"));
    for key in keys(config) {
        let last = items.iter().rposition(|item| item.section == key.section);
        items.insert(last.map_or(items.len(), |last| last + 1), key);
    }
    if !config.services.is_empty() {
        let note = format!("{} per GB after the first 100 GB", unit(price("transfer.gb-out")));
        items.push(by_use("services", "data transfer out", note));
    }
    let sum = |of: fn(&Item) -> Option<f64>| rounded(items.iter().filter_map(of).sum());
    let (prices, complete) = (prices(), items.iter().all(|item| item.sure != Sure::Unknown));
    Estimate {
        stack: config.name.to_string(),
        region: config.region.as_str().to_owned(),
        prices_region: prices.region,
        prices_date: prices.date,
        hours: HOURS,
        least: sum(|item| item.least),
        most: sum(|item| item.most),
        complete,
        items,
    }
}

/// An amount rounded to cents, as reports show it.
pub fn rounded(amount: f64) -> f64 {
    // The sum of nothing is -0.0.
    (amount * 100.0).round() / 100.0 + 0.0
}

/// The secrets that variables refer to. Parameters of the standard tier cost nothing.
fn secrets(config: &Config) -> Option<Item> {
    let stored = config.variables().flat_map(|(_, it)| it.stored.values());
    let names: BTreeSet<&str> = stored.filter(|it| it.store == Store::Secret).map(|it| it.name.as_str()).collect();
    let monthly = secrets_monthly(names.len() as u32);
    (!names.is_empty()).then(|| Item {
        section: "secrets".to_owned(),
        what: counted(names.len(), "secret"),
        least: Some(monthly),
        most: Some(monthly),
        sure: Sure::Exact,
        note: format!("and {} per 10,000 reads", unit(price("secrets.ten-thousand-calls"))),
    })
}

fn of_service(section: &str, service: &Service, zones: Option<usize>) -> Vec<Item> {
    let (least, most) = (f64::from(service.instances.min), f64::from(service.instances.max));
    let number = match service.instances.min == service.instances.max {
        true => service.instances.min.to_string(),
        false => format!("{}–{}", service.instances.min, service.instances.max),
    };
    let each = |what: String, monthly: f64| Item {
        section: section.to_owned(),
        what: format!("{number} × {what}"),
        least: Some(least * monthly),
        most: Some(most * monthly),
        sure: Sure::Exact,
        note: String::new(),
    };
    let fixed = |what: String, monthly: f64, note: &str| Item {
        section: section.to_owned(),
        what,
        least: Some(monthly),
        most: Some(monthly),
        sure: if note.is_empty() { Sure::Exact } else { Sure::Assumed },
        note: note.to_owned(),
    };
    let instances = match instance_hour(&service.instance_type.to_string()) {
        Some(hourly) => each(service.instance_type.to_string(), hourly * HOURS),
        None => Item {
            section: section.to_owned(),
            what: format!("{number} × {}", service.instance_type),
            least: None,
            most: None,
            sure: Sure::Unknown,
            note: "the table has no price for this type".to_owned(),
        },
    };
    let disk = f64::from(service.disk_gb) * price("ebs.gp3-gb-month");
    let address = price("ipv4.hour") * HOURS;
    let in_zones = zones.unwrap_or(ZONES);
    let assumed = if zones.is_some() { "" } else { "three zones" };
    let mut items = vec![
        instances,
        each(format!("{} GB gp3 volume", service.disk_gb), disk),
        each("public IPv4 address".into(), address),
    ];
    // One that shares the load balancer of another service adds nothing to its price.
    if !service.is_direct && service.behind.is_none() {
        items.push(fixed("load balancer".into(), price("alb.hour") * HOURS, ""));
        if !service.load_balancer.internal {
            let what = format!("{in_zones} × public IPv4 address of it");
            items.push(fixed(what, in_zones as f64 * address, assumed));
        }
        items.push(fixed(format!("{LCUS} LCU"), LCUS * price("alb.lcu-hour") * HOURS, "2.5 connections/s"));
    }
    items.extend(service.load_balancer.web_acl.as_ref().and_then(WebAcl::arn).map(|_| web_acl(section)));
    if !service.is_direct {
        items.push(Item {
            least: Some(0.0),
            ..fixed(
                format!("{POLICY_ALARMS} alarms of its scaling policy"),
                alarms_monthly(POLICY_ALARMS),
                "10 metrics are free",
            )
        });
    }
    if is_watched(service, USUAL_BAKE_MINUTES) {
        let alarms = roll_out_alarms();
        let metrics = METRICS * alarms;
        let what = format!("{alarms} alarms of its roll-outs");
        let note = format!("{metrics} metrics; 10 are free");
        items.push(Item { least: Some(0.0), ..fixed(what, alarms_monthly(metrics), &note) });
    }
    if service.domain.is_some() || service.certificate.is_some() {
        let note = "free; the hosted zone is yours, and not counted".to_owned();
        items.push(Item { note, ..fixed("certificate, DNS records".into(), 0.0, "") });
    }
    items.push(log(section));
    items.extend(service.uses.rekognition.then(|| rekognition(section)));
    items
}

fn by_use(section: &str, what: &str, note: String) -> Item {
    Item { section: section.to_owned(), what: what.to_owned(), least: None, most: None, sure: Sure::ByUse, note }
}

fn log(section: &str) -> Item {
    let note = format!("{} per GB written, {} per GB kept", unit(price("logs.gb-in")), unit(price("logs.gb-month")));
    by_use(section, "log", note)
}

fn rekognition(section: &str) -> Item {
    by_use(section, "Rekognition", format!("{} per picture", unit(price("rekognition.image"))))
}

fn traces(section: &str) -> Item {
    by_use(section, "X-Ray", format!("{} per 1M traces after the first 100,000", unit(price("xray.million-traces"))))
}

/// The requests for keys, which are not the stack's.
fn keys(config: &Config) -> Vec<Item> {
    let note = format!("{} per 10,000 requests after the first 20,000", unit(price("kms.ten-thousand-requests")));
    let entries = config.keys().into_iter().filter_map(|(path, _)| Some(path.rsplit_once('.')?.0.to_owned()));
    let entries: BTreeSet<String> = entries.collect();
    entries.iter().map(|entry| by_use(entry, "key", note.clone())).collect()
}

/// The web ACL of a load balancer, which is not the stack's. Its association is free.
fn web_acl(section: &str) -> Item {
    let note = format!(
        "yours: {} a month, {} a rule, {} per 1M",
        unit(price("waf.web-acl-month")),
        unit(price("waf.rule-month")),
        unit(price("waf.million-requests"))
    );
    by_use(section, "web ACL", note)
}

fn of_table(section: &str, table: &Table) -> Item {
    let recovery = if table.point_in_time_recovery { price("dynamodb.recovery-gb-month") } else { 0.0 };
    let note = format!(
        "{}/{} per 1M writes/reads, {} per GB",
        unit(price("dynamodb.million-writes")),
        unit(price("dynamodb.million-reads")),
        unit(price("dynamodb.gb-month") + recovery)
    );
    by_use(section, "table", note)
}

fn bucket(section: &str) -> Item {
    let note = format!(
        "{} per GB, {}/{} per 1000 PUTs/GETs",
        unit(price("s3.gb-month")),
        unit(price("s3.thousand-puts")),
        unit(price("s3.thousand-gets"))
    );
    by_use(section, "bucket", note)
}

#[cfg(test)]
mod tests;
