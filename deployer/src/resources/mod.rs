//! One file per kind.

pub mod artifact;
pub mod auto_scaling_group;
pub mod bucket;

pub mod function;
pub mod instance_profile;
pub mod launch_template;
pub mod listener;
pub mod load_balancer;
pub mod log_group;
pub mod notification;
pub mod permissions;
pub mod role;
pub mod scaling_policy;
pub mod security_group;
pub mod table;
pub mod tags;
pub mod target_group;

use crate::{
    aws::Aws,
    engine::{Fault, Resource, Stack},
};

/// Finds everything that carries the stack's tag and adds what the page does not want, in the order in which it
/// can go: what uses something goes before it. Listeners, policies, permissions and notifications live inside
/// what is listed here and go with it.
pub async fn doom_orphans(stack: &mut Stack<Aws>, aws: &Aws) -> Result<(), Fault> {
    let name = stack.name().to_owned();
    let name = name.as_str();
    // The artifact bucket is the first to come and the last to go: without it there is nothing to look for.
    let buckets = bucket::Bucket::owned(aws, name).await?;
    if buckets.is_empty() {
        return Ok(());
    }
    let (groups, balancers, templates, targets, functions) = futures::try_join!(
        auto_scaling_group::AutoScalingGroup::owned(aws, name),
        load_balancer::LoadBalancer::owned(aws, name),
        launch_template::LaunchTemplate::owned(aws, name),
        target_group::TargetGroup::owned(aws, name),
        function::Function::owned(aws, name),
    )?;
    let (firewalls, profiles, roles, logs, tables) = futures::try_join!(
        security_group::SecurityGroup::owned(aws, name),
        instance_profile::InstanceProfile::owned(aws, name),
        role::Role::owned(aws, name),
        log_group::LogGroup::owned(aws, name),
        table::Table::owned(aws, name),
    )?;
    doom(stack, 0, groups);
    doom(stack, 1, balancers);
    doom(stack, 1, functions);
    doom(stack, 2, templates);
    doom(stack, 2, targets);
    // A group whose rules name another goes before that other: `…-web` sorts before `…-web-lb`.
    doom_in_turn(stack, 3, firewalls);
    doom(stack, 3, profiles);
    doom(stack, 3, logs);
    doom(stack, 4, roles);
    doom(stack, 4, tables);
    doom(stack, 4, buckets);
    Ok(())
}

fn doom<R: Resource<Cloud = Aws>>(stack: &mut Stack<Aws>, rank: usize, doomed: Vec<R>) {
    doomed.into_iter().for_each(|resource| stack.doom(rank, resource));
}

fn doom_in_turn(stack: &mut Stack<Aws>, rank: usize, mut doomed: Vec<security_group::SecurityGroup>) {
    doomed.sort_by(|a, b| a.name.cmp(&b.name));
    doom(stack, rank, doomed);
}
