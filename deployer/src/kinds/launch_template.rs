//! Launch templates. Every change is a new, numbered version.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplate as Described, LaunchTemplateBlockDeviceMappingRequest,
    LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateInstanceMetadataEndpointState,
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateTagSpecificationRequest, LaunchTemplateVersion,
    RequestLaunchTemplateData, ResourceType, ResponseLaunchTemplateData, VolumeType,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{origin::Origin, tags};
use crate::{
    cloud::aws::{Aws, found, gone, items},
    config::{self, is_secret},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, RESOURCE_TAG, Resource, STACK_TAG, Size, Tagged, Tags},
    package::Architecture,
    page::user_data,
};

/// A launch template, identified by its name.
#[derive(Debug, Clone)]
pub struct LaunchTemplate {
    /// Its name.
    pub name: String,
    /// The origin of the versions that this run creates, for their descriptions. Not compared.
    pub origin: Origin,
    /// The variables whose values may be shown. Not compared.
    pub open: BTreeSet<String>,
}

/// The settings that we manage.
///
/// Instances of the T families stay in AWS's `unlimited` credit mode: in `standard` mode they start without credits,
/// and once throttled they never look busy enough for a CPU target to add another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The pinned machine image. `None` means the newest Amazon Linux 2023 at creation, which is then kept. The
    /// version's description records which of the two applies.
    pub image: Option<String>,
    /// Such as `t3.micro`.
    pub instance_type: String,
    /// The name of the instance profile, which determines the service's role.
    pub instance_profile: String,
    /// The security groups.
    pub security_groups: BTreeSet<String>,
    /// The cloud-init configuration for the first boot, as plain text; compared variable by variable.
    #[serde(serialize_with = "user_data::in_parts")]
    pub user_data: String,
    /// The root disk.
    pub disk: Disk,
    /// Whether instances can use the metadata service, the source of the service's credentials: `enabled`.
    pub metadata_endpoint: String,
    /// Whether the metadata service requires session tokens: `required`.
    pub metadata_tokens: String,
    /// The hop limit of the instance metadata service.
    pub metadata_hops: i32,
    /// Tags of the instances.
    pub instance_tags: BTreeMap<String, String>,
    /// Tags of their disks.
    pub volume_tags: BTreeMap<String, String>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disk {
    /// The device name: the root device of Amazon Linux is `/dev/xvda`.
    pub device: String,
    /// Its size in GB.
    pub gb: i32,
    /// The volume type, such as `gp3`.
    pub volume_type: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The KMS key that it is encrypted with, by ARN or alias; `None` for the account's default key.
    pub key: Option<String>,
    /// Whether it is deleted with its instance.
    pub ends_with_instance: bool,
}

impl Disk {
    /// The root disk of an instance.
    pub fn root(gb: i32) -> Disk {
        Disk {
            device: "/dev/xvda".into(),
            gb,
            volume_type: "gp3".into(),
            encrypted: true,
            key: None,
            ends_with_instance: true,
        }
    }
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// `lt-…`.
    pub id: String,
    /// The newest version.
    pub version: i64,
    /// The machine image of that version, the pinned one or the one that was found.
    pub image: String,
}

impl Settings {
    /// The settings that `stack.yaml` decides. The caller adds profile, security group and user data.
    pub fn new(service: &config::Service, tags: &BTreeMap<String, String>, stack: &str, entry: &str) -> Settings {
        let mut tags = tags.clone();
        tags.insert("Name".into(), format!("{stack}-{entry}"));
        tags.insert(STACK_TAG.into(), stack.into());
        tags.insert(RESOURCE_TAG.into(), format!("{}.{entry}", LaunchTemplate::KIND));
        Settings {
            image: service.image.clone(),
            instance_type: service.instance_type.to_string(),
            instance_profile: String::new(),
            security_groups: BTreeSet::new(),
            user_data: String::new(),
            disk: Disk { key: service.key.as_ref().map(ToString::to_string), ..Disk::root(service.disk_gb.into()) },
            metadata_endpoint: "enabled".into(),
            metadata_tokens: "required".into(),
            metadata_hops: 1,
            instance_tags: tags.clone(),
            volume_tags: tags,
        }
    }
}

