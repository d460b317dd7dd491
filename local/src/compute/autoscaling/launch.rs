//! What a launch template's version makes of an instance, and why it may make none.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::compute::Site;
use crate::compute::clock::Moment;
use crate::compute::ec2::{self, Data, Subnet};
use crate::compute::state::{Group, Instance, InstanceState, State, Tags, TemplateSpec, new_id};

/// Adds an instance of this template to a group. A refusal is in the words of EC2, without a code, as activities give it.
pub fn launch(state: &mut State, site: &Site, group: &Group, spec: &TemplateSpec) -> Result<Instance, String> {
    let (number, data) = ec2::resolve_template(state, spec).map_err(|fault| fault.message)?;
    check(state, site, data)?;
    let subnet = emptiest(state, site, group).ok_or("No subnet is configured for the group.")?;
    let id = new_id("i");
    let user_data = data.text("UserData").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let groups = data.security_groups();
    let instance = Instance {
        id: id.clone(),
        group: Some(group.name.clone()),
        template: TemplateSpec { version: number.to_string(), ..spec.clone() },
        image: data.text("ImageId").unwrap_or_default().to_owned(),
        kind: data.text("InstanceType").unwrap_or_default().to_owned(),
        address: subnet.address_for(&id),
        zone: subnet.zone,
        subnet: subnet.id,
        security_groups: if groups.is_empty() { default_group(state) } else { groups },
        profile: data.profile().map(str::to_owned),
        user_data: String::from_utf8_lossy(&user_data).into_owned(),
        state: InstanceState::Pending,
        launched: Moment::now(),
        ended: None,
        port: None,
        declared_port: None,
        in_service: None,
        unhealthy: None,
        protected: group.protect_new,
        leaving: false,
        registered: Vec::new(),
    };
    let mut tags: Tags = data.instance_tags();
    let propagated = group.tags.iter().filter(|(_, tag)| tag.propagate);
    tags.extend(propagated.map(|(key, tag)| (key.clone(), tag.value.clone())));
    tags.insert("aws:autoscaling:groupName".to_owned(), group.name.clone());
    tags.insert("aws:ec2launchtemplate:id".to_owned(), spec.id.clone());
    tags.insert("aws:ec2launchtemplate:version".to_owned(), number.to_string());
    state.tag(&id, tags);
    state.instances.insert(id, instance.clone());
    Ok(instance)
}

/// Whether EC2 would launch this.
pub fn check(state: &State, site: &Site, data: Data) -> Result<(), String> {
    let missing = |name: &str| format!("The request must contain the parameter {name}");
    let image = data.text("ImageId").ok_or_else(|| missing("ImageId"))?;
    let image = ec2::find_image(site, image).ok_or_else(|| format!("The image id '[{image}]' does not exist"))?;
    let kind = data.text("InstanceType").ok_or_else(|| missing("InstanceType"))?;
    let kind = ec2::find_type(kind).ok_or_else(|| format!("Invalid value '{kind}' for InstanceType."))?;
    if kind.architecture() != image.architecture {
        return Err(format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
            kind.architecture(),
            image.architecture
        ));
    }
    match data.security_groups().iter().find(|id| !state.security_groups.contains_key(*id)) {
        Some(unknown) => Err(format!("The security group '{unknown}' does not exist")),
        None => Ok(()),
    }
}

fn default_group(state: &State) -> Vec<String> {
    state.security_groups.values().filter(|group| group.name == "default").map(|group| group.id.clone()).collect()
}

/// The group's subnet with the fewest of its instances.
fn emptiest(state: &State, site: &Site, group: &Group) -> Option<Subnet> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in state.members(&group.name).into_iter().filter(|one| one.serves()) {
        *counts.entry(&member.subnet).or_default() += 1;
    }
    let ours = ec2::subnets(site).into_iter().filter(|subnet| group.subnets.contains(&subnet.id));
    ours.min_by_key(|subnet| counts.get(subnet.id.as_str()).copied().unwrap_or(0))
}
