//! The order in which a listener evaluates its rules, which their priorities decide.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::Rule as Described;

use super::{beside_the_default, key_in, priority};
use crate::{
    cloud::aws::{Aws, found, items},
    engine::{Fault, Owner, STACK_TAG, Tags},
    kinds::tags,
};

/// Priorities by the keys of rules.
pub type Order = BTreeMap<String, i32>;

/// The last place in the order (docs/aws.md §9.10).
const LAST: i32 = 50_000;

/// A rule of a listener, by its place in the order.
pub(super) struct Placed {
    /// Its ARN.
    pub arn: String,
    /// Its priority.
    pub priority: i32,
    /// Its tags.
    pub tags: Tags,
}

/// Returns the rules of a listener, apart from the default one.
pub(super) async fn placed(aws: &Aws, listener: &str) -> Result<Vec<Placed>, Fault> {
    let call = aws.elb.describe_rules().listener_arn(listener);
    let rules = beside_the_default(found(items(call.into_paginator().send()).await)?.unwrap_or_default());
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let mut tags = tags::of_arns(aws, rules.iter().map(|(arn, _)| arn.clone()).collect()).await?;
    let place = |(arn, rule): (String, Described)| {
        let tags = tags.remove(&arn).unwrap_or_default();
        Placed { priority: priority(&rule), arn, tags }
    };
    Ok(rules.into_iter().map(place).collect())
}

/// Returns the ARNs and new priorities of the rules to move, so that the rule with this key can have its own: the rule
/// itself, if it exists, the rule of the stack that has this priority, the one that has the priority of that, and so on. A
/// rule that is not wanted is moved behind all others. A rule of another owner stays, and AWS refuses the call.
pub(super) fn moves(rules: &[Placed], stack: &str, order: &Order, key: &str) -> Vec<(String, i32)> {
    let mut moves: BTreeMap<&str, i32> = BTreeMap::new();
    let own = rules.iter().find(|rule| key_in(&rule.tags, stack) == Some(key));
    let mut next = order.get(key).copied();
    if let (Some(own), Some(priority)) = (own.filter(|own| Some(own.priority) != next), next) {
        moves.insert(&own.arn, priority);
    }
    while let Some(priority) = next {
        let is_ours = |rule: &&Placed| rule.tags.get(STACK_TAG).is_some_and(|owner| owner == stack);
        let there = rules.iter().find(|rule| rule.priority == priority && !moves.contains_key(rule.arn.as_str()));
        let Some(there) = there.filter(is_ours) else { break };
        next = match key_in(&there.tags, stack).and_then(|key| order.get(key)) {
            // It is in its place.
            Some(wanted) if *wanted == priority => break,
            Some(wanted) => Some(*wanted),
            None => {
                let is_free = |place: &i32| {
                    rules.iter().all(|rule| rule.priority != *place)
                        && order.values().chain(moves.values()).all(|taken| taken != place)
                };
                (1..=LAST).rev().find(is_free)
            }
        };
        if let Some(priority) = next {
            moves.insert(&there.arn, priority);
        }
    }
    moves.into_iter().map(|(arn, priority)| (arn.to_owned(), priority)).collect()
}

/// Returns the priorities that rules of other owners have at a listener, each with its owner.
pub async fn foreign(aws: &Aws, listener: &str, stack: &str) -> Result<BTreeMap<i32, Owner>, Fault> {
    let rules = placed(aws, listener).await?.into_iter().map(|rule| (rule.priority, Owner::Tags(rule.tags)));
    Ok(rules.filter(|(_, owner)| owner.foreign_to(stack).is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RESOURCE_TAG;

    /// A rule of the stack `app`, or of none.
    fn placed(key: &str, priority: i32) -> Placed {
        let tags = match key {
            "" => Tags::new(),
            key => Tags::from([(STACK_TAG.into(), "app".into()), (RESOURCE_TAG.into(), format!("rule.{key}"))]),
        };
        Placed { arn: format!("arn-{key}"), priority, tags }
    }

    fn order(order: &[(&str, i32)]) -> Order {
        order.iter().map(|(key, priority)| ((*key).to_owned(), *priority)).collect()
    }

    fn moved(rules: &[Placed], order: &Order, key: &str) -> Vec<(String, i32)> {
        moves(rules, "app", order, key)
    }

    #[test]
    fn rules_exchange_their_priorities_at_once() {
        let rules = [placed("api", 1), placed("web", 2)];
        let swapped = [("arn-api".to_owned(), 2), ("arn-web".to_owned(), 1)];
        for key in ["api", "web"] {
            assert_eq!(moved(&rules, &order(&[("api", 2), ("web", 1)]), key), swapped);
        }
    }

    #[test]
    fn rules_in_the_way_make_room_as_far_as_the_next_free_priority() {
        let rules = [placed("b", 1), placed("c", 2), placed("e", 9)];
        let order = order(&[("a", 1), ("b", 2), ("c", 3), ("e", 8)]);
        assert_eq!(moved(&rules, &order, "a"), [("arn-b".to_owned(), 2), ("arn-c".to_owned(), 3)]);
        assert_eq!(moved(&rules, &order, "e"), [("arn-e".to_owned(), 8)]);
    }

    #[test]
    fn a_rule_that_is_not_wanted_is_moved_behind_all_others() {
        let rules = [placed("old", 1), placed("", LAST)];
        assert_eq!(moved(&rules, &order(&[("a", 1), ("b", LAST - 1)]), "a"), [("arn-old".to_owned(), LAST - 2)]);
    }

    #[test]
    fn rules_of_other_owners_stay_and_so_do_rules_in_their_places() {
        let rules = [placed("", 1), placed("b", 2)];
        assert!(moved(&rules, &order(&[("a", 1), ("b", 2)]), "a").is_empty());
        assert!(moved(&rules, &order(&[("a", 1), ("b", 2)]), "b").is_empty());
        let other = Tags::from([(STACK_TAG.into(), "other".into()), (RESOURCE_TAG.into(), "rule.a".into())]);
        let other = Placed { tags: other, ..placed("", 1) };
        assert!(moved(&[other], &order(&[("a", 1)]), "a").is_empty(), "it has our key, and is of another stack");
    }
}