/// The first part of version descriptions, which records how the image was chosen.
const PINNED: &str = "image from stack.yaml";
const NEWEST: &str = "newest Amazon Linux 2023 at that time";

impl Resource for LaunchTemplate {
    const KIND: &'static str = "launch_template";
    const SOURCES: &'static [(&'static str, &'static str)] = &[
        ("image", "image"),
        ("instance_type", "instance_type"),
        ("user_data.environment", "environment"),
        ("disk.gb", "disk_gb"),
        ("disk.key", "key"),
    ];
    const SECRET: &'static [&'static str] = &["user_data"];
    const UPDATE_MOVES_OUTPUT: bool = true;

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    fn is_open(&self, path: &str, value: &str) -> bool {
        let variable = path.strip_prefix("user_data.environment.");
        variable.is_some_and(|variable| self.open.contains(variable)) && !is_secret(value)
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let template = aws.batches.launch_templates.read(&self.name, |names| described(aws, names)).await?;
        let Some(template) = template else { return Ok(Observed::Absent) };
        let id = template.launch_template_id().unwrap_or_default();
        let call = aws.ec2.describe_launch_template_versions().launch_template_id(id).versions("$Latest");
        let answer = found(call.send().await)?;
        let Some(version) = answer.as_ref().and_then(|answer| answer.launch_template_versions().first()) else {
            return Ok(Observed::Absent);
        };
        let (settings, image) = chosen(version);
        Ok(Observed::Present(Live {
            settings,
            output: Output { id: id.into(), version: version.version_number().unwrap_or_default(), image },
            owner: Owner::Tags(tags::from_ec2(template.tags())),
        }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let image = match &want.image {
            Some(pinned) => pinned.clone(),
            None => newest(aws, &want.instance_type).await?,
        };
        let answer = aws
            .ec2
            .create_launch_template()
            .launch_template_name(&self.name)
            .version_description(self.description(want))
            .launch_template_data(data(want, &image))
            .tag_specifications(tags::ec2_specification(ResourceType::LaunchTemplate, tags))
            .send()
            .await?;
        Ok(answer.launch_template().map(|template| Live {
            settings: want.clone(),
            output: Output {
                id: template.launch_template_id().unwrap_or_default().into(),
                version: template.latest_version_number().unwrap_or(1),
                image,
            },
            owner: Owner::Tags(tags.clone()),
        }))
    }

    /// Writes a complete new version (docs/aws.md §8.4). Older versions stay: instances may still run on them, and they
    /// cost nothing. So does the default version: the group refers to a version number.
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let image = match image_to_keep(want, live) {
            Some(image) => image.to_owned(),
            None => newest(aws, &want.instance_type).await?,
        };
        aws.ec2
            .create_launch_template_version()
            .launch_template_id(&live.output.id)
            .version_description(self.description(want))
            .launch_template_data(data(want, &image))
            .send()
            .await?;
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.id, tags).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.ec2.delete_launch_template().launch_template_id(&live.output.id).send().await)
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let templates = aws.ec2.describe_launch_templates().filters(tags::of_any_stack()).into_paginator().send();
        let templates = items(templates).await?;
        let reads = templates.into_iter().map(async |it| {
            let (tags, created_s) = (tags::from_ec2(it.tags()), it.create_time.map(|at| at.secs()));
            let size = disk_of_newest(aws, it.launch_template_id().unwrap_or_default()).await;
            Ok(Tagged::new(it.launch_template_name.unwrap_or_default(), tags, created_s).sized(size))
        });
        Ok(tags::bounded(reads.collect()).await)
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let call = aws.ec2.describe_launch_templates().filters(tags::of_stack(stack));
        let templates = items(call.into_paginator().send()).await?;
        let names = templates.into_iter().map(|template| template.launch_template_name.unwrap_or_default());
        Ok(names.filter(|name| !but.contains(name)).map(|name| LaunchTemplate::named(&name)).collect())
    }
}

