//! Rules of listeners: they send the requests for a path or a host to another service than the one with the load balancer.
//!
//! The rule's action, applied after the instances, decides which of the service's targets receive requests.

mod order;

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::{
    HostHeaderConditionConfig, PathPatternConditionConfig, Rule as Described, RuleCondition, RulePriorityPair,
};
use serde::Serialize;

pub use self::order::{Order, foreign};
use self::order::{moves, placed};
use super::{
    listener::{Forwards, forward, forwards_of},
    tags::{self, bounded},
};
use crate::{
    cloud::aws::{Aws, found, gone, items},
    config::Behind,
    engine::{Fault, Live, Names, Observed, Owner, RESOURCE_TAG, Resource, STACK_TAG, Tags},
};

/// Identified by its tags, since its conditions and its priority may change; a rule without tags, by its priority.
#[derive(Debug, Clone)]
pub struct ListenerRule {
    /// Its name: see [`name`].
    pub name: String,
    /// The stack.
    pub stack: String,
    /// The ARN of the listener.
    pub listener: String,
    /// The key of its address, which its tag contains.
    pub key: String,
    /// The wanted priorities of all rules of the stack at the listener, by their keys.
    pub order: Order,
    /// The ARN of the target group that it should forward to.
    pub target_group: String,
    /// What the listener forwards to: it keeps the requests until the targets of the service are healthy.
    pub until_then: Forwards,
    /// Its ARN, of a rule that is only to be removed.
    pub arn: Option<String>,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The key of its address, in its tag. Another key belongs to a service that is no longer described, and whose rule
    /// had this priority.
    pub key: String,
    /// The place in the order of evaluation.
    pub priority: i32,
    /// The patterns of the path.
    pub paths: BTreeSet<String>,
    /// The patterns of the host.
    pub hosts: BTreeSet<String>,
    /// The fields of other conditions. None is ever wanted.
    pub others: BTreeSet<String>,
    /// The ARN of a target group that it forwards to, with any weight: only targets of such a group ever become healthy
    /// (docs/aws.md §11.1).
    pub target_group: String,
}

/// What AWS assigns.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// The target groups that it forwards to.
    pub forwards: Forwards,
}

/// The fields of conditions.
const PATH: &str = "path-pattern";
const HOST: &str = "host-header";

/// The error code of a priority that another rule has.
const IN_USE: &str = "PriorityInUse";

/// The name of a rule: a load balancer, and the key of its address.
pub fn name(balancer: &str, key: &str) -> String {
    format!("{balancer}/{key}")
}

impl Settings {
    /// Forwards the requests of a service.
    pub fn of(behind: &Behind, key: &str, priority: i32, target_group: String) -> Settings {
        Settings {
            key: key.into(),
            priority,
            paths: behind.path.iter().cloned().collect(),
            hosts: behind.host.iter().cloned().collect(),
            others: BTreeSet::new(),
            target_group,
        }
    }

    fn conditions(&self) -> Vec<RuleCondition> {
        let (paths, hosts) = (self.paths.iter().cloned().collect(), self.hosts.iter().cloned().collect());
        let paths = PathPatternConditionConfig::builder().set_values(Some(paths)).build();
        let hosts = HostHeaderConditionConfig::builder().set_values(Some(hosts)).build();
        let path = RuleCondition::builder().field(PATH).path_pattern_config(paths).build();
        let host = RuleCondition::builder().field(HOST).host_header_config(hosts).build();
        let path = (!self.paths.is_empty()).then_some(path);
        path.into_iter().chain((!self.hosts.is_empty()).then_some(host)).collect()
    }
}

