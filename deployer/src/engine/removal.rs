//! The order in which resources are removed: users of a resource before the resource.

use std::collections::BTreeSet;

use super::{Stack, graph::Node, walk::reversed};

/// Returns the nodes that have to be removed before each node of the page, and then before each orphan.
///
/// The page has its own edges. An orphan has none, so they follow from its kind: a page node is removed before an
/// orphan that it may still use (a listener that keeps forwarding to a target group of the previous port), and an
/// orphan before a page node that it may use (a security group whose rules refer to the load balancer's).
pub(super) fn removal_order<C: Send + Sync + 'static>(stack: &Stack<C>) -> Vec<Vec<usize>> {
    let (page, orphans) = (&stack.nodes, &stack.orphans);
    let uses = kinds_in_use(stack);
    let is_used_by =
        |used: &dyn Node<C>, user: &dyn Node<C>| uses.contains(&(user.address().kind, used.address().kind));
    let mut before = reversed(&stack.needs);
    for (node, before) in page.iter().zip(&mut before) {
        let users = orphans
            .iter()
            .enumerate()
            .filter(|(_, orphan)| is_used_by(&**node, &***orphan) && orphan.removal_rank() <= node.removal_rank());
        before.extend(users.map(|(index, _)| page.len() + index));
    }
    before.extend(by_rank(orphans).into_iter().zip(orphans).map(|(others, orphan)| {
        // Without a node of its kind, the page has no edges that show what may use it.
        let is_last = page.iter().all(|node| node.address().kind != orphan.address().kind);
        let users = page.iter().enumerate().filter(|(_, node)| {
            (is_last || is_used_by(&**orphan, &***node)) && node.removal_rank() < orphan.removal_rank()
        });
        users.map(|(index, _)| index).chain(others.into_iter().map(|other| page.len() + other)).collect()
    }));
    before
}

/// Returns, for each of these nodes, the ones of lower rank.
pub(super) fn by_rank<C>(nodes: &[Box<dyn Node<C>>]) -> Vec<Vec<usize>> {
    let lower = |rank: u8| (0..nodes.len()).filter(|&other| nodes[other].removal_rank() < rank).collect();
    nodes.iter().map(|node| lower(node.removal_rank())).collect()
}