impl LaunchTemplate {
    /// A template of which only the name is known.
    pub fn named(name: &str) -> LaunchTemplate {
        LaunchTemplate { name: name.into(), origin: Origin::default(), open: BTreeSet::new() }
    }

    /// Reads every version, in any order, with the id and the owner of the template; `None` if it is absent.
    pub async fn versions(&self, aws: &Aws) -> Result<Option<(String, Owner, Vec<LaunchTemplateVersion>)>, Fault> {
        let Some(template) = described(aws, vec![self.name.clone()]).await?.remove(&self.name) else { return Ok(None) };
        let id = template.launch_template_id().unwrap_or_default();
        let call = aws.ec2.describe_launch_template_versions().launch_template_id(id);
        let versions = found(items(call.into_paginator().send()).await)?;
        let owner = Owner::Tags(tags::from_ec2(template.tags()));
        Ok(versions.map(|versions| (id.to_owned(), owner, versions)))
    }

    /// The description of the newest version, which records its origin.
    pub async fn description_of_newest(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        let versions = self.versions(aws).await?.map(|(_, _, versions)| versions).unwrap_or_default();
        let newest = versions.into_iter().max_by_key(|version| version.version_number());
        Ok(newest.and_then(|version| version.version_description))
    }

    /// The choice of the image, and the origin of the version (docs/aws.md §8.4).
    fn description(&self, want: &Settings) -> String {
        self.origin.describe(if want.image.is_some() { PINNED } else { NEWEST })
    }
}

/// Returns the templates of these names that exist. Filters, so that a missing one does not fail the call for the
/// others (docs/aws.md §8.2).
async fn described(aws: &Aws, names: Vec<String>) -> Result<HashMap<String, Described>, Fault> {
    let call = aws.ec2.describe_launch_templates();
    let call = call.filters(tags::ec2_filter("launch-template-name", names.iter().map(String::as_str)));
    let templates = items(call.into_paginator().send()).await?;
    Ok(templates.into_iter().filter_map(|template| Some((template.launch_template_name.clone()?, template))).collect())
}

/// Returns the image for a new version, unless the newest has to be looked up: because `image` was removed from
/// `stack.yaml`, or because the present image does not run on the wanted instance type.
fn image_to_keep<'a>(want: &'a Settings, live: &'a Live<LaunchTemplate>) -> Option<&'a str> {
    if want.image.is_some() {
        return want.image.as_deref();
    }
    let was_pinned = live.settings.image.is_some();
    let fits = architecture(&want.instance_type) == architecture(&live.settings.instance_type);
    (!was_pinned && fits && !live.output.image.is_empty()).then_some(live.output.image.as_str())
}

/// Returns the newest Amazon Linux 2023 for this instance type (docs/aws.md §8.3).
async fn newest(aws: &Aws, instance_type: &str) -> Result<String, Fault> {
    let architecture = architecture(instance_type).unwrap_or(Architecture::X86_64).name();
    let name = format!("al2023-ami-2023.*-{architecture}");
    let call = aws
        .ec2
        .describe_images()
        .owners("amazon")
        .filters(tags::ec2_filter("name", [name.as_str()]))
        .filters(tags::ec2_filter("state", ["available"]));
    let images = items(call.into_paginator().send()).await?;
    let newest = images.into_iter().max_by(|one, other| one.creation_date().cmp(&other.creation_date()));
    newest.and_then(|image| image.image_id).ok_or_else(|| {
        let message = format!("{} offers no Amazon Linux 2023 for {architecture}", aws.region);
        Fault::new("DescribeImages", "NoImage", message)
    })
}

fn architecture(instance_type: &str) -> Option<Architecture> {
    instance_type.parse::<config::InstanceType>().ok().map(|known| known.architecture())
}

