//! Instances in the API.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::addresses::public_ip;
use super::interfaces::{host, mac, of_instance, write_groups};
use super::network::{vpc_of, zone_id};
use super::volumes::write_mapping;
use super::{images, quotas, types};
use crate::clock::Moment;
use crate::state::{Instance, InstanceState, State};
use crate::{Site, instance};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

/// EC2 keeps the last 64 KiB of an instance's console.
const CONSOLE_LIMIT: usize = 64 * 1024;

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let found = matching(state, site, params)?;
    let mut xml = Xml::new();
    xml.set("reservationSet", found, |xml, one| {
        xml.text("reservationId", one.id.replacen("i-", "r-", 1)).text("ownerId", &site.account);
        xml.within("groupSet", |_| ());
        xml.set("instancesSet", [one], |xml, one| write(xml, state, site, one));
    });
    Ok(xml)
}

fn matching<'a>(state: &'a State, site: &Site, params: &Params) -> Result<Vec<&'a Instance>, ApiError> {
    let wanted = params.texts("InstanceId");
    for id in &wanted {
        by_id(state, id)?;
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for one in state.instances.values() {
        let (code, name) = one.state.code();
        let passes = filters.pass(state.tags_of(&one.id), |filter| match filter {
            "instance-id" => fact(&one.id),
            "instance-state-name" => fact(name),
            "instance-state-code" => fact(code),
            "instance-type" => fact(&one.kind),
            "image-id" => fact(&one.image),
            "instance.group-id" | "network-interface.group-id" | "group-id" => Some(one.security_groups.clone()),
            "vpc-id" => fact(vpc_of(state, site, &one.subnet)),
            "subnet-id" => fact(&one.subnet),
            "availability-zone" => fact(&one.zone),
            "private-ip-address" => fact(&one.address),
            "owner-id" => fact(&site.account),
            "iam-instance-profile.arn" => Some(one.shown_profile.iter().map(|profile| profile.arn.clone()).collect()),
            "iam-instance-profile.id" => Some(one.shown_profile.iter().map(|profile| profile.id.clone()).collect()),
            "architecture" => fact(architecture(site, one)),
            "block-device-mapping.volume-id" => Some(one.volumes.iter().map(|volume| volume.id.clone()).collect()),
            "launch-time" => fact(one.launched),
            "private-dns-name" => fact(host(&one.address)),
            "root-device-name" => fact(images::ROOT_DEVICE),
            "network-interface.network-interface-id" => fact(of_instance(&one.id)),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&one.id)) {
            found.push(one);
        }
    }
    Ok(found)
}