impl Resource for ListenerRule {
    const KIND: &'static str = "rule";
    const SOURCES: &'static [(&'static str, &'static str)] = &[("paths", "behind.path"), ("hosts", "behind.host")];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.elb.describe_rules();
        let call = match &self.arn {
            Some(arn) => call.rule_arns(arn),
            None => call.listener_arn(&self.listener),
        };
        let Some(rules) = found(items(call.into_paginator().send()).await)? else { return Ok(Observed::Absent) };
        let rules = beside_the_default(rules);
        if rules.is_empty() {
            return Ok(Observed::Absent);
        }
        let mut tags = tags::of_arns(aws, rules.iter().map(|(arn, _)| arn.clone()).collect()).await?;
        let key_in_stack = |arn: &String| tags.get(arn).and_then(|tags| key_in(tags, &self.stack));
        let is_ours = |arn: &String| key_in_stack(arn) == Some(self.key.as_str());
        // One that is in the way, and one of ours that has lost its tags. A rule of another service is moved.
        let is_wanted = |arn: &String| key_in_stack(arn).is_some_and(|key| self.order.contains_key(key));
        let is_in_place = |rule: &Described| self.arn.is_none() && Some(&priority(rule)) == self.order.get(&self.key);
        let in_place = || rules.iter().find(|(arn, rule)| is_in_place(rule) && !is_wanted(arn));
        let found = rules.iter().find(|(arn, _)| is_ours(arn)).or_else(in_place);
        Ok(found.map_or(Observed::Absent, |(arn, rule)| {
            let tags = tags.remove(arn).unwrap_or_default();
            Observed::Present(Live {
                // The engine adds a tag that is missing.
                settings: self.settings(rule, key_of(&tags).unwrap_or(&self.key)),
                output: Output { arn: arn.clone(), forwards: forwards_of(rule.actions()) },
                owner: Owner::Tags(tags),
            })
        }))
    }

    /// AWS refuses a second rule of the same priority (docs/aws.md §9.10), so this one is ours. A rule of ours that has the
    /// priority is moved to its own first.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let forwards = with(&self.until_then, &want.target_group);
        let create = async || {
            let call = aws.elb.create_rule().listener_arn(&self.listener).priority(want.priority);
            let call = call.set_conditions(Some(want.conditions())).actions(forward(&forwards));
            call.set_tags(Some(tags::to_elb(tags))).send().await.map_err(Fault::from)
        };
        let answer = match create().await {
            Err(fault) if fault.code == IN_USE => match self.make_room(aws).await? {
                true => create().await?,
                false => return Err(fault),
            },
            answer => answer?,
        };
        let arn = answer.rules().first().and_then(Described::rule_arn).unwrap_or_default();
        let (output, owner) = (Output { arn: arn.into(), forwards }, Owner::Tags(tags.clone()));
        Ok(Some(Live { settings: want.clone(), output, owner }))
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Live { settings: there, output, .. } = live;
        if want.key != there.key {
            let address = format!("{}.{}", ListenerRule::KIND, want.key);
            tags::tag_in_elb(aws, &output.arn, &Tags::from([(RESOURCE_TAG.into(), address)])).await?;
        }
        if want.priority != there.priority {
            self.make_room(aws).await?;
        }
        if (Settings { priority: there.priority, key: there.key.clone(), ..want.clone() }) != *there {
            let known = if output.forwards.is_empty() { &self.until_then } else { &output.forwards };
            let forwards = with(known, &want.target_group);
            let call = aws.elb.modify_rule().rule_arn(&output.arn).set_conditions(Some(want.conditions()));
            call.actions(forward(&forwards)).send().await?;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_elb(aws, &live.output.arn, tags).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.elb.delete_rule().rule_arn(&live.output.arn).send().await)
    }

    /// Those of the load balancers with names of the stack: no other load balancer gets a rule.
    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let mut balancers = items(aws.elb.describe_load_balancers().into_paginator().send()).await?;
        let prefix = format!("{stack}-");
        balancers.retain(|it| it.load_balancer_name().is_some_and(|name| name.starts_with(&prefix)));
        let named = balancers.into_iter().filter_map(|it| it.load_balancer_name.zip(it.load_balancer_arn));
        let reads = named.map(async |(balancer, arn)| of_balancer(aws, stack, but, &balancer, &arn).await);
        let rules: Result<Vec<_>, Fault> = bounded(reads.collect()).await.into_iter().collect();
        Ok(rules?.into_iter().flatten().collect())
    }
}

