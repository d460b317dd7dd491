//! Application Load Balancers.
//!
//! Of the attributes, those that protect are managed; the others stay at AWS's defaults.

mod web_acl;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancer as Described, LoadBalancerAttribute, LoadBalancerSchemeEnum, LoadBalancerStateEnum,
    LoadBalancerTypeEnum,
};
use serde::Serialize;

use super::{
    alias::{self, AliasTarget},
    tags,
};
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Size, Tags},
};

/// A load balancer, identified by its name.
#[derive(Debug, Clone)]
pub struct LoadBalancer {
    /// Its name; at most 32 characters.
    pub name: String,
    /// Whether its web ACL is managed. If not, it is neither read nor changed.
    pub manages_web_acl: bool,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// `internet-facing` or `internal`.
    pub scheme: String,
    /// The id of the VPC that its subnets are in.
    pub vpc: String,
    /// One subnet for each zone. In each, an internet-facing load balancer has a public address, which costs money
    /// (docs/aws.md §16).
    pub subnets: BTreeSet<String>,
    /// The security groups.
    pub security_groups: BTreeSet<String>,
    /// Whether it removes header fields with invalid names from requests, which programs could take for others.
    pub invalid_headers_dropped: bool,
    /// Whether AWS refuses to delete it.
    pub protected: bool,
    /// The destination of its access log: bucket and prefix, as in `logs/web`.
    pub access_logs: Option<String>,
    /// The ARN of its web ACL, if that is managed.
    pub web_acl: Option<String>,
    /// The domain whose alias records lead here, in a tag: the records have none, so it shows which of them to remove.
    pub domain: Option<String>,
    /// The reason why provisioning failed. Never wanted, so always a difference.
    pub failure: Option<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// Its DNS name.
    pub dns_name: String,
    /// The id of the hosted zone that its DNS name is in.
    pub zone: String,
    /// When it was created, in seconds since 1970.
    pub created_s: Option<i64>,
}

/// The schemes: with a public address, as far as its security groups allow, or with addresses of its VPC only.
pub const PUBLIC: &str = "internet-facing";
/// See [`PUBLIC`].
pub const INTERNAL: &str = "internal";

impl Settings {
    /// One of this scheme, with everything else as usual.
    pub fn of(scheme: &str, vpc: String, subnets: BTreeSet<String>, security_groups: BTreeSet<String>) -> Settings {
        Settings {
            scheme: scheme.into(),
            vpc,
            subnets,
            security_groups,
            invalid_headers_dropped: true,
            protected: false,
            access_logs: None,
            web_acl: None,
            domain: None,
            failure: None,
        }
    }
}

/// The tag with the domain whose alias records lead to a load balancer.
const DOMAIN_TAG: &str = "deployer:domain";

/// The keys of the attributes that we manage (docs/aws.md §9.1).
const INVALID_HEADERS_DROPPED: &str = "routing.http.drop_invalid_header_fields.enabled";
const PROTECTED: &str = "deletion_protection.enabled";
const LOGS: &str = "access_logs.s3.enabled";
const LOGS_BUCKET: &str = "access_logs.s3.bucket";
const LOGS_PREFIX: &str = "access_logs.s3.prefix";

