//! Machine images: Amazon Linux 2023 as AWS lists it, so that a search for the newest image succeeds.

use super::network::stable_id;
use crate::Site;
use crate::state::{State, Tags};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

/// A machine image.
pub struct Image {
    pub id: String,
    pub name: String,
    pub architecture: &'static str,
    created: &'static str,
}

/// The device name of the root volume.
pub const ROOT_DEVICE: &str = "/dev/xvda";

const OWNER: &str = "137112412989";

/// The version and creation date of each release.
const RELEASES: &[(&str, &str)] = &[
    ("2023.8.20250915.0", "2025-09-12T21:01:33.000Z"),
    ("2023.9.20251020.0", "2025-10-17T20:13:08.000Z"),
    ("2023.9.20251117.1", "2025-11-17T18:42:51.000Z"),
];

/// Returns the image with an id.
pub fn find(site: &Site, id: &str) -> Option<Image> {
    all(site).into_iter().find(|image| image.id == id)
}

fn all(site: &Site) -> Vec<Image> {
    let mut images = Vec::new();
    for (version, created) in RELEASES {
        for architecture in ["x86_64", "arm64"] {
            for flavour in ["ami", "ami-minimal"] {
                let name = format!("al2023-{flavour}-{version}-kernel-6.1-{architecture}");
                images.push(Image {
                    id: stable_id("ami", &format!("{} {name}", site.region)),
                    name,
                    architecture,
                    created,
                });
            }
        }
    }
    images
}

pub fn describe(_state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("ImageId");
    for id in &wanted {
        refuse_unknown(site, id)?;
    }
    let owners = params.texts("Owner");
    let ours = |owner: &String| owner == "amazon" || owner == OWNER;
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for image in all(site) {
        let passes = filters.pass(&Tags::new(), |name| match name {
            "name" => fact(&image.name),
            "architecture" => fact(image.architecture),
            "image-id" => fact(&image.id),
            "state" => fact("available"),
            "image-type" => fact("machine"),
            "virtualization-type" => fact("hvm"),
            "hypervisor" => fact("xen"),
            "root-device-type" => fact("ebs"),
            "root-device-name" => fact("/dev/xvda"),
            "owner-alias" => fact("amazon"),
            "owner-id" => fact(OWNER),
            "is-public" | "ena-support" => fact(true),
            "creation-date" => fact(image.created),
            "description" => fact(description(&image)),
            "block-device-mapping.volume-type" => fact("gp3"),
            "imds-support" => fact("v2.0"),
            _ => None,
        })?;
        let chosen = wanted.is_empty() || wanted.contains(&image.id);
        if passes && chosen && (owners.is_empty() || owners.iter().any(ours)) {
            found.push(image);
        }
    }
    let mut xml = Xml::new();
    xml.set("imagesSet", found, |xml, image| write(xml, &image));
    Ok(xml)
}

fn refuse_unknown(site: &Site, id: &str) -> Result<(), ApiError> {
    if !id.starts_with("ami-") {
        return Err(ApiError::new("InvalidAMIID.Malformed", format!("Invalid id: \"{id}\" (expecting \"ami-...\")")));
    }
    match find(site, id) {
        Some(_) => Ok(()),
        None => Err(ApiError::new("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist"))),
    }
}

fn description(image: &Image) -> String {
    format!("Amazon Linux 2023 AMI {} HVM kernel-6.1", image.architecture)
}

fn write(xml: &mut Xml, image: &Image) {
    xml.text("imageId", &image.id).text("imageLocation", format!("amazon/{}", image.name));
    xml.text("imageState", "available").text("imageOwnerId", OWNER).text("imageOwnerAlias", "amazon");
    xml.text("creationDate", image.created).text("isPublic", true).text("architecture", image.architecture);
    xml.text("imageType", "machine").text("name", &image.name).text("description", description(image));
    xml.text("rootDeviceType", "ebs").text("rootDeviceName", "/dev/xvda");
    xml.set("blockDeviceMapping", [()], |xml, ()| {
        xml.text("deviceName", "/dev/xvda").within("ebs", |xml| {
            xml.text("deleteOnTermination", true).text("snapshotId", image.id.replace("ami-", "snap-"));
            xml.text("volumeSize", 8).text("volumeType", "gp3").text("encrypted", false);
        });
    });
    xml.text("virtualizationType", "hvm").text("hypervisor", "xen").text("enaSupport", true);
    xml.text("platformDetails", "Linux/UNIX").text("usageOperation", "RunInstances");
    xml.text("bootMode", "uefi-preferred").text("imdsSupport", "v2.0").tag_set(&Tags::new());
}
