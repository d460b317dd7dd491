//! The control loop: makes the actual state match the desired state, and records the actual state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::autoscaling::{Profiles, Samples, profiles_needed, reconcile, run_due, track};
use super::balancer::Requests;
use super::clock::Moment;
use super::cloudwatch::{evaluate, minute};
use super::instance::Machine;
use super::state::{AutoScalingGroup, InstanceState, Interface, LoadBalancer, State, TargetGroup, Tracking};
use chaos::ChaosKind;

use super::{Compute, Site, address, balancer, ec2, elb, health, instance};
use kit::process;

/// How often the loop runs while something is changing, and while nothing is.
const BUSY: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);

/// How many seconds a load balancer is provisioned, and how many its network interfaces outlive it, before scaling by
/// the speed (docs/aws.md §13).
const PROVISIONING_S: u64 = 150;
const LINGERING_S: u64 = 60;

/// With `ChaosKind::EniLinger`, network interfaces outlive it for this long up to twice as long (docs/aws.md §9.6).
const LONG_LINGERING_S: u64 = 1050;

/// EC2 shows a terminated instance for about an hour.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The tasks of load balancers, each of which ends when its token is cancelled, and the latest measurements.
#[derive(Default)]
struct Running {
    /// By listener.
    fronts: BTreeMap<String, CancellationToken>,
    /// By the allocation of an elastic IP address.
    addresses: BTreeMap<String, CancellationToken>,
    /// By target group and target.
    checks: BTreeMap<(String, String), CancellationToken>,
    samples: Samples,
    /// The CPU seconds of each instance at the last measurement.
    used: BTreeMap<String, f64>,
    measured: Option<Instant>,
    /// The minute for which alarms were last evaluated.
    evaluated: Option<u64>,
}

/// Runs until compute stops, then ends everything.
pub async fn run(compute: Arc<Compute>) {
    let mut running = Running::default();
    loop {
        let profiles = profiles(&compute).await;
        evaluate_alarms(&compute, &mut running);
        let busy = compute.change(|state, site| {
            age(state, site, &compute.requests, Moment::now());
            run_due(state, Moment::now());
            reconcile(state, site, &profiles);
            ec2::enforce_lab(state, site);
            is_busy(state)
        });
        machines(&compute);
        fronts(&compute, &mut running);
        addresses(&compute, &mut running);
        checks(&compute, &mut running);
        measure(&compute, &mut running);
        tokio::select! {
            () = compute.stop.cancelled() => break,
            () = compute.wake.notified() => (),
            () = sleep(if busy { BUSY } else { IDLE }) => (),
        }
    }
    for token in running.fronts.values().chain(running.addresses.values()).chain(running.checks.values()) {
        token.cancel();
    }
    for machine in compute.machines().values() {
        machine.stop();
    }
}

/// Looks up the instance profiles that launches may need.
async fn profiles(compute: &Compute) -> Profiles {
    let mut found = Profiles::new();
    for name in compute.read(profiles_needed) {
        let profile = compute.roles.profile(&name).await;
        found.insert(name, profile);
    }
    found
}

/// Returns how long a network interface outlives its load balancer.
fn lingering(site: &Site, one: &Interface) -> Duration {
    let name = one.load_balancer.split('/').nth(2).unwrap_or_default();
    match site.chaos.borrow().lot(ChaosKind::EniLinger, name) {
        Some(lot) => site.speed.takes(LONG_LINGERING_S).mul_f64(1.0 + lot),
        None => site.speed.takes(LINGERING_S),
    }
}

/// The minimum time in seconds for requests to finish, unless the deregistration delay is shorter.
const FINISHING_S: u64 = 60;

/// Returns how long a draining target may finish its requests. Requests take real time even if everything else runs
/// faster, hence the minimum. A target without requests is removed at once.
fn draining(site: &Site, delay_s: u64) -> Duration {
    site.speed.lasts(delay_s).max(Duration::from_secs(delay_s.min(FINISHING_S)))
}