/// Which kind uses which, according to the edges of the page. Edges to the anchor are left out: every node has one.
fn kinds_in_use<C: Send + Sync + 'static>(stack: &Stack<C>) -> BTreeSet<(&'static str, &'static str)> {
    let kind = |index: usize| stack.nodes[index].address().kind;
    let anchor = stack.anchor();
    let edges = stack.needs.iter().enumerate().flat_map(|(user, needs)| needs.iter().map(move |&used| (user, used)));
    edges.filter(|(_, used)| Some(*used) != anchor).map(|(user, used)| (kind(user), kind(used))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        cloud::{
            aws::Aws,
            health::Wait,
            site::{Network, Site},
        },
        config::Config,
        engine::Resource as _,
        kinds::{
            KINDS, STORED_VALUES,
            alarm::Alarm,
            alias::Alias,
            artifact::Artifact,
            auto_scaling_group::AutoScalingGroup,
            bucket::Bucket,
            certificate::Certificate,
            default_action::DefaultAction,
            elastic_address::ElasticAddress,
            function::Function,
            instance_profile::InstanceProfile,
            internet_gateway::InternetGateway,
            launch_template::LaunchTemplate,
            listener::Listener,
            load_balancer::LoadBalancer,
            log_group::LogGroup,
            notification::Notification,
            parameter::Parameter,
            permissions::Permissions,
            role::Role,
            route_table::RouteTable,
            rule::ListenerRule,
            rule_action::RuleAction,
            scaling_policy::ScalingPolicy,
            secret::Secret,
            security_group::{SecurityGroup, Side},
            subnet::Subnet,
            table::Table,
            target_group::TargetGroup,
            validation_record::ValidationRecord,
            vpc::Vpc,
        },
        package::programs::Programs,
        page::lay_out,
    };

    /// The shipped page, with an orphan of every kind that can have one.
    fn stack() -> Stack<Aws> {
        // The service refers to the function, so the function is removed after the service's launch template.
        let description = include_str!("../../../stack.yaml")
            .replace(
                "      BUCKET: ${buckets.images.name}\n      DYNAMO",
                "      FN: ${functions.labeler.name}\n      DYNAMO",
            )
            .replacen("      FN: ${functions.labeler.name}", "      BUCKET: ${buckets.images.name}", 1);
        let config = Config::parse("stack.yaml", &description).unwrap_or_else(|errors| panic!("{errors}"));
        let site =
            Site { account: "1".into(), caller_arn: String::new(), region: "us-east-1".into(), is_emulated: false };
        let network = Network { vpc: "vpc-1".into(), ..Network::unknown() };
        let mut stack = lay_out(&config, &site, Some(&network), &Programs::none(), Wait::default()).stack;
        let (name, vpc) = ("old", String::from("vpc-1"));
        stack.doom(ListenerRule::left(name, "app-web", "old", String::new()));
        stack.doom(AutoScalingGroup::named(name));
        stack.doom(Alarm { name: name.into() });
        stack.doom(LoadBalancer::named(name));
        stack.doom(Function::named(name));
        stack.doom(LaunchTemplate::named(name));
        stack.doom(ElasticAddress::of("s", name));
        stack.doom(TargetGroup { name: name.into() });
        stack.doom(Certificate::of(name, "old"));
        stack.doom(Subnet { stack: name.into(), vpc: vpc.clone(), zone: "us-east-1a".into() });
        stack.doom(RouteTable { stack: name.into() });
        stack.doom(InternetGateway { stack: name.into() });
        stack.doom(Vpc::of(name));
        stack.doom(SecurityGroup { name: name.into(), vpc, side: Side::Unknown });
        stack.doom(InstanceProfile { name: name.into() });
        stack.doom(LogGroup { name: name.into() });
        stack.doom(Role { name: name.into() });
        stack.doom(Table { name: name.into() });
        stack.doom(Bucket { name: name.into(), account: "1".into() });
        stack.doom(Parameter { name: name.into() });
        stack.doom(Secret { name: name.into() });
        stack
    }

    /// The kinds that live inside another resource and vanish with it: there is never an orphan of them.
    const INSIDE: [&str; 9] = [
        Alias::KIND,
        Artifact::KIND,
        DefaultAction::KIND,
        Listener::KIND,
        Notification::KIND,
        Permissions::KIND,
        RuleAction::KIND,
        ScalingPolicy::KIND,
        ValidationRecord::KIND,
    ];

    #[test]
    fn the_orphans_of_these_tests_are_of_every_kind_that_can_have_one() {
        let every: BTreeSet<&str> = KINDS.iter().chain(STORED_VALUES).map(|kind| kind.name).collect();
        let stack = stack();
        let orphans: BTreeSet<&str> = stack.orphans.iter().map(|orphan| orphan.address().kind).collect();
        assert_eq!(orphans.union(&INSIDE.into()).copied().collect::<BTreeSet<_>>(), every);
    }

    #[test]
    fn users_of_a_resource_are_removed_before_it() {
        let stack = stack();
        let order = removal_order(&stack);
        let names: Vec<String> =
            stack.nodes.iter().chain(&stack.orphans).map(|node| node.address().to_string()).collect();
        let before: BTreeMap<&str, BTreeSet<&str>> = names
            .iter()
            .zip(&order)
            .map(|(name, before)| (&**name, before.iter().map(|&other| &*names[other]).collect()))
            .collect();
        for (first, then) in [
            ("listener.web", "target_group.old"),
            ("auto_scaling_group.web", "launch_template.old"),
            ("launch_template.web", "security_group.old"),
            ("launch_template.web", "elastic_address.s-old"),
            ("load_balancer.web", "security_group.old"),
            ("security_group.old", "security_group.web-lb"),
            ("function.labeler", "role.old"),
            ("function.old", "role.labeler-fn"),
            ("auto_scaling_group.old", "listener.web"),
            ("rule.app-web/old", "auto_scaling_group.old"),
            ("rule.app-web/old", "target_group.old"),
            ("auto_scaling_group.web", "alarm.web-target-5xx"),
            ("auto_scaling_group.web", "alarm.old"),
            ("alarm.old", "load_balancer.web"),
            ("load_balancer.old", "certificate.old"),
            ("load_balancer.old", "subnet.us-east-1a"),
            ("auto_scaling_group.old", "subnet.us-east-1a"),
            ("subnet.us-east-1a", "route_table.old"),
            ("route_table.old", "internet_gateway.old"),
            ("internet_gateway.old", "vpc.old"),
            ("security_group.old", "vpc.old"),
        ] {
            assert!(before[then].contains(first), "{then} waits for {:?}, and not for {first}", before[then]);
        }
        assert!(!before["target_group.old"].contains("function.labeler"), "a function uses no target group");
    }

    #[test]
    fn no_resource_waits_for_itself() {
        let order = removal_order(&stack());
        let mut gone = vec![false; order.len()];
        while let Some(next) = (0..order.len()).find(|&node| !gone[node] && order[node].iter().all(|&it| gone[it])) {
            gone[next] = true;
        }
        assert!(gone.iter().all(|gone| *gone), "a cycle keeps {gone:?}");
    }
}