fn data(want: &Settings, image: &str) -> RequestLaunchTemplateData {
    let Settings {
        image: _,
        instance_type,
        instance_profile,
        security_groups,
        user_data,
        disk,
        metadata_endpoint,
        metadata_tokens,
        metadata_hops,
        instance_tags,
        volume_tags,
    } = want;
    let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_size(disk.gb)
        .volume_type(VolumeType::from(disk.volume_type.as_str()))
        .encrypted(disk.encrypted)
        .set_kms_key_id(disk.key.clone())
        .delete_on_termination(disk.ends_with_instance);
    let disk = LaunchTemplateBlockDeviceMappingRequest::builder().device_name(&disk.device).ebs(volume.build());
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::from(metadata_endpoint.as_str()))
        .http_tokens(LaunchTemplateHttpTokensState::from(metadata_tokens.as_str()))
        .http_put_response_hop_limit(*metadata_hops);
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(instance_profile);
    RequestLaunchTemplateData::builder()
        .image_id(image)
        .instance_type(InstanceType::from(instance_type.as_str()))
        .iam_instance_profile(profile.build())
        .set_security_group_ids(Some(security_groups.iter().cloned().collect()))
        .user_data(STANDARD.encode(user_data))
        .block_device_mappings(disk.build())
        .metadata_options(metadata.build())
        .tag_specifications(specification(ResourceType::Instance, instance_tags))
        .tag_specifications(specification(ResourceType::Volume, volume_tags))
        .build()
}

fn specification(kind: ResourceType, tags: &Tags) -> LaunchTemplateTagSpecificationRequest {
    LaunchTemplateTagSpecificationRequest::builder().resource_type(kind).set_tags(Some(tags::to_ec2(tags))).build()
}

/// The settings of a version, and its machine image.
pub fn chosen(version: &LaunchTemplateVersion) -> (Settings, String) {
    let nothing = ResponseLaunchTemplateData::builder().build();
    let data = version.launch_template_data().unwrap_or(&nothing);
    let image = data.image_id().unwrap_or_default().to_owned();
    let is_pinned = Origin::parse(version.version_description().unwrap_or_default()).0 != NEWEST;
    let profile = data.iam_instance_profile();
    let metadata = data.metadata_options();
    let settings = Settings {
        image: is_pinned.then(|| image.clone()),
        instance_type: data.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        instance_profile: profile.and_then(|profile| profile.name().or(profile.arn())).unwrap_or_default().to_owned(),
        security_groups: data.security_group_ids().iter().cloned().collect(),
        user_data: decoded(data.user_data().unwrap_or_default()),
        disk: disk(data),
        // Fields that a version leaves out have AWS's defaults.
        metadata_endpoint: metadata
            .and_then(|metadata| metadata.http_endpoint())
            .map_or("enabled", |endpoint| endpoint.as_str())
            .to_owned(),
        metadata_tokens: metadata
            .and_then(|metadata| metadata.http_tokens())
            .map(|tokens| tokens.as_str().to_owned())
            .unwrap_or_default(),
        metadata_hops: metadata.and_then(|metadata| metadata.http_put_response_hop_limit()).unwrap_or_default(),
        instance_tags: tags_for(&ResourceType::Instance, data),
        volume_tags: tags_for(&ResourceType::Volume, data),
    };
    (settings, image)
}

/// The disk of the newest version of a template.
async fn disk_of_newest(aws: &Aws, id: &str) -> Result<Size, Fault> {
    let call = aws.ec2.describe_launch_template_versions().launch_template_id(id).versions("$Latest");
    let answer = found(call.send().await)?;
    let newest = answer.as_ref().and_then(|answer| answer.launch_template_versions().first());
    let gb = newest.and_then(|it| it.launch_template_data()).map(|data| disk(data).gb);
    Ok(gb.and_then(|gb| u32::try_from(gb).ok()).map_or(Size::None, Size::Disk))
}

