//! One file per kind.

pub mod artifact;
pub mod auto_scaling_group;
pub mod bucket;
pub mod default_action;
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
    engine::{Fault, Resource, Stack, look},
};

/// Finds everything that carries the stack's tag and marks what the page does not want for removal. Listeners with
/// their actions, policies, permissions and notifications live inside what is listed here and go with it.
pub async fn doom_orphans(stack: &mut Stack<Aws>, aws: &Aws) -> Result<(), Fault> {
    // The artifact bucket is the first to come and the last to go: without it there is nothing to look for.
    let buckets = bucket::Bucket::names(aws, stack.name()).await?;
    if buckets.is_empty() {
        return Ok(());
    }
    let wanted = stack.names::<bucket::Bucket>();
    let buckets = buckets.into_iter().filter(|name| !wanted.contains(name));
    let (groups, balancers, templates, targets, functions) = futures::try_join!(
        unwanted::<auto_scaling_group::AutoScalingGroup>(stack, aws),
        unwanted::<load_balancer::LoadBalancer>(stack, aws),
        unwanted::<launch_template::LaunchTemplate>(stack, aws),
        unwanted::<target_group::TargetGroup>(stack, aws),
        unwanted::<function::Function>(stack, aws),
    )?;
    let (mut firewalls, profiles, roles, logs, tables, buckets) = futures::try_join!(
        unwanted::<security_group::SecurityGroup>(stack, aws),
        unwanted::<instance_profile::InstanceProfile>(stack, aws),
        unwanted::<role::Role>(stack, aws),
        unwanted::<log_group::LogGroup>(stack, aws),
        unwanted::<table::Table>(stack, aws),
        bucket::Bucket::of_stack(aws, stack.name(), buckets),
    )?;
    doom(stack, groups);
    doom(stack, balancers);
    doom(stack, functions);
    doom(stack, templates);
    doom(stack, targets);
    // A group whose rules name another goes before that other: `…-web-8080` sorts before `…-web-lb`.
    firewalls.sort_by(|a, b| a.name.cmp(&b.name));
    doom(stack, firewalls);
    doom(stack, profiles);
    doom(stack, logs);
    doom(stack, roles);
    doom(stack, tables);
    doom(stack, buckets);
    Ok(())
}

async fn unwanted<R: Resource<Cloud = Aws>>(stack: &Stack<Aws>, aws: &Aws) -> Result<Vec<R>, Fault> {
    let wanted = stack.names::<R>();
    look(|| R::owned(aws, stack.name(), &wanted)).await
}

fn doom<R: Resource<Cloud = Aws>>(stack: &mut Stack<Aws>, doomed: Vec<R>) {
    doomed.into_iter().for_each(|resource| stack.doom(resource));
}