fn by_id<'a>(state: &'a State, id: &str) -> Result<&'a Instance, ApiError> {
    if !id.starts_with("i-") {
        return Err(ApiError::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    let message = || format!("The instance ID '{id}' does not exist");
    state.instances.get(id).ok_or_else(|| ApiError::new("InvalidInstanceID.NotFound", message()))
}

fn write(xml: &mut Xml, state: &State, site: &Site, one: &Instance) {
    xml.text("instanceId", &one.id).text("imageId", &one.image).text("instanceType", &one.kind);
    xml.within("instanceState", |xml| write_state(xml, one.state));
    let gone = one.state == InstanceState::Terminated;
    let public_ip = public_ip(state, one);
    let host = host(&one.address);
    xml.text("privateDnsName", if gone { "" } else { &host });
    xml.text("dnsName", if public_ip.is_some() { "localhost" } else { "" });
    xml.text("reason", if one.is_alive() { "" } else { "User initiated" });
    xml.text("amiLaunchIndex", 0).text("launchTime", one.launched);
    if !one.is_alive() {
        xml.within("stateReason", |xml| {
            xml.text("code", "Client.UserInitiatedShutdown")
                .text("message", "Client.UserInitiatedShutdown: User initiated shutdown");
        });
    }
    xml.set("productCodes", None::<()>, |_, ()| ()).maybe("clientToken", Some(&one.id).filter(|_| one.group.is_some()));
    xml.within("placement", |xml| {
        xml.text("availabilityZone", &one.zone).text("availabilityZoneId", zone_id(&one.zone));
        xml.text("groupName", "").text("tenancy", "default");
    });
    xml.within("monitoring", |xml| {
        xml.text("state", if one.settings.is_monitored { "enabled" } else { "disabled" });
    });
    if !gone {
        xml.text("subnetId", &one.subnet).text("vpcId", vpc_of(state, site, &one.subnet));
        xml.text("privateIpAddress", &one.address).maybe("ipAddress", public_ip);
    }
    write_groups(xml, state, if gone { &[] } else { &one.security_groups });
    xml.text("architecture", architecture(site, one)).text("rootDeviceType", "ebs");
    xml.text("rootDeviceName", images::ROOT_DEVICE).text("virtualizationType", "hvm").text("hypervisor", "xen");
    xml.text("ebsOptimized", one.settings.ebs_optimized).text("enaSupport", true).text("sourceDestCheck", true);
    xml.text("platformDetails", "Linux/UNIX").text("usageOperation", "RunInstances");
    xml.text("usageOperationUpdateTime", one.launched).text("bootMode", "uefi-preferred");
    xml.text("currentInstanceBootMode", "uefi");
    if !gone {
        write_mapping(xml, one);
        write_interface(xml, state, site, one);
    }
    if let Some(profile) = &one.shown_profile {
        xml.within("iamInstanceProfile", |xml| {
            xml.text("arn", &profile.arn).text("id", &profile.id);
        });
    }
    if let Some(kind) = types::find(&one.kind) {
        xml.within("cpuOptions", |xml| {
            xml.text("coreCount", kind.cores()).text("threadsPerCore", kind.threads_per_core());
        });
    }
    xml.within("metadataOptions", |xml| {
        let settings = &one.settings;
        xml.text("state", "applied").text("httpTokens", if settings.needs_token { "required" } else { "optional" });
        xml.text("httpPutResponseHopLimit", settings.hop_limit);
        xml.text("httpEndpoint", if settings.metadata_enabled { "enabled" } else { "disabled" });
        xml.text("httpProtocolIpv6", "disabled").text("instanceMetadataTags", "disabled");
    });
    for (part, field, value) in [
        ("capacityReservationSpecification", "capacityReservationPreference", "open"),
        ("enclaveOptions", "enabled", "false"),
        ("hibernationOptions", "configured", "false"),
        ("maintenanceOptions", "autoRecovery", "default"),
    ] {
        xml.within(part, |xml| {
            xml.text(field, value);
        });
    }
    xml.within("privateDnsNameOptions", |xml| {
        xml.text("hostnameType", "ip-name").text("enableResourceNameDnsARecord", false);
        xml.text("enableResourceNameDnsAAAARecord", false);
    });
    xml.tag_set(state.tags_of(&one.id));
}

fn architecture(site: &Site, one: &Instance) -> &'static str {
    images::find(site, &one.image).map_or("x86_64", |image| image.architecture)
}

fn write_interface(xml: &mut Xml, state: &State, site: &Site, one: &Instance) {
    let public_ip = public_ip(state, one);
    let is_elastic = state.addresses.values().any(|address| address.is_of(&one.id));
    let association = |xml: &mut Xml| {
        if let Some(public_ip) = &public_ip {
            xml.within("association", |xml| {
                xml.text("ipOwnerId", if is_elastic { site.account.as_str() } else { "amazon" });
                xml.text("publicDnsName", "localhost").text("publicIp", public_ip);
            });
        }
    };
    xml.set("networkInterfaceSet", [()], |xml, ()| {
        xml.text("networkInterfaceId", of_instance(&one.id))
            .text("subnetId", &one.subnet)
            .text("vpcId", vpc_of(state, site, &one.subnet));
        xml.text("description", &one.settings.interface).text("ownerId", &site.account).text("status", "in-use");
        xml.text("macAddress", mac(&one.address)).text("privateIpAddress", &one.address);
        xml.text("privateDnsName", host(&one.address)).text("sourceDestCheck", true).text("interfaceType", "interface");
        write_groups(xml, state, &one.security_groups);
        xml.within("attachment", |xml| {
            xml.text("attachmentId", of_instance(&one.id).replacen("eni-", "eni-attach-", 1)).text("deviceIndex", 0);
            xml.text("status", "attached").text("attachTime", one.launched).text("deleteOnTermination", true);
            xml.text("networkCardIndex", 0);
        });
        association(xml);
        xml.set("ipv6AddressesSet", None::<()>, |_, ()| ());
        xml.set("privateIpAddressesSet", [()], |xml, ()| {
            xml.text("privateIpAddress", &one.address).text("privateDnsName", host(&one.address)).text("primary", true);
            association(xml);
        });
    });
}