/// Makes the transitions that happen without a request.
fn age(state: &mut State, site: &Site, requests: &Requests, now: Moment) {
    for one in state.load_balancers.values_mut() {
        one.active |= one.created.age_at(now) >= site.speed.takes(PROVISIONING_S);
    }
    state.interfaces.retain(|_, one| one.orphaned.is_none_or(|since| since.age_at(now) < lingering(site, one)));
    for group in state.target_groups.values_mut() {
        let patience = draining(site, elb::deregistration_delay_s(group));
        let TargetGroup { arn, targets, .. } = group;
        targets.retain(|key, target| {
            let stays = target.draining.is_none_or(|since| requests.has_open(arn, key) && since.age_at(now) < patience);
            if !stays {
                requests.forget(arn, key);
            }
            stays
        });
    }
    let forgotten: Vec<String> = state
        .instances
        .values()
        .filter(|one| one.ended.is_some_and(|ended| ended.age_at(now) > REMEMBERED))
        .map(|one| one.id.clone())
        .collect();
    for id in forgotten {
        let volumes = state.instances.remove(&id).map(|one| one.volumes).unwrap_or_default();
        for part in volumes.iter().map(|volume| &volume.id).chain([&id, &ec2::interface_of(&id)]) {
            state.tags.remove(part);
        }
        drop(std::fs::remove_dir_all(site.instance_dir(&id)));
    }
}

/// Returns whether something will soon change on its own.
fn is_busy(state: &State) -> bool {
    let provisioning = state.load_balancers.values().any(|one| !one.active);
    let lingering = state.interfaces.values().any(|one| one.orphaned.is_some());
    let draining =
        state.target_groups.values().flat_map(|group| group.targets.values()).any(|one| one.draining.is_some());
    let settling = state.instances.values().any(|one| {
        let waits_for_group = one.group.is_some() && one.state == InstanceState::Running && one.in_service.is_none();
        matches!(one.state, InstanceState::Pending | InstanceState::ShuttingDown | InstanceState::Stopping)
            || one.leaving && !one.is_gone()
            || one.rebooting
            || waits_for_group
    });
    let moving =
        state.groups.values().any(|group| group.deleting || group.refresh().is_some() || !group.cause.is_empty());
    provisioning || lingering || draining || settling || moving
}

/// Starts the instances that should run and stops those that should not.
fn machines(compute: &Arc<Compute>) {
    if compute.stop.is_cancelled() {
        return;
    }
    let instances: Vec<(String, InstanceState, bool)> =
        compute.read(|state| state.instances.values().map(|one| (one.id.clone(), one.state, one.rebooting)).collect());
    for (id, state, rebooting) in instances {
        let machine = compute.machines().get(&id).cloned();
        match (state, machine) {
            (InstanceState::Pending | InstanceState::Running, None) => power_on(compute, id),
            (InstanceState::Running, Some(machine)) if rebooting => reboot(compute, &id, &machine),
            (InstanceState::ShuttingDown | InstanceState::Stopping, Some(machine)) => machine.stop(),
            (InstanceState::ShuttingDown | InstanceState::Stopping, None) => close(compute, &id),
            _ => (),
        }
    }
}

/// Ends the processes. The instance should still run, so the loop starts them again.
fn reboot(compute: &Compute, id: &str, machine: &Machine) {
    compute.change(|state, _| {
        if let Some(one) = state.instances.get_mut(id) {
            one.rebooting = false;
        }
    });
    machine.stop();
}

fn power_on(compute: &Arc<Compute>, id: String) {
    let machine = Machine::default();
    compute.machines().insert(id.clone(), machine.clone());
    let compute = compute.clone();
    compute.tasks.clone().spawn(async move {
        instance::run(compute.clone(), id.clone(), machine).await;
        compute.machines().remove(&id);
        let is_over = compute.read(|state| state.instances.get(&id).is_some_and(|one| !one.is_alive()));
        if is_over {
            close(&compute, &id);
        }
        compute.wake.notify_one();
    });
}