impl ListenerRule {
    /// A rule that is only to be removed.
    pub fn left(stack: &str, balancer: &str, key: &str, arn: String) -> ListenerRule {
        ListenerRule {
            name: name(balancer, key),
            stack: stack.into(),
            listener: String::new(),
            key: key.into(),
            order: Order::new(),
            target_group: String::new(),
            until_then: Forwards::new(),
            arn: Some(arn),
        }
    }

    /// Sets the priority of this rule, if it exists, and moves the rules of the stack that are in the way to their own
    /// priorities. All of them change in one call, so that no request meets half an order, even if the run dies. Returns
    /// whether a rule had to move.
    async fn make_room(&self, aws: &Aws) -> Result<bool, Fault> {
        let rules = placed(aws, &self.listener).await?;
        let moves = moves(&rules, &self.stack, &self.order, &self.key);
        if moves.is_empty() {
            return Ok(false);
        }
        let pair =
            |(arn, priority): (String, i32)| RulePriorityPair::builder().rule_arn(arn).priority(priority).build();
        let pairs = moves.into_iter().map(pair).collect();
        aws.elb.set_rule_priorities().set_rule_priorities(Some(pairs)).send().await?;
        Ok(true)
    }

    fn settings(&self, rule: &Described, key: &str) -> Settings {
        let values = |field: &str| -> BTreeSet<String> {
            let of_field = rule.conditions().iter().filter(|condition| condition.field() == Some(field));
            of_field.flat_map(values).cloned().collect()
        };
        let fields = rule.conditions().iter().filter_map(RuleCondition::field);
        let forwards = forwards_of(rule.actions());
        let known = forwards.get_key_value(&self.target_group).or_else(|| forwards.first_key_value());
        Settings {
            key: key.into(),
            priority: priority(rule),
            paths: values(PATH),
            // Compared without case, so that a difference in case is not drift.
            hosts: values(HOST).into_iter().map(|host| host.to_ascii_lowercase()).collect(),
            others: fields.filter(|field| ![PATH, HOST].contains(field)).map(str::to_owned).collect(),
            target_group: known.map(|(arn, _)| arn.clone()).unwrap_or_default(),
        }
    }
}

/// Adds a target group: it gets health checks but no requests yet, so that its targets can become healthy.
fn with(forwards: &Forwards, target_group: &str) -> Forwards {
    let mut forwards = forwards.clone();
    let weight = if forwards.is_empty() { 1 } else { 0 };
    forwards.entry(target_group.to_owned()).or_insert(weight);
    forwards
}

/// Returns the rules of a stack on a load balancer that are not wanted.
async fn of_balancer(
    aws: &Aws,
    stack: &str,
    but: &Names,
    balancer: &str,
    arn: &str,
) -> Result<Vec<ListenerRule>, Fault> {
    let call = aws.elb.describe_listeners().load_balancer_arn(arn);
    // It may be deleted meanwhile.
    let listeners = found(items(call.into_paginator().send()).await)?.unwrap_or_default();
    let mut arns = Vec::new();
    for listener in listeners.iter().filter_map(|listener| listener.listener_arn()) {
        let call = aws.elb.describe_rules().listener_arn(listener);
        let rules = found(items(call.into_paginator().send()).await)?.unwrap_or_default();
        arns.extend(beside_the_default(rules).into_iter().map(|(arn, _)| arn));
    }
    if arns.is_empty() {
        return Ok(Vec::new());
    }
    let tags = tags::of_arns(aws, arns).await?;
    let rules = tags.into_iter().filter_map(|(arn, tags)| {
        let key = key_in(&tags, stack)?;
        (!but.contains(&name(balancer, key))).then(|| ListenerRule::left(stack, balancer, key, arn))
    });
    Ok(rules.collect())
}

/// The key of the address in the tags of a rule.
fn key_of(tags: &Tags) -> Option<&str> {
    tags.get(RESOURCE_TAG)?.strip_prefix(ListenerRule::KIND)?.strip_prefix('.')
}

