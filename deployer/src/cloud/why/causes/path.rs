//! Causes between the load balancer, or the elastic IP address, and the instances.

use crate::cloud::why::evidence::Evidence;

pub(super) fn detached(it: &Evidence) -> Option<String> {
    let (group, wiring) = (it.group.as_ref()?.as_ref()?, it.wiring.as_ref()?);
    let is_there = wiring.target_group.is_empty() || group.target_groups.contains(&wiring.target_group);
    (!is_there).then(|| "its target group is not attached to its Auto Scaling group".into())
}

pub(super) fn no_address(it: &Evidence) -> Option<String> {
    let wiring = it.wiring.as_ref().filter(|wiring| wiring.is_direct && wiring.address.is_none())?;
    wiring.host.is_empty().then(|| "its elastic IP address does not exist".into())
}

pub(super) fn address_not_taken(it: &Evidence) -> Option<String> {
    let address = it.wiring.as_ref()?.address.as_ref()?;
    let runs = |id: &str| it.instances.iter().any(|one| one.id == id && one.state == "running");
    let is_taken = address.instance.as_deref().is_some_and(runs);
    let alive = it.instances.iter().find(|one| one.state == "running")?;
    (!is_taken).then(|| format!("its instance {} has not taken the address {}", alive.id, address.public_ip))
}

pub(super) fn no_listener(it: &Evidence) -> Option<String> {
    it.wiring.as_ref().filter(|it| !it.listens).map(|_| "its load balancer has no listener on its port".into())
}

pub(super) fn listener_elsewhere(it: &Evidence) -> Option<String> {
    let wiring = it.wiring.as_ref().filter(|it| it.listens && !it.forwards)?;
    // During a move to another port, the listener still forwards to the old targets.
    let is_rolled_out =
        it.targets.iter().any(|target| target.state == "healthy") || it.target(&["Target.NotInUse"]).is_some();
    (is_rolled_out && !wiring.target_group.is_empty()).then(|| match wiring.has_rule {
        true => "no rule of the listener forwards to its target group".into(),
        false => "its listener forwards to another target group".into(),
    })
}

pub(super) fn firewall(it: &Evidence) -> Option<String> {
    let closed = it.wiring.as_ref()?.admits == Some(false);
    closed.then(|| format!("the security group of its instances does not admit the load balancer on port {}", it.port))
}
