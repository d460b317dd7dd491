//! Every kind of resource; each has a file of its own.

pub mod origin;
pub mod tags;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use crate::{
    cloud::aws::Aws,
    engine::{AT_ONCE, AllTagged, Fault, Planned, RemovalOrder, Resource, STACK_TAG, Stack, Tagged, look},
    export::terraform::{self, Sheet, Terraform},
};

/// Declares the modules of the kinds and, from the same rows, the lists of kinds and the order of their removal.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $LIST:ident { $($rank:literal: $($module:ident::$Kind:ident),+;)+ })+) => {
        $($($(
            pub mod $module;

            impl RemovalOrder for $module::$Kind {
                const RANK: u8 = $rank;
            }
        )+)+)+

        $(
            $(#[$doc])+
            pub const $LIST: &[Kind] = &[$($(Kind::of::<$module::$Kind>()),+),+];
        )+
    };
}

// In order of removal: a kind precedes the kinds that it may use. A rule precedes the instances, so that they get no more
// requests.
kinds! {
    /// The kinds that `stack.yaml` describes.
    KINDS {
        0: rule::ListenerRule, rule_action::RuleAction;
        1: alias::Alias, auto_scaling_group::AutoScalingGroup, default_action::DefaultAction,
           notification::Notification, permissions::Permissions, scaling_policy::ScalingPolicy,
           validation_record::ValidationRecord;
        2: alarm::Alarm;
        3: function::Function, listener::Listener, load_balancer::LoadBalancer;
        4: certificate::Certificate, launch_template::LaunchTemplate, target_group::TargetGroup;
        5: artifact::Artifact, elastic_address::ElasticAddress, instance_profile::InstanceProfile, log_group::LogGroup,
           security_group::SecurityGroup, subnet::Subnet;
        6: bucket::Bucket, role::Role, route_table::RouteTable, table::Table;
        7: internet_gateway::InternetGateway;
        8: vpc::Vpc;
    }

    /// The kinds that `deployer secret` makes. `up` neither creates nor removes them, since only the user knows their
    /// values; `down` removes them.
    STORED_VALUES {
        6: parameter::Parameter, secret::Secret;
    }
}

/// A kind of resource, with its type forgotten.
pub struct Kind {
    /// Its name in plans, addresses and tags, such as `launch_template`.
    pub name: &'static str,
    search: Search,
    list: List,
    write: Write,
    write_owned: WriteOwned,
}

/// Finds resources that carry the stack's tag and are not wanted.
type Search = for<'a> fn(&'a Stack<Aws>, &'a Aws) -> BoxFuture<'a, Result<Orphans, Fault>>;

/// Lists resources that carry the tag of any stack.
type List = for<'a> fn(&'a Aws) -> BoxFuture<'a, Result<AllTagged, Fault>>;

/// Writes a resource of a plan for Terraform, if it is of this kind.
type Write = for<'a> fn(&'a Planned, &'a Aws, &'a mut Sheet) -> BoxFuture<'a, Result<(), Fault>>;

/// Writes the resources that carry the stack's tag for Terraform.
type WriteOwned = for<'a> fn(&'a str, &'a Aws, &'a mut Sheet) -> BoxFuture<'a, Result<(), Fault>>;

/// Marks the resources that were found for removal.
type Orphans = Box<dyn FnOnce(&mut Stack<Aws>) + Send>;

impl Kind {
    const fn of<R: Terraform>() -> Kind {
        Kind {
            name: R::KIND,
            search: |stack, aws| orphans::<R>(stack, aws).boxed(),
            list: |aws| of_any_stack::<R>(aws).boxed(),
            write: |line, aws, sheet| terraform::write_planned::<R>(line, aws, sheet).boxed(),
            write_owned: |stack, aws, sheet| terraform::write_owned::<R>(stack, aws, sheet).boxed(),
        }
    }

    /// Lists every resource of this kind in the region that carries the tag of any stack. A fault in the list
    /// represents a resource whose tags could not be read.
    pub async fn of_any_stack(&self, aws: &Aws) -> Result<AllTagged, Fault> {
        (self.list)(aws).await
    }
}

/// Writes a resource of a plan as a configuration of Terraform.
pub async fn write(line: &Planned, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
    match KINDS.iter().find(|kind| kind.name == line.address.kind) {
        Some(kind) => (kind.write)(line, aws, sheet).await,
        None => Ok(()),
    }
}

/// Writes the stack's secrets and parameters as a configuration of Terraform, without their values.
pub async fn write_stored_values(stack: &str, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
    for kind in STORED_VALUES {
        (kind.write_owned)(stack, aws, sheet).await?;
    }
    Ok(())
}

async fn of_any_stack<R: Resource<Cloud = Aws>>(aws: &Aws) -> Result<AllTagged, Fault> {
    let all = look(|| R::tagged(aws)).await?;
    let is_ours = |it: &Result<Tagged, Fault>| it.as_ref().map_or(true, |it| it.tags.contains_key(STACK_TAG));
    Ok(all.into_iter().filter(is_ours).collect())
}

/// Finds every resource that carries the stack's tag and marks those that the page does not want for removal. Listeners
/// with their actions, actions of rules, policies, permissions and notifications live inside these and are removed with them.
pub async fn doom_orphans(stack: &mut Stack<Aws>, aws: &Aws) -> Result<(), Fault> {
    // The artifact bucket is created first and removed last: without it the stack has no resources.
    let buckets = bucket::Bucket::names(aws, stack.name()).await?;
    if buckets.is_empty() {
        return Ok(());
    }
    let wanted = stack.names::<bucket::Bucket>();
    let buckets = buckets.into_iter().filter(|name| !wanted.contains(name));
    let others = KINDS.iter().filter(|kind| kind.name != bucket::Bucket::KIND);
    let others = stream::iter(others.map(|kind| (kind.search)(stack, aws))).buffered(AT_ONCE).try_collect::<Vec<_>>();
    let (others, buckets) = futures::try_join!(others, bucket::Bucket::of_stack(aws, stack.name(), buckets))?;
    others.into_iter().for_each(|doom| doom(stack));
    buckets.into_iter().for_each(|bucket| stack.doom(bucket));
    Ok(())
}

/// Marks the stack's secrets and parameters for removal. Returns the kinds that could not be listed, with the reason.
pub async fn doom_stored_values(stack: &mut Stack<Aws>, aws: &Aws) -> Vec<(&'static str, Fault)> {
    let mut unread = Vec::new();
    for kind in STORED_VALUES {
        match (kind.search)(stack, aws).await {
            Ok(doom) => doom(stack),
            Err(fault) => unread.push((kind.name, fault)),
        }
    }
    unread
}

async fn orphans<R: Resource<Cloud = Aws>>(stack: &Stack<Aws>, aws: &Aws) -> Result<Orphans, Fault> {
    let wanted = stack.names::<R>();
    let found = look(|| R::owned(aws, stack.name(), &wanted)).await?;
    Ok(Box::new(move |stack| found.into_iter().for_each(|orphan| stack.doom(orphan))))
}