/// Returns a single attribute of an instance.
pub fn describe_attribute(state: &State, _site: &Site, params: &Params) -> Answer {
    let one = by_id(state, params.required("InstanceId")?)?;
    let attribute = params.required("Attribute")?;
    let settings = &one.settings;
    let mut xml = Xml::new();
    xml.text("instanceId", &one.id);
    let value = match attribute {
        "blockDeviceMapping" => {
            write_mapping(&mut xml, one);
            return Ok(xml);
        }
        "groupSet" => {
            write_groups(&mut xml, state, &one.security_groups);
            return Ok(xml);
        }
        "productCodes" => {
            xml.set("productCodes", None::<()>, |_, ()| ());
            return Ok(xml);
        }
        "disableApiStop" => Some(settings.may_not_stop.to_string()),
        "disableApiTermination" => Some(settings.may_not_terminate.to_string()),
        "ebsOptimized" => Some(settings.ebs_optimized.to_string()),
        "enaSupport" | "sourceDestCheck" => Some("true".to_owned()),
        "enclaveOptions" => {
            xml.within("enclaveOptions", |xml| {
                xml.text("enabled", false);
            });
            return Ok(xml);
        }
        "instanceInitiatedShutdownBehavior" => Some(settings.on_shutdown.clone()),
        "instanceType" => Some(one.kind.clone()),
        "kernel" | "ramdisk" => None,
        "rootDeviceName" => Some(images::ROOT_DEVICE.to_owned()),
        "sriovNetSupport" => Some("simple".to_owned()),
        "userData" => Some(&one.user_data).filter(|text| !text.is_empty()).map(|text| STANDARD.encode(text)),
        _ => {
            let text = format!("Value ({attribute}) for parameter attribute is invalid. Unknown attribute.");
            return Err(ApiError::new("InvalidParameterValue", text));
        }
    };
    xml.within(attribute, |xml| {
        xml.maybe("value", value);
    });
    Ok(xml)
}

fn write_state(xml: &mut Xml, state: InstanceState) {
    let (code, name) = state.code();
    xml.text("code", code).text("name", name);
}

pub fn describe_status(state: &State, site: &Site, params: &Params) -> Answer {
    let all = params.flag_of_ec2("IncludeAllInstances")?;
    let found = matching(state, site, params)?;
    let shown = found.into_iter().filter(|one| all || one.state == InstanceState::Running);
    let mut xml = Xml::new();
    xml.set("instanceStatusSet", shown, |xml, one| {
        xml.text("instanceId", &one.id).text("availabilityZone", &one.zone);
        xml.text("availabilityZoneId", zone_id(&one.zone));
        xml.within("instanceState", |xml| write_state(xml, one.state));
        let runs = one.state == InstanceState::Running;
        for check in ["systemStatus", "instanceStatus", "attachedEbsStatus"] {
            xml.within(check, |xml| {
                xml.text("status", if runs { "ok" } else { "not-applicable" });
                xml.set("details", runs.then_some(()), |xml, ()| {
                    xml.text("name", "reachability").text("status", "passed");
                });
            });
        }
    });
    Ok(xml)
}

pub fn terminate_by_id(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let ids = params.texts("InstanceId");
    for id in &ids {
        if by_id(state, id)?.settings.may_not_terminate {
            return Err(protected(id, "terminated", "disableApiTermination"));
        }
    }
    let mut changes = Vec::new();
    for id in ids {
        let before = state.instances[&id].state;
        terminate(state, &id);
        let now = state.instances[&id].state;
        changes.push((id, before, now));
    }
    Ok(changed(changes))
}

fn protected(id: &str, done: &str, attribute: &str) -> ApiError {
    let text =
        format!("The instance '{id}' may not be {done}. Modify its '{attribute}' instance attribute and try again.");
    ApiError::new("OperationNotPermitted", text)
}

