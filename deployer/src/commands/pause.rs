//! `pause`: switches the services off. Data, functions and logs are kept.

use std::collections::BTreeMap;

use super::{Session, lease::Acquisition, unless_stopped};
use crate::{
    cloud::aws::Aws,
    commands::cli::{Global, Pause},
    cost::{
        Fleet, address_monthly, balancer_monthly,
        prices::{dollars, prices},
    },
    engine::{Fault, Names, Observed, Plan, Resource as _, Stack, Step, Tags, look},
    kinds::{
        auto_scaling_group::{self, AutoScalingGroup},
        load_balancer::{self, LoadBalancer},
    },
    output::{
        exit::{Exit, Failure},
        report::{self, Values},
        utc::timestamp,
    },
    page,
};

pub async fn run(global: &Global, args: &Pause) -> Result<Exit, Failure> {
    let session = Session::open_without_network(global).await?;
    let paused = pause(&session, global, args).await;
    paused.map_err(|failure| session.ended(failure))
}

/// The way to a paused stack: the groups and load balancers alone, so that nothing else is changed.
struct Way {
    stack: Stack<Aws>,
    plan: Plan,
    /// When the stack was paused.
    since: String,
    /// The savings in US dollars a month; `None` if an instance type has no price.
    saves: Option<f64>,
}

async fn pause(session: &Session, global: &Global, args: &Pause) -> Result<Exit, Failure> {
    let now = timestamp(report::now_s()).unwrap_or_default();
    let seen = unless_stopped(way(session, &now)).await?;
    refuse_protected(&seen.plan)?;
    if seen.plan.lines.is_empty() {
        report::say("nothing to pause: no service is deployed");
        return Ok(Exit::Done);
    }
    if seen.plan.is_empty() {
        session.sweep().await;
        report::say(format!("nothing to do: paused since {}", seen.since));
        return Ok(Exit::Done);
    }
    if !is_agreed(session, args, &seen).await? {
        report::say("nothing was changed");
        return Ok(Exit::Done);
    }
    let (Acquisition::AtOnce(lease) | Acquisition::AfterWait(lease)) =
        session.acquire_lease("pause", args.wait).await?
    else {
        return Err(Failure::new(Exit::Failed, anyhow::anyhow!("the stack has no artifact bucket"))
            .hint("`deployer ls` shows how to remove the rest"));
    };
    let way = match again(session, args, &now, &seen).await {
        Ok(Some(way)) => way,
        ended => {
            session.release_lease(Some(lease)).await;
            report::say("nothing was changed");
            return ended.map(|_| Exit::Done);
        }
    };
    let Way { stack, plan, saves, .. } = way;
    // The groups first, so that requests that are being answered can end; then the load balancers.
    let exit = session.conclude(session.apply_under_lease(&stack, plan, lease).await?);
    session.timing(global);
    session.tally(global);
    if exit == Exit::Done {
        let saved = saves.filter(|saved| *saved > 0.0);
        let saved = saved.map(|saved| format!("; this saves about {} a month", dollars(saved))).unwrap_or_default();
        report::say(format!("paused{saved}"));
        let local = session.local_option();
        report::say(format!("`deployer resume{local}` brings the services back, at another address"));
    }
    Ok(exit)
}

/// Refuses before anything is changed: a protected load balancer cannot be removed.
fn refuse_protected(plan: &Plan) -> Result<(), Failure> {
    let protected = plan.lines.iter().find(|line| line.step == Step::Protected);
    protected.map_or(Ok(()), |line| {
        let message = format!("{}: protected against deletion, so nothing was changed", line.address);
        Err(Failure::new(Exit::Failed, anyhow::anyhow!(message))
            .hint("set `load_balancer: { protect: false }` for its service, run `up`, and pause again"))
    })
}

/// Reads again under the lease. If the way differs from the one that was shown, shows it and asks again.
async fn again(session: &Session, args: &Pause, now: &str, seen: &Way) -> Result<Option<Way>, Failure> {
    let way = unless_stopped(way(session, now)).await?;
    refuse_protected(&way.plan)?;
    if way.plan.is_like(&seen.plan) {
        return Ok(Some(way));
    }
    report::say("the stack has changed in the meantime:");
    Ok(is_agreed(session, args, &way).await?.then_some(way))
}

