//! The loop: what the state wants is made real, and what is real is told to the state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::autoscaling::{Samples, reconcile, track};
use super::clock::{Moment, local};
use super::instance::Machine;
use super::state::{Group, InstanceState, State, TargetGroup, Tracking};
use super::{Compute, LINGER, Site, balancer, ec2, elb, health, instance, process};

/// How often the loop looks around while something moves, and while nothing does.
const BUSY: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);

/// EC2 shows a terminated instance for about an hour.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What runs for the load balancers: each of these ends with its token.
#[derive(Default)]
struct Running {
    /// By listener.
    fronts: BTreeMap<String, CancellationToken>,
    /// By target group and target.
    checks: BTreeMap<(String, String), CancellationToken>,
    samples: Samples,
    /// The processor seconds of each instance at the last look.
    used: BTreeMap<String, f64>,
    measured: Option<Instant>,
}

/// Works until compute stops, and ends everything then.
pub async fn run(compute: Arc<Compute>) {
    let mut running = Running::default();
    loop {
        let busy = compute.change(|state, site| {
            age(state, site, &compute);
            reconcile(state, site);
            is_busy(state)
        });
        machines(&compute);
        fronts(&compute, &mut running);
        checks(&compute, &mut running);
        measure(&compute, &mut running);
        tokio::select! {
            () = compute.stop.cancelled() => break,
            () = compute.wake.notified() => (),
            () = sleep(if busy { BUSY } else { IDLE }) => (),
        }
    }
    for token in running.fronts.values().chain(running.checks.values()) {
        token.cancel();
    }
    for machine in compute.machines().values() {
        machine.stop();
    }
}

/// What time alone changes.
fn age(state: &mut State, site: &Site, compute: &Compute) {
    for one in state.load_balancers.values_mut() {
        one.active |= one.created.age() >= LINGER;
    }
    state.interfaces.retain(|_, one| one.orphaned.is_none_or(|since| since.age() < LINGER));
    for group in state.target_groups.values_mut() {
        let patience = local(elb::deregistration_delay_s(group));
        let TargetGroup { arn, targets, .. } = group;
        targets.retain(|key, target| match target.draining {
            Some(since) => compute.requests.has_open(arn, key) && since.age() < patience,
            None => true,
        });
    }
    let forgotten: Vec<String> = state
        .instances
        .values()
        .filter(|one| one.ended.is_some_and(|ended| ended.age() > REMEMBERED))
        .map(|one| one.id.clone())
        .collect();
    for id in forgotten {
        state.instances.remove(&id);
        state.tags.remove(&id);
        drop(std::fs::remove_dir_all(site.instance_dir(&id)));
    }
}

/// Whether something will change soon by itself.
fn is_busy(state: &State) -> bool {
    let provisioning = state.load_balancers.values().any(|one| !one.active);
    let lingering = state.interfaces.values().any(|one| one.orphaned.is_some());
    let draining =
        state.target_groups.values().flat_map(|group| group.targets.values()).any(|one| one.draining.is_some());
    let settling = state.instances.values().any(|one| {
        let waits_for_group = one.group.is_some() && one.state == InstanceState::Running && one.in_service.is_none();
        matches!(one.state, InstanceState::Pending | InstanceState::ShuttingDown)
            || one.leaving && one.is_alive()
            || waits_for_group
    });
    let moving =
        state.groups.values().any(|group| group.deleting || group.refresh().is_some() || !group.cause.is_empty());
    provisioning || lingering || draining || settling || moving
}

/// Starts the instances that should run and ends those that should not.
fn machines(compute: &Arc<Compute>) {
    if compute.stop.is_cancelled() {
        return;
    }
    let instances: Vec<(String, InstanceState)> =
        compute.read(|state| state.instances.values().map(|one| (one.id.clone(), one.state)).collect());
    for (id, state) in instances {
        let machine = compute.machines().get(&id).cloned();
        match (state, machine) {
            (InstanceState::Pending | InstanceState::Running, None) => power_on(compute, id),
            (InstanceState::ShuttingDown, Some(machine)) => machine.stop(),
            (InstanceState::ShuttingDown, None) => close(compute, &id),
            _ => (),
        }
    }
}

fn power_on(compute: &Arc<Compute>, id: String) {
    let machine = Machine::default();
    compute.machines().insert(id.clone(), machine.clone());
    let compute = compute.clone();
    compute.tasks.clone().spawn(async move {
        instance::run(compute.clone(), id.clone(), machine).await;
        compute.machines().remove(&id);
        let terminated = compute.read(|state| state.instances.get(&id).is_some_and(|one| !one.is_alive()));
        if terminated {
            close(&compute, &id);
        }
        compute.wake.notify_one();
    });
}