/// Returns the response to a call that changed instances: the state of each before and after.
fn changed(changes: Vec<(String, InstanceState, InstanceState)>) -> Xml {
    let mut xml = Xml::new();
    xml.set("instancesSet", changes, |xml, (id, before, now)| {
        xml.text("instanceId", id);
        xml.within("currentState", |xml| write_state(xml, now));
        xml.within("previousState", |xml| write_state(xml, before));
    });
    xml
}

/// Begins to terminate an instance; the control loop ends its processes and closes its record.
pub fn terminate(state: &mut State, id: &str) {
    if let Some(one) = state.instances.get_mut(id).filter(|one| !one.is_gone()) {
        one.state = InstanceState::ShuttingDown;
    }
}

pub fn stop(state: &mut State, _site: &Site, params: &Params) -> Answer {
    for id in params.texts("InstanceId") {
        if by_id(state, &id)?.settings.may_not_stop {
            return Err(protected(&id, "stopped", "disableApiStop"));
        }
    }
    change(state, params, "stopped", |one| match one.state {
        InstanceState::Running | InstanceState::Stopping => Some(InstanceState::Stopping),
        InstanceState::Stopped => Some(InstanceState::Stopped),
        InstanceState::Pending | InstanceState::ShuttingDown | InstanceState::Terminated => None,
    })
}

/// Instances that are started count against the quota again (docs/aws.md §3.3).
pub fn start(state: &mut State, site: &Site, params: &Params) -> Answer {
    let mut more = 0;
    for id in params.texts("InstanceId") {
        let one = by_id(state, &id)?;
        more += if one.state == InstanceState::Stopped { quotas::processors(&one.kind) } else { 0 };
    }
    quotas::check(state, site, more)?;
    change(state, params, "started", |one| match one.state {
        InstanceState::Stopped | InstanceState::Pending => Some(InstanceState::Pending),
        InstanceState::Running => Some(InstanceState::Running),
        InstanceState::Stopping | InstanceState::ShuttingDown | InstanceState::Terminated => None,
    })
}

/// Moves all instances of a call to another state, or none if one of them cannot be moved.
fn change(state: &mut State, params: &Params, done: &str, next: impl Fn(&Instance) -> Option<InstanceState>) -> Answer {
    let mut changes = Vec::new();
    for id in params.texts("InstanceId") {
        let one = by_id(state, &id)?;
        let now = next(one).ok_or_else(|| wrong_state(&id, done))?;
        changes.push((id, one.state, now));
    }
    for (id, _, now) in &changes {
        if let Some(one) = state.instances.get_mut(id) {
            one.state = *now;
        }
    }
    Ok(changed(changes))
}

fn wrong_state(id: &str, done: &str) -> ApiError {
    let message = format!("The instance '{id}' is not in a state from which it can be {done}.");
    ApiError::new("IncorrectInstanceState", message)
}

/// The control loop ends the processes and starts them again. The instance and its disk stay the same.
pub fn reboot(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let ids = params.texts("InstanceId");
    for id in &ids {
        if !by_id(state, id)?.is_alive() {
            return Err(wrong_state(id, "rebooted"));
        }
    }
    for id in &ids {
        if let Some(one) = state.instances.get_mut(id) {
            one.rebooting = true;
        }
    }
    let mut xml = Xml::new();
    xml.text("return", true);
    Ok(xml)
}

/// Without `Latest`, returns the output as of the last state change (docs/aws.md §8.5).
pub fn console_output(state: &State, site: &Site, params: &Params) -> Answer {
    let id = params.required("InstanceId")?;
    let one = by_id(state, id)?;
    let latest = params.flag_of_ec2("Latest")?;
    if latest && types::find(&one.kind).is_some_and(|kind| !kind.is_nitro()) {
        let text = "This instance type does not support retrieving the latest console logs.";
        return Err(ApiError::new("UnsupportedOperation", text));
    }
    // An instance that has not written anything yet has no file: its output is empty.
    let file = site.instance_dir(id).join(if latest { instance::CONSOLE } else { instance::POSTED_CONSOLE });
    let output = std::fs::read(file).unwrap_or_default();
    let tail = &output[output.len().saturating_sub(CONSOLE_LIMIT)..];
    let mut xml = Xml::new();
    xml.text("instanceId", id).text("timestamp", Moment::now());
    xml.maybe("output", Some(STANDARD.encode(tail)).filter(|text| !text.is_empty()));
    Ok(xml)
}