impl Resource for LoadBalancer {
    const KIND: &'static str = "load_balancer";
    const SOURCES: &'static [(&'static str, &'static str)] =
        &[("protected", "load_balancer.protect"), ("access_logs", "access_logs"), ("web_acl", "load_balancer.waf")];
    const FIXED: &'static [&'static str] = &["scheme", "vpc"];
    /// Provisioning takes two and a half minutes, sometimes more than three (docs/aws.md §13).
    const LIMIT: Duration = Duration::from_secs(15 * 60);

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let found = aws.batches.load_balancers.read(&self.name, |names| described(aws, names)).await?;
        let Some((balancer, tags)) = found else { return Ok(Observed::Absent) };
        if is(&balancer, &LoadBalancerStateEnum::Provisioning) {
            return Ok(Observed::Settling("provisioning".into()));
        }
        let arn = balancer.load_balancer_arn().unwrap_or_default();
        let Some(attributes) = attributes(aws, arn).await? else { return Ok(Observed::Absent) };
        let web_acl = if self.manages_web_acl { web_acl::read(aws, arn).await? } else { None };
        let domain = tags.get(DOMAIN_TAG).cloned();
        Ok(Observed::Present(Live {
            settings: Settings { web_acl, domain, ..settings(&balancer, &attributes) },
            output: Output {
                arn: arn.into(),
                dns_name: balancer.dns_name().unwrap_or_default().into(),
                zone: balancer.canonical_hosted_zone_id().unwrap_or_default().into(),
                created_s: balancer.created_time().map(|at| at.secs()),
            },
            owner: Owner::Tags(tags),
        }))
    }

    /// AWS answers the creation of a load balancer of the same name and settings as if it were new (docs/aws.md §9.1):
    /// another client may have created it, so the engine reads its owner.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let domain = want.domain.iter().map(|domain| (DOMAIN_TAG.to_owned(), domain.clone()));
        let tags: Tags = tags.clone().into_iter().chain(domain).collect();
        aws.elb
            .create_load_balancer()
            .name(&self.name)
            .r#type(LoadBalancerTypeEnum::Application)
            .scheme(LoadBalancerSchemeEnum::from(want.scheme.as_str()))
            .set_subnets(Some(want.subnets.iter().cloned().collect()))
            .set_security_groups(Some(want.security_groups.iter().cloned().collect()))
            .set_tags(Some(tags::to_elb(&tags)))
            .send()
            .await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Live { settings: there, output: Output { arn, .. }, .. } = live;
        if let Some(reason) = &there.failure {
            return Err(Fault::new("DescribeLoadBalancers", "LoadBalancerFailed", reason));
        }
        if want.security_groups != there.security_groups {
            let groups = want.security_groups.iter().cloned().collect();
            let call = aws.elb.set_security_groups().load_balancer_arn(arn);
            call.set_security_groups(Some(groups)).send().await?;
        }
        if want.subnets != there.subnets {
            let subnets = want.subnets.iter().cloned().collect();
            aws.elb.set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets)).send().await?;
        }
        if want.domain != there.domain {
            self.release_domain(aws, live).await?;
            match &want.domain {
                Some(domain) => {
                    tags::tag_in_elb(aws, arn, &Tags::from([(DOMAIN_TAG.into(), domain.clone())])).await?;
                }
                None => {
                    aws.elb.remove_tags().resource_arns(arn).tag_keys(DOMAIN_TAG).send().await?;
                }
            }
        }
        let attributes = [
            (INVALID_HEADERS_DROPPED, want.invalid_headers_dropped, there.invalid_headers_dropped),
            (PROTECTED, want.protected, there.protected),
        ];
        let changed = attributes.into_iter().filter(|(_, want, there)| want != there);
        let mut changed: Vec<_> = changed.map(|(key, want, _)| attribute(key, &want.to_string())).collect();
        // Elastic Load Balancing writes a test file at once: all three in one call.
        match &want.access_logs {
            logs if *logs == there.access_logs => (),
            Some(logs) => {
                let (bucket, prefix) = logs.split_once('/').unwrap_or((logs, ""));
                let all = [(LOGS, "true"), (LOGS_BUCKET, bucket), (LOGS_PREFIX, prefix)];
                changed.extend(all.map(|(key, value)| attribute(key, value)));
            }
            None => changed.push(attribute(LOGS, "false")),
        }
        if !changed.is_empty() {
            let call = aws.elb.modify_load_balancer_attributes().load_balancer_arn(arn);
            call.set_attributes(Some(changed)).send().await?;
        }
        match &want.web_acl {
            web_acl if *web_acl == there.web_acl => Ok(()),
            Some(web_acl) => web_acl::associate(aws, arn, web_acl).await,
            None => web_acl::disassociate(aws, arn).await,
        }
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_elb(aws, &live.output.arn, tags).await
    }

    fn is_protected(live: &Settings) -> bool {
        live.protected
    }

    /// Deletes its listeners, too. Its network interfaces outlive it for some minutes; only its security group has to
    /// wait for those, and does so on `DependencyViolation` (docs/aws.md §9.6).
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        if live.settings.protected {
            let message = "the load balancer is protected against deletion: set `protect: false` in its \
                           `load_balancer` and run `up`";
            return Err(Fault::new("DeleteLoadBalancer", "Protected", message));
        }
        self.release_domain(aws, live).await?;
        gone(aws.elb.delete_load_balancer().load_balancer_arn(&live.output.arn).send().await)
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let balancers = items(aws.elb.describe_load_balancers().into_paginator().send()).await?;
        let named = balancers.into_iter().filter_map(|it| {
            let size = Size::Balancer { addresses: public_addresses(&it) };
            Some((it.load_balancer_name?, it.load_balancer_arn?, it.created_time.map(|at| at.secs()), size))
        });
        tags::tagged_in_elb(aws, named.collect()).await
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let balancers = items(aws.elb.describe_load_balancers().into_paginator().send()).await?;
        let named = balancers.into_iter().filter_map(|it| it.load_balancer_name.zip(it.load_balancer_arn));
        let names = tags::names_in_elb(aws, stack, but, named.collect()).await?;
        Ok(names.into_iter().map(|name| LoadBalancer::named(&name)).collect())
    }
}

impl LoadBalancer {
    /// The one of this name, whatever web ACL it has.
    pub fn named(name: &str) -> LoadBalancer {
        LoadBalancer { name: name.into(), manages_web_acl: false }
    }

    /// Removes the records of the domain in its tag that lead here: once it is gone, or has another tag, nothing shows that
    /// they are ours.
    async fn release_domain(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        match &live.settings.domain {
            Some(domain) => alias::remove(aws, domain, &self.target(&live.output)).await,
            None => Ok(()),
        }
    }

    /// Its name in DNS records.
    pub fn target(&self, output: &Output) -> AliasTarget {
        AliasTarget { balancer: self.name.clone(), dns_name: output.dns_name.clone(), zone: output.zone.clone() }
    }
}