fn disk(data: &ResponseLaunchTemplateData) -> Disk {
    let mapping = data.block_device_mappings().first();
    let volume = mapping.and_then(|mapping| mapping.ebs());
    Disk {
        device: mapping.and_then(|mapping| mapping.device_name()).unwrap_or_default().into(),
        gb: volume.and_then(|volume| volume.volume_size()).unwrap_or_default(),
        volume_type: volume
            .and_then(|volume| volume.volume_type())
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default(),
        encrypted: volume.and_then(|volume| volume.encrypted()).unwrap_or_default(),
        key: volume.and_then(|volume| volume.kms_key_id()).filter(|key| !key.is_empty()).map(str::to_owned),
        ends_with_instance: volume.and_then(|volume| volume.delete_on_termination()).unwrap_or_default(),
    }
}

fn tags_for(kind: &ResourceType, data: &ResponseLaunchTemplateData) -> Tags {
    let specifications = data.tag_specifications().iter();
    let ours = specifications.filter(|specification| specification.resource_type() == Some(kind));
    ours.flat_map(|specification| tags::from_ec2(specification.tags())).collect()
}

/// User data that cannot be decoded was not written by us and is shown as it is.
fn decoded(user_data: &str) -> String {
    let bytes = STANDARD.decode(user_data).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| user_data.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(pinned: Option<&str>, instance_type: &str) -> Live<LaunchTemplate> {
        let output = Output { id: "lt-1".into(), version: 3, image: "ami-live".into() };
        Live { settings: settings(pinned, instance_type), output, owner: Owner::Tags(Tags::new()) }
    }

    fn settings(image: Option<&str>, instance_type: &str) -> Settings {
        Settings {
            image: image.map(str::to_owned),
            instance_type: instance_type.into(),
            instance_profile: "web".into(),
            security_groups: ["sg-1".to_owned()].into(),
            user_data: "#cloud-config\n".into(),
            disk: Disk::root(8),
            metadata_endpoint: "enabled".into(),
            metadata_tokens: "required".into(),
            metadata_hops: 1,
            instance_tags: [("Name".into(), "web".into())].into(),
            volume_tags: Tags::new(),
        }
    }

    #[test]
    fn an_image_is_kept_until_another_is_configured() {
        let kept = |want: &Settings, live| image_to_keep(want, &live).map(str::to_owned);
        let free = settings(None, "t3.micro");
        assert_eq!(kept(&free, live(None, "t3.small")).as_deref(), Some("ami-live"));
        assert_eq!(kept(&free, live(None, "t4g.small")), None, "it does not run there");
        assert_eq!(kept(&free, live(Some("ami-live"), "t3.micro")), None, "it is no longer pinned");
        let pinned = settings(Some("ami-mine"), "t3.micro");
        assert_eq!(kept(&pinned, live(None, "t3.micro")).as_deref(), Some("ami-mine"));
    }

    #[test]
    fn only_a_pinned_image_is_a_setting() {
        let version = |description: &str| {
            let data = ResponseLaunchTemplateData::builder().image_id("ami-1").build();
            LaunchTemplateVersion::builder().version_description(description).launch_template_data(data).build()
        };
        assert_eq!(chosen(&version(NEWEST)).0.image, None);
        assert_eq!(chosen(&version(PINNED)).0.image.as_deref(), Some("ami-1"));
        assert_eq!(chosen(&version("by hand")).0.image.as_deref(), Some("ami-1"), "it was chosen by hand");
        assert_eq!(chosen(&version(NEWEST)).1, "ami-1");
        let origin = Origin { who: Some("ada".into()), commit: None };
        let template = LaunchTemplate { origin, ..LaunchTemplate::named("web") };
        let described = |image| template.description(&settings(image, "t3.micro"));
        assert_eq!(chosen(&version(&described(None))).0.image, None, "{}", described(None));
        let pinned = described(Some("ami-1"));
        assert_eq!(chosen(&version(&pinned)).0.image.as_deref(), Some("ami-1"), "{pinned}");
    }
}