async fn is_agreed(session: &Session, args: &Pause, way: &Way) -> Result<bool, Failure> {
    report::plan(&way.plan, Values::Hidden, &|path| session.place(path));
    if let Some(saves) = way.saves {
        let words = prices().words(&session.site.region);
        report::say(format!("cost: - {} a month ({words})", dollars(saves)));
    }
    report::say("data, functions and logs are kept; the address of each service changes when it is resumed");
    Ok(args.yes || unless_stopped(report::confirm("Go ahead?")).await?)
}

/// Plans the pause of every group and load balancer of the stack, also of services that `stack.yaml` has no longer.
async fn way(session: &Session, now: &str) -> Result<Way, Failure> {
    let found = found(session).await;
    let (groups, balancers) = found.map_err(|fault| session.failed("look for the services", fault))?;
    let names: BTreeMap<String, String> = page::resource_names(&session.config, &session.site)
        .services
        .into_iter()
        .map(|service| (service.group, service.service))
        .collect();
    let mut stack = Stack::without_anchor(session.config.name.to_string(), Tags::new());
    let mut since = now.to_owned();
    let mut saves: Option<f64> = Some(balancers.iter().map(|(_, addresses)| balancer_monthly(*addresses)).sum());
    for (name, settings) in groups {
        let key = names.get(&name).unwrap_or(&name).clone();
        saves = saves.and_then(|saves| Some(saves + instances_cost(session, &key, &settings)?));
        since = settings.paused.clone().into_iter().chain([since]).min().unwrap_or_default();
        let paused = settings.paused.clone().or_else(|| Some(now.to_owned()));
        let want = auto_scaling_group::Settings { min: 0, max: 0, paused, ends: None, ..settings };
        stack.section(format!("services.{key}"));
        let group = AutoScalingGroup { empties: true, ..AutoScalingGroup::named(&name) };
        stack.add(key, group, (), move |()| want.clone());
    }
    balancers.into_iter().for_each(|(balancer, _)| stack.doom(balancer));
    let plan = stack.plan(&session.aws, None).await.map_err(|error| session.located(error))?;
    session.note(plan.span);
    session.see(&plan);
    Ok(Way { stack, plan, since, saves })
}

/// The groups and load balancers that exist: the settings of each group, and the number of public addresses of each load
/// balancer.
type Found = (Vec<(String, auto_scaling_group::Settings)>, Vec<(LoadBalancer, usize)>);

async fn found(session: &Session) -> Result<Found, Fault> {
    let (aws, stack, none) = (&session.aws, session.config.name.as_str(), Names::new());
    let (groups, balancers) = futures::try_join!(
        look(|| AutoScalingGroup::owned(aws, stack, &none)),
        look(|| LoadBalancer::owned(aws, stack, &none)),
    )?;
    let (mut live_groups, mut live_balancers) = (Vec::new(), Vec::new());
    for group in groups {
        if let Observed::Present(live) = look(|| group.read(aws)).await? {
            live_groups.push((group.name, live.settings));
        }
    }
    for balancer in balancers {
        let addresses = match look(|| balancer.read(aws)).await? {
            Observed::Present(live) if live.settings.scheme == load_balancer::INTERNAL => 0,
            Observed::Present(live) => live.settings.subnets.len(),
            Observed::Settling(_) => crate::cost::ZONES,
            Observed::Absent => continue,
        };
        live_balancers.push((balancer, addresses));
    }
    Ok((live_groups, live_balancers))
}

/// The price of a month of the instances of a group; `None` if it is unknown.
fn instances_cost(session: &Session, service: &str, settings: &auto_scaling_group::Settings) -> Option<f64> {
    let instances = u32::try_from(settings.min).unwrap_or_default();
    if instances == 0 {
        return Some(0.0);
    }
    let (_, service) = session.config.services.iter().find(|(entry, _)| entry.as_str() == service)?;
    let fleet = Fleet {
        instances,
        has_group: false,
        has_balancer: false,
        ..Fleet::described(service, 0, page::usual_bake_minutes(&session.site))
    };
    // Its address is kept, so that it is the same when the service is back.
    let stays = if service.is_direct { address_monthly() } else { 0.0 };
    fleet.monthly().map(|monthly| monthly - stays)
}
