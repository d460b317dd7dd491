//! How requests are routed to the instances of a service.

use aws_sdk_elasticloadbalancingv2::types::{LoadBalancerSchemeEnum, ProtocolEnum};

use super::ServiceNames;
use super::instance::Instance;
use crate::{
    cloud::aws::{Aws, found},
    config::HTTPS_PORT,
    engine::Fault,
    kinds::{
        elastic_address,
        listener::{forwards, redirect},
        rule,
    },
};

/// The path of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wiring {
    /// The ARN of the target group.
    pub target_group: String,
    /// The host name of the load balancer; empty if there is none.
    pub host: String,
    /// The number of its zones.
    pub zones: usize,
    /// Whether it is reachable from its VPC only.
    pub is_internal: bool,
    /// Whether it is served over HTTPS.
    pub is_https: bool,
    /// Whether the listener exists.
    pub listens: bool,
    /// Whether it or one of its rules forwards to the target group.
    pub forwards: bool,
    /// Whether a rule is to forward, in place of the listener itself.
    pub has_rule: bool,
    /// The load balancer's security groups.
    pub front: Vec<String>,
    /// Whether a security group of the instances admits the load balancer on the port; `None` if unknown.
    pub admits: Option<bool>,
    /// Whether there is no load balancer, but an elastic IP address.
    pub is_direct: bool,
    /// That address, if it exists.
    pub address: Option<elastic_address::Output>,
}

pub(in crate::cloud) async fn wiring(aws: &Aws, names: &ServiceNames) -> Result<Wiring, Fault> {
    if let Some(address) = &names.address {
        let address = address.find(aws).await?;
        let host = address.as_ref().map(|address| address.public_ip.clone()).unwrap_or_default();
        return Ok(Wiring { host, listens: true, forwards: true, is_direct: true, address, ..Wiring::default() });
    }
    let (groups, balancers) = futures::join!(
        aws.elb.describe_target_groups().names(&names.target_group).send(),
        aws.elb.describe_load_balancers().names(&names.balancer).send(),
    );
    let (groups, balancers) = (found(groups)?, found(balancers)?);
    let target_group = groups.and_then(|it| it.target_groups?.into_iter().next()?.target_group_arn).unwrap_or_default();
    let Some(balancer) = balancers.and_then(|it| it.load_balancers?.into_iter().next()) else {
        return Ok(Wiring { target_group, ..Wiring::default() });
    };
    let arn = balancer.load_balancer_arn().unwrap_or_default();
    let listeners = aws.elb.describe_listeners().load_balancer_arn(arn).send().await?;
    let on_port = |port: i32| listeners.listeners().iter().find(move |it| it.port() == Some(port));
    let https = on_port(HTTPS_PORT.into()).filter(|it| it.protocol() == Some(&ProtocolEnum::Https));
    // Requests to a listener that redirects reach the other one.
    let listener = on_port(names.front_port).map(|it| https.filter(|_| redirect(it).is_some()).unwrap_or(it));
    let forwards = match listener {
        Some(it) if names.behind.is_some() => {
            rule::sends_to(aws, it.listener_arn().unwrap_or_default(), &target_group).await?
        }
        Some(it) => forwards(it).get(&target_group).is_some_and(|share| *share > 0),
        None => false,
    };
    Ok(Wiring {
        is_https: https.is_some(),
        listens: listener.is_some(),
        forwards,
        has_rule: names.behind.is_some(),
        host: balancer.dns_name().unwrap_or_default().into(),
        zones: balancer.availability_zones().len(),
        is_internal: balancer.scheme() == Some(&LoadBalancerSchemeEnum::Internal),
        front: balancer.security_groups().to_vec(),
        target_group,
        admits: None,
        is_direct: false,
        address: None,
    })
}

pub(super) async fn admits(
    aws: &Aws,
    names: &ServiceNames,
    instance: Option<&Instance>,
    wiring: Option<&Wiring>,
) -> Result<Option<bool>, Fault> {
    let (Some(instance), Some(wiring)) = (instance, wiring.filter(|it| !it.front.is_empty())) else { return Ok(None) };
    if instance.groups.is_empty() {
        return Ok(None);
    }
    let answer = aws.ec2.describe_security_groups().set_group_ids(Some(instance.groups.clone())).send().await?;
    let port = i32::from(names.port);
    let rules = answer.security_groups().iter().flat_map(|group| group.ip_permissions());
    let covers =
        |from: Option<i32>, to: Option<i32>| from.is_none_or(|it| it <= port) && to.is_none_or(|it| it >= port);
    let mut fitting = rules
        .filter(|rule| matches!(rule.ip_protocol(), Some("tcp" | "-1")))
        .filter(|rule| covers(rule.from_port(), rule.to_port()));
    let by_group = |id: &str| wiring.front.iter().any(|front| front == id);
    Ok(Some(fitting.any(|rule| {
        // A rule for addresses may admit the load balancer, too; its addresses are unknown.
        !rule.ip_ranges().is_empty()
            || rule.user_id_group_pairs().iter().any(|pair| pair.group_id().is_some_and(by_group))
    })))
}