/// Handles the end of an instance. If it was terminated, its disk is deleted; its console is kept as long as its
/// record.
fn close(compute: &Compute, id: &str) {
    let is_stopped = compute.change(|state, _| match state.instances.get_mut(id) {
        Some(one) if one.state == InstanceState::Stopping => {
            one.state = InstanceState::Stopped;
            true
        }
        Some(one) => one.state == InstanceState::Stopped,
        None => true,
    });
    if is_stopped {
        return;
    }
    drop(std::fs::remove_dir_all(compute.site.instance_dir(id).join("root")));
    compute.change(|state, _| {
        if let Some(one) = state.instances.get_mut(id) {
            one.state = InstanceState::Terminated;
            one.ended.get_or_insert_with(Moment::now);
        }
        ec2::leave_address(state, id);
    });
}

/// Opens and closes the ports of listeners.
fn fronts(compute: &Arc<Compute>, running: &mut Running) {
    let wanted: BTreeMap<String, u16> = compute.read(|state| {
        let serves = |one: &LoadBalancer| one.active && elb::is_reachable(state, &compute.site, one);
        let serves = |arn: &str| state.load_balancers.get(arn).is_some_and(serves);
        let listeners = state.listeners.values().filter(|one| serves(&one.load_balancer));
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

/// Opens and closes the ports of elastic IP addresses.
fn addresses(compute: &Arc<Compute>, running: &mut Running) {
    let wanted: BTreeMap<String, u16> =
        compute.read(|state| state.addresses.values().map(|one| (one.allocation.clone(), one.port)).collect());
    running.addresses.retain(|allocation, token| keep_if(wanted.contains_key(allocation), token));
    for (allocation, port) in wanted {
        if running.addresses.contains_key(&allocation) {
            continue;
        }
        let Some(socket) = compute.site.ports.socket(port) else {
            continue;
        };
        let token = CancellationToken::new();
        compute.tasks.spawn(address::serve(compute.clone(), allocation.clone(), socket, token.clone()));
        running.addresses.insert(allocation, token);
    }
}

/// Starts and ends the health checks of targets.
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

/// Measures the metrics of target tracking once a second.
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
    let value = |state: &State, group: &AutoScalingGroup, tracking: &Tracking| match tracking.metric.as_str() {
        "ASGAverageCPUUtilization" => mean_load(state, group, &used),
        "ALBRequestCountPerTarget" => requests_a_minute(compute, state, group, tracking, elapsed),
        _ => None,
    };
    compute.change(|state, site| track(state, site.speed, &mut running.samples, value));
}

/// Evaluates the alarms once a minute of AWS time.
fn evaluate_alarms(compute: &Compute, running: &mut Running) {
    let (last, now) = (running.evaluated, Moment::now());
    let has_alarms = compute.read(|state| !state.alarms.is_empty());
    if has_alarms && last != Some(minute(now, compute.site.speed)) {
        let evaluated = |state: &mut State, site: &Site| evaluate(state, site.speed, &compute.metrics, last, now);
        running.evaluated = Some(compute.change(evaluated));
    }
}

fn processor_seconds(compute: &Compute) -> BTreeMap<String, f64> {
    let machines = compute.machines().clone();
    let used = |machine: &Machine| machine.processes().into_iter().map(process::processor_seconds).sum::<Option<f64>>();
    machines.iter().filter_map(|(id, machine)| Some((id.clone(), used(machine)?))).collect()
}

/// Returns the mean CPU utilization of a group's instances, in percent of their type's capacity.
fn mean_load(state: &State, group: &AutoScalingGroup, used: &BTreeMap<String, f64>) -> Option<f64> {
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
    group: &AutoScalingGroup,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::site;
    use crate::state::{Health, HealthCheck, Target};
    use chaos::Chaos;

    const ARN: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";

    /// Returns a load balancer created, and an interface orphaned, at the same moment.
    fn begun(at: Moment) -> State {
        let one = LoadBalancer {
            arn: ARN.to_owned(),
            name: "web".to_owned(),
            scheme: String::new(),
            ip_address_type: String::new(),
            subnets: Vec::new(),
            security_groups: Vec::new(),
            created: at,
            active: false,
            port: 0,
            attributes: BTreeMap::new(),
            web_acl: None,
        };
        let interface = Interface {
            id: "eni-1".to_owned(),
            description: String::new(),
            subnet: String::new(),
            address: String::new(),
            security_groups: Vec::new(),
            load_balancer: ARN.to_owned(),
            orphaned: Some(at),
        };
        let mut state = State::default();
        state.load_balancers.insert(ARN.to_owned(), one);
        state.interfaces.insert("eni-1".to_owned(), interface);
        state
    }

    /// Returns whether the load balancer is active, and whether the interface is gone, after this time.
    fn after(millis: u64, speed: &str, kinds: &[ChaosKind]) -> (bool, bool) {
        let begin = Moment::default();
        let chaos = Chaos { kinds: kinds.iter().copied().collect(), seed: 1 };
        let mut state = begun(begin);
        let now = begin.after(Duration::from_millis(millis));
        age(&mut state, &site(speed.parse().unwrap(), chaos), &Requests::default(), now);
        (state.load_balancers[ARN].active, state.interfaces.is_empty())
    }

    #[test]
    fn a_load_balancer_is_provisioned_and_its_interfaces_stay_for_the_scaled_time() {
        assert_eq!(after(149_999, "real", &[]), (false, true));
        assert_eq!(after(150_000, "real", &[]), (true, true));
        assert_eq!(after(59_999, "real", &[]), (false, false));
        assert_eq!(after(299, "fast", &[]), (false, true));
        assert_eq!(after(300, "fast", &[]), (true, true));
        assert_eq!(after(1_499, "100", &[]), (false, true));
        assert_eq!(after(1_500, "100", &[]), (true, true));
    }

    /// Returns whether a draining target with `open` requests is still registered after this time.
    fn drains(open: usize, delay_s: u64, speed: &str, millis: u64) -> bool {
        let begin = Moment::default();
        let target = Target { id: "i-1".to_owned(), port: 80, health: Health::Healthy, draining: Some(begin) };
        let delay = ("deregistration_delay.timeout_seconds".to_owned(), delay_s.to_string());
        let group = TargetGroup {
            arn: "web".to_owned(),
            name: String::new(),
            protocol: String::new(),
            protocol_version: String::new(),
            port: 80,
            vpc: String::new(),
            target_type: String::new(),
            check: HealthCheck::default(),
            attributes: BTreeMap::from([delay]),
            targets: BTreeMap::from([("i-1:80".to_owned(), target)]),
        };
        let mut state = State::default();
        state.target_groups.insert(group.arn.clone(), group);
        let requests = Requests::default();
        let _open: Vec<_> = (0..open).map(|_| requests.of("web", "i-1:80").begin()).collect();
        let now = begin.after(Duration::from_millis(millis));
        age(&mut state, &site(speed.parse().unwrap(), Chaos::default()), &requests, now);
        !state.target_groups["web"].targets.is_empty()
    }

    #[test]
    fn a_request_has_the_whole_deregistration_delay_at_every_speed_and_at_most_a_minute_at_a_higher_one() {
        for (open, delay_s, speed, millis, expected) in [
            (1, 30, "fast", 29_999, true),
            (1, 30, "fast", 30_000, false),
            (1, 300, "fast", 59_999, true),
            (1, 300, "fast", 60_000, false),
            (1, 300, "real", 299_999, true),
            (1, 0, "fast", 1, false),
            (0, 300, "real", 1, false),
        ] {
            assert_eq!(drains(open, delay_s, speed, millis), expected, "{open} {delay_s} {speed} {millis}");
        }
    }

    #[test]
    fn with_chaos_network_interfaces_stay_for_half_an_hour() {
        assert_eq!(after(1_049_999, "real", &[ChaosKind::EniLinger]), (true, false));
        assert_eq!(after(2_100_000, "real", &[ChaosKind::EniLinger]), (true, true));
    }
}
