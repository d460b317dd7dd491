//! Volumes of instances. Their contents are in the instances' directories, and they live as long as their instances.

use super::images::ROOT_DEVICE;
use super::launch_templates::Data;
use super::network::{stable_id, zone_id, zones};
use crate::Site;
use crate::state::{Instance, State, Volume};
use kit::key::Key;
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

/// The size in GiB of the image's root volume.
const ROOT_GIB: u32 = 8;

/// Type, minimum and maximum size in GiB, default IOPS, default throughput in MiB/s (EBS user guide, "Amazon EBS volume
/// types").
type VolumeType = (&'static str, u32, u32, Option<u32>, Option<u32>);

const KINDS: &[VolumeType] = &[
    ("gp2", 1, 16_384, Some(100), None),
    ("gp3", 1, 16_384, Some(3000), Some(125)),
    ("io1", 4, 16_384, None, None),
    ("io2", 4, 65_536, None, None),
    ("sc1", 125, 16_384, None, None),
    ("st1", 125, 16_384, None, None),
    ("standard", 1, 1024, None, None),
];

/// Returns the volumes that an instance gets from the data of its template.
///
/// Errors: why EC2 would refuse to launch it.
pub fn of(instance: &str, region: &str, data: Data) -> Result<Vec<Volume>, String> {
    let mappings = data.elements("BlockDeviceMapping");
    let is_root = |one: &&Data| one.text("DeviceName") == Some(ROOT_DEVICE);
    let root = mappings.iter().find(is_root).copied();
    let mut volumes = vec![volume((instance, region), ROOT_DEVICE, root, Some(ROOT_GIB))?];
    for one in mappings.iter().filter(|one| !is_root(one)) {
        let device = one.text("DeviceName").ok_or("The request must contain the parameter DeviceName")?;
        if volumes.iter().any(|volume| volume.device == device) {
            return Err(format!("Invalid device name {device}: it is mapped twice"));
        }
        volumes.push(volume((instance, region), device, Some(*one), None)?);
    }
    Ok(volumes)
}

fn volume(
    (instance, region): (&str, &str),
    device: &str,
    data: Option<Data>,
    least: Option<u32>,
) -> Result<Volume, String> {
    let text = |name: &str| data.and_then(|data| data.text(&format!("Ebs.{name}")));
    let number = |name: &str| match text(name) {
        Some(text) => text.parse::<u32>().map(Some).map_err(|_| format!("Invalid value '{text}' for {name}.")),
        None => Ok(None),
    };
    let kind = text("VolumeType").unwrap_or(if least.is_some() { "gp3" } else { "gp2" });
    let (_, low, high, iops, throughput) = KINDS
        .iter()
        .find(|(name, ..)| *name == kind)
        .ok_or_else(|| format!("Invalid value '{kind}' for VolumeType."))?;
    let gib = number("VolumeSize")?.or(least).ok_or("The request must contain the parameter size or snapshotId")?;
    if let Some(least) = least.filter(|least| gib < *least) {
        return Err(format!("Volume of size {gib}GB is smaller than snapshot of the image, expect size >= {least}GB"));
    }
    if !(*low..=*high).contains(&gib) {
        return Err(format!("Volume of {gib}GiB is invalid; must be between {low}GiB and {high}GiB for {kind}"));
    }
    if data.and_then(|data| data.flag("Ebs.DeleteOnTermination")) == Some(false) {
        return Err(format!("the local AWS has no volumes that outlive their instance, as {device} is to"));
    }
    let (asked_iops, asked_throughput) = (number("Iops")?, number("Throughput")?);
    match kind {
        "io1" | "io2" if asked_iops.is_none() => {
            return Err(format!("The parameter iops must be specified for {kind} volumes."));
        }
        "gp3" | "io1" | "io2" => (),
        _ if asked_iops.is_some() => return Err(format!("The parameter iops is not supported for {kind} volumes.")),
        _ => (),
    }
    if asked_throughput.is_some() && kind != "gp3" {
        return Err(format!("The parameter throughput is not supported for {kind} volumes."));
    }
    let encrypted = data.and_then(|data| data.flag("Ebs.Encrypted")).unwrap_or(false);
    // EC2 launches such an instance, and terminates it at once (docs/aws.md §8.4).
    let key = match text("KmsKeyId") {
        Some(_) if !encrypted => {
            return Err("The parameter KmsKeyId requires the parameter Encrypted to be set.".into());
        }
        Some(name) => match Key::find(name, region) {
            Ok(key) => Some(key.arn),
            Err(_) => {
                return Err("Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state".into());
            }
        },
        None => None,
    };
    Ok(Volume {
        id: stable_id("vol", &format!("{instance} {device}")),
        device: device.to_owned(),
        gib,
        kind: kind.to_owned(),
        // A gp2 volume has 3 IOPS per GiB.
        iops: asked_iops.or(iops.map(|iops| if kind == "gp2" { (gib * 3).clamp(iops, 16_000) } else { iops })),
        throughput: asked_throughput.or(*throughput),
        encrypted,
        key,
    })
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("VolumeId");
    let live = state.instances.values().filter(|one| one.ended.is_none());
    let all: Vec<(&Instance, &Volume)> =
        live.flat_map(|one| one.volumes.iter().map(move |volume| (one, volume))).collect();
    if let Some(id) = wanted.iter().find(|id| !all.iter().any(|(_, volume)| volume.id == **id)) {
        return Err(ApiError::new("InvalidVolume.NotFound", format!("The volume '{id}' does not exist.")));
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for (one, volume) in all {
        let passes = filters.pass(state.tags_of(&volume.id), |name| match name {
            "attachment.attach-time" | "create-time" => fact(one.launched),
            "attachment.delete-on-termination" => fact(true),
            "attachment.device" => fact(&volume.device),
            "attachment.instance-id" => fact(&one.id),
            "attachment.status" => fact("attached"),
            "availability-zone" => fact(&one.zone),
            "encrypted" => fact(volume.encrypted),
            "size" => fact(volume.gib),
            "status" => fact("in-use"),
            "volume-id" => fact(&volume.id),
            "volume-type" => fact(&volume.kind),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&volume.id)) {
            found.push((one, volume));
        }
    }
    let mut xml = Xml::new();
    xml.set("volumeSet", found, |xml, (one, volume)| {
        xml.text("volumeId", &volume.id).text("size", volume.gib).text("volumeType", &volume.kind);
        xml.maybe("iops", volume.iops).maybe("throughput", volume.throughput).text("encrypted", volume.encrypted);
        xml.maybe("kmsKeyId", volume.key.as_ref());
        let snapshot = (volume.device == ROOT_DEVICE).then(|| one.image.replace("ami-", "snap-"));
        xml.text("snapshotId", snapshot.unwrap_or_default()).text("multiAttachEnabled", false);
        xml.text("availabilityZone", &one.zone);
        xml.maybe("availabilityZoneId", zones(site).contains(&one.zone).then(|| zone_id(&one.zone)));
        xml.text("status", "in-use").text("createTime", one.launched);
        xml.set("attachmentSet", [()], |xml, ()| {
            xml.text("volumeId", &volume.id).text("instanceId", &one.id).text("device", &volume.device);
            xml.text("status", "attached").text("attachTime", one.launched).text("deleteOnTermination", true);
        });
        xml.tag_set(state.tags_of(&volume.id));
    });
    Ok(xml)
}

/// Writes the block device mapping of an instance.
pub fn write_mapping(xml: &mut Xml, one: &Instance) {
    xml.set("blockDeviceMapping", &one.volumes, |xml, volume| {
        xml.text("deviceName", &volume.device).within("ebs", |xml| {
            xml.text("volumeId", &volume.id).text("status", "attached").text("attachTime", one.launched);
            xml.text("deleteOnTermination", true);
        });
    });
}