/// An instance has ended: its disk goes, its console stays as long as its record.
fn close(compute: &Compute, id: &str) {
    drop(std::fs::remove_dir_all(compute.site.instance_dir(id).join("root")));
    compute.change(|state, _| {
        if let Some(one) = state.instances.get_mut(id) {
            one.state = InstanceState::Terminated;
            one.ended.get_or_insert_with(Moment::now);
        }
    });
}

/// Opens and closes the ports of listeners.
fn fronts(compute: &Arc<Compute>, running: &mut Running) {
    let wanted: BTreeMap<String, u16> = compute.read(|state| {
        let active = |arn: &str| state.load_balancers.get(arn).is_some_and(|one| one.active);
        let listeners = state.listeners.values().filter(|one| active(&one.load_balancer));
        listeners.map(|one| (one.arn.clone(), one.local_port)).collect()
    });
    running.fronts.retain(|arn, token| keep_if(wanted.contains_key(arn), token));
    for (arn, port) in wanted {
        if running.fronts.contains_key(&arn) {
            continue;
        }
        let Some(socket) = compute.site.ports.socket(port) else {
            continue;
        };
        let token = CancellationToken::new();
        compute.tasks.spawn(balancer::serve(compute.clone(), arn.clone(), socket, token.clone()));
        running.fronts.insert(arn, token);
    }
}

/// Begins and ends the health checks of targets.
fn checks(compute: &Arc<Compute>, running: &mut Running) {
    let wanted: Vec<(String, String)> = compute.read(|state| {
        let pairs = |group: &TargetGroup| -> Vec<(String, String)> {
            group.targets.keys().map(|target| (group.arn.clone(), target.clone())).collect()
        };
        state.target_groups.values().flat_map(pairs).collect()
    });
    running.checks.retain(|key, token| keep_if(wanted.contains(key), token));
    for key in wanted {
        if running.checks.contains_key(&key) {
            continue;
        }
        let token = CancellationToken::new();
        let (group, target) = key.clone();
        compute.tasks.spawn(health::watch(compute.clone(), group, target, token.clone()));
        running.checks.insert(key, token);
    }
}

fn keep_if(wanted: bool, token: &CancellationToken) -> bool {
    if !wanted {
        token.cancel();
    }
    wanted
}

/// Once a second: looks at what target tracking follows.
fn measure(compute: &Arc<Compute>, running: &mut Running) {
    let tracked = compute.read(|state| state.groups.values().any(|group| !group.policies.is_empty()));
    let elapsed = running.measured.map(|since| since.elapsed());
    if !tracked || elapsed.is_some_and(|elapsed| elapsed < Duration::from_millis(990)) {
        return;
    }
    running.measured = Some(Instant::now());
    let before = std::mem::replace(&mut running.used, processor_seconds(compute));
    let Some(elapsed) = elapsed.map(|elapsed| elapsed.as_secs_f64()) else {
        return;
    };
    let used: BTreeMap<String, f64> = running
        .used
        .iter()
        .filter_map(|(id, now)| Some((id.clone(), (now - before.get(id)?).max(0.0) / elapsed)))
        .collect();
    let value = |state: &State, group: &Group, tracking: &Tracking| match tracking.metric.as_str() {
        "ASGAverageCPUUtilization" => mean_load(state, group, &used),
        "ALBRequestCountPerTarget" => requests_a_minute(compute, state, group, tracking, elapsed),
        _ => None,
    };
    compute.change(|state, _| track(state, &mut running.samples, value));
}

fn processor_seconds(compute: &Compute) -> BTreeMap<String, f64> {
    let machines = compute.machines().clone();
    let used = |machine: &Machine| machine.processes().into_iter().map(process::processor_seconds).sum::<Option<f64>>();
    machines.iter().filter_map(|(id, machine)| Some((id.clone(), used(machine)?))).collect()
}

/// The processor load of a group's instances in percent of what their type has.
fn mean_load(state: &State, group: &Group, used: &BTreeMap<String, f64>) -> Option<f64> {
    let members = state.members(&group.name);
    let loads: Vec<f64> = members
        .iter()
        .filter(|one| one.serves())
        .filter_map(|one| Some(used.get(&one.id)? * 100.0 / f64::from(ec2::find_type(&one.kind)?.processors())))
        .collect();
    (!loads.is_empty()).then(|| loads.iter().sum::<f64>() / loads.len() as f64)
}

fn requests_a_minute(
    compute: &Compute,
    state: &State,
    group: &Group,
    tracking: &Tracking,
    elapsed: f64,
) -> Option<f64> {
    let label = tracking.label.as_deref()?;
    let arn =
        group.target_groups.iter().find(|arn| arn.rsplit_once(':').is_some_and(|(_, part)| label.ends_with(part)))?;
    let serving = state.members(&group.name).into_iter().filter(|one| one.serves()).count();
    let total = compute.requests.take_total(arn) as f64;
    (serving > 0).then(|| total * 60.0 / elapsed / serving as f64)
}