/// The key of the address in the tags of a rule of this stack.
fn key_in<'a>(tags: &'a Tags, stack: &str) -> Option<&'a str> {
    key_of(tags).filter(|_| tags.get(STACK_TAG).is_some_and(|owner| owner == stack))
}

/// Returns the rules other than the default one, with their ARNs.
fn beside_the_default(rules: Vec<Described>) -> Vec<(String, Described)> {
    let rules = rules.into_iter().filter(|rule| rule.is_default() != Some(true));
    rules.filter_map(|rule| Some((rule.rule_arn.clone()?, rule))).collect()
}

fn priority(rule: &Described) -> i32 {
    rule.priority().and_then(|priority| priority.parse().ok()).unwrap_or_default()
}

/// AWS returns the only value of a condition in either of two fields, and guarantees neither.
fn values(condition: &RuleCondition) -> &[String] {
    let paths = condition.path_pattern_config().map(PathPatternConditionConfig::values).unwrap_or_default();
    let hosts = condition.host_header_config().map(HostHeaderConditionConfig::values).unwrap_or_default();
    [paths, hosts, condition.values()].into_iter().find(|values| !values.is_empty()).unwrap_or_default()
}

/// Whether one of the rules of a listener sends requests to this target group.
pub async fn sends_to(aws: &Aws, listener: &str, target_group: &str) -> Result<bool, Fault> {
    let rules = items(aws.elb.describe_rules().listener_arn(listener).into_paginator().send()).await?;
    let sends = |rule: &Described| forwards_of(rule.actions()).get(target_group).is_some_and(|share| *share > 0);
    Ok(beside_the_default(rules).iter().any(|(_, rule)| sends(rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(conditions: Vec<RuleCondition>) -> Described {
        let forwards = Forwards::from([("front".into(), 1), ("wanted".into(), 0)]);
        let rule = Described::builder().priority("7").set_conditions(Some(conditions));
        rule.actions(forward(&forwards)).build()
    }

    fn resource() -> ListenerRule {
        let order = Order::from([("api".to_owned(), 7)]);
        ListenerRule {
            order,
            target_group: "wanted".into(),
            arn: None,
            ..ListenerRule::left("app", "app-web", "api", String::new())
        }
    }

    #[test]
    fn a_rule_survives_the_way_to_aws_and_back() {
        let text = |text: &str| Some(text.to_owned());
        for (path, host) in
            [(text("/api/*"), None), (None, text("api.example.org")), (text("/*"), text("*.example.org"))]
        {
            let behind = Behind { service: "web".parse().expect("a name"), path, host };
            let want = Settings::of(&behind, "api", 7, "wanted".into());
            assert_eq!(resource().settings(&rule(want.conditions()), "api"), want);
        }
    }

    #[test]
    fn hosts_are_case_insensitive_and_paths_are_case_sensitive() {
        let host = RuleCondition::builder().field(HOST).values("API.example.org").build();
        let path = RuleCondition::builder().field(PATH).values("/API").build();
        let seen = resource().settings(&rule(vec![host, path]), "api");
        assert_eq!(seen.hosts, BTreeSet::from(["api.example.org".to_owned()]));
        assert_eq!(seen.paths, BTreeSet::from(["/API".to_owned()]));
    }

    #[test]
    fn requests_stay_where_they_are_until_the_new_targets_are_healthy() {
        let front = Forwards::from([("front".into(), 1)]);
        assert_eq!(with(&front, "new"), Forwards::from([("front".into(), 1), ("new".into(), 0)]));
        assert_eq!(with(&Forwards::new(), "new"), Forwards::from([("new".into(), 1)]));
        assert_eq!(with(&front, "front"), front);
    }

    #[test]
    fn conditions_of_every_form_are_read() {
        let plain = RuleCondition::builder().field(PATH).values("/a").build();
        let header = RuleCondition::builder().field("http-header").build();
        let seen = resource().settings(&rule(vec![plain, header]), "api");
        assert_eq!(seen.paths, BTreeSet::from(["/a".to_owned()]));
        assert_eq!(seen.others, BTreeSet::from(["http-header".to_owned()]));
    }
}