/// The load balancers of a stack that have this domain in their tag, as records name them.
pub async fn with_domain(aws: &Aws, stack: &str, domain: &str) -> Result<Vec<AliasTarget>, Fault> {
    let mut balancers = items(aws.elb.describe_load_balancers().into_paginator().send()).await?;
    let prefix = format!("{stack}-");
    balancers.retain(|it| it.load_balancer_name().is_some_and(|name| name.starts_with(&prefix)));
    let tags = tags::of_arns(aws, balancers.iter().filter_map(|it| it.load_balancer_arn.clone()).collect()).await?;
    let is_ours = |tags: &Tags| {
        let is = |key: &str, value: &str| tags.get(key).is_some_and(|there| there == value);
        is(STACK_TAG, stack) && is(DOMAIN_TAG, domain)
    };
    let ours =
        balancers.into_iter().filter(|it| it.load_balancer_arn().and_then(|arn| tags.get(arn)).is_some_and(is_ours));
    let target = |balancer: Described| AliasTarget {
        balancer: balancer.load_balancer_name.unwrap_or_default(),
        dns_name: balancer.dns_name.unwrap_or_default(),
        zone: balancer.canonical_hosted_zone_id.unwrap_or_default(),
    };
    Ok(ours.map(target).collect())
}

/// Returns the load balancers of these names that exist, with their tags. A call with a missing name fails as a whole
/// (docs/aws.md §9.1); then all load balancers are listed.
async fn described(aws: &Aws, names: Vec<String>) -> Result<HashMap<String, (Described, Tags)>, Fault> {
    let call = aws.elb.describe_load_balancers().set_names(Some(names.clone()));
    let balancers = match found(call.send().await)? {
        Some(answer) => answer.load_balancers.unwrap_or_default(),
        None if names.len() == 1 => Vec::new(),
        None => items(aws.elb.describe_load_balancers().into_paginator().send()).await?,
    };
    let wanted = |it: &Described| it.load_balancer_name().is_some_and(|name| names.iter().any(|wanted| wanted == name));
    let balancers: Vec<Described> = balancers.into_iter().filter(wanted).collect();
    let mut tags = tags::of_arns(aws, balancers.iter().filter_map(|it| it.load_balancer_arn.clone()).collect()).await?;
    let with_tags = |balancer: Described| {
        let tags = tags.remove(balancer.load_balancer_arn()?).unwrap_or_default();
        Some((balancer.load_balancer_name.clone()?, (balancer, tags)))
    };
    Ok(balancers.into_iter().filter_map(with_tags).collect())
}

/// Returns the number of its public addresses: one in each zone, unless it is internal.
fn public_addresses(balancer: &Described) -> usize {
    match balancer.scheme() {
        Some(LoadBalancerSchemeEnum::Internal) => 0,
        _ => balancer.availability_zones().len(),
    }
}

/// Returns the attributes, or `None` if the load balancer is gone by now.
async fn attributes(aws: &Aws, arn: &str) -> Result<Option<Vec<LoadBalancerAttribute>>, Fault> {
    let answer = found(aws.elb.describe_load_balancer_attributes().load_balancer_arn(arn).send().await)?;
    Ok(answer.map(|answer| answer.attributes.unwrap_or_default()))
}

fn attribute(key: &str, value: &str) -> LoadBalancerAttribute {
    LoadBalancerAttribute::builder().key(key).value(value).build()
}

fn is(balancer: &Described, state: &LoadBalancerStateEnum) -> bool {
    balancer.state().and_then(|there| there.code()) == Some(state)
}

fn settings(balancer: &Described, attributes: &[LoadBalancerAttribute]) -> Settings {
    let reason = || balancer.state().and_then(|state| state.reason()).unwrap_or("AWS gives no reason").to_owned();
    let zones = balancer.availability_zones();
    let value = |key: &str| attributes.iter().find(|it| it.key() == Some(key)).and_then(|it| it.value());
    let is_on = |key: &str| value(key) == Some("true");
    let place = || {
        let (bucket, prefix) = (value(LOGS_BUCKET).unwrap_or_default(), value(LOGS_PREFIX).unwrap_or_default());
        if prefix.is_empty() { bucket.to_owned() } else { format!("{bucket}/{prefix}") }
    };
    Settings {
        scheme: balancer.scheme().map(|scheme| scheme.as_str().to_owned()).unwrap_or_default(),
        vpc: balancer.vpc_id().unwrap_or_default().into(),
        subnets: zones.iter().filter_map(|zone| zone.subnet_id().map(str::to_owned)).collect(),
        security_groups: balancer.security_groups().iter().cloned().collect(),
        invalid_headers_dropped: is_on(INVALID_HEADERS_DROPPED),
        protected: is_on(PROTECTED),
        access_logs: is_on(LOGS).then(place),
        web_acl: None,
        domain: None,
        failure: is(balancer, &LoadBalancerStateEnum::Failed).then(reason),
    }
}
