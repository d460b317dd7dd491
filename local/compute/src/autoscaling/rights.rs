//! The permissions that the caller of an operation on a group needs to launch its instances. Auto Scaling tries
//! `RunInstances` with the caller's permissions whenever a group gets a launch template, and before an instance refresh
//! (docs/aws.md §10.1).

use crate::ec2::{self, Data};
use crate::state::{State, Tags, TemplateSpec};
use kit::ACCOUNT;
use kit::call::{Asked, Form, Need};

/// Returns the permissions for a launch that a call implies. `role_of` returns the ARN of the role of an instance
/// profile, which is given by name or ARN.
pub fn launch_needs(state: &State, asked: &Asked, role_of: &dyn Fn(&str) -> Option<String>) -> Vec<Need> {
    let is_refresh = match (asked.call.service.as_str(), asked.call.operation.as_str()) {
        ("autoscaling", "CreateAutoScalingGroup" | "UpdateAutoScalingGroup") => false,
        ("autoscaling", "StartInstanceRefresh") => true,
        _ => return Vec::new(),
    };
    let form = asked.call.input.form();
    let group = state.groups.get(asked.text("AutoScalingGroupName"));
    let given =
        given_template(form, if is_refresh { "DesiredConfiguration.LaunchTemplate." } else { "LaunchTemplate." });
    // A refresh without a configuration starts instances from the group's template.
    let kept = || group.filter(|_| is_refresh).map(|group| group.template.clone());
    let Some(spec) = given.or_else(kept) else { return Vec::new() };
    let found = ec2::find_template(state, Some(&*spec.id).filter(|id| !id.is_empty()), Some(&spec.name));
    let id = found.map_or_else(|_| spec.id.clone(), |found| found.id.clone());
    let launch = Launch { region: asked.region, template: ec2_arn(asked.region, "launch-template", &id) };
    let mut needs = vec![launch.run(launch.template.clone())];
    // Without this version, the call fails for every caller.
    if let Ok((_, data)) = ec2::resolve_template(state, &TemplateSpec { id, ..spec }) {
        let subnets = form.get("VPCZoneIdentifier").map(|list| list.split(',').map(str::to_owned).collect());
        let subnets: Vec<String> = subnets.or_else(|| group.map(|group| group.subnets.clone())).unwrap_or_default();
        needs.extend(launch.of_data(data, &subnets, role_of));
    }
    needs
}

/// The launch template that a form names below `prefix`.
fn given_template(form: &Form, prefix: &str) -> Option<TemplateSpec> {
    let text = |name: &str| form.get(&format!("{prefix}{name}")).cloned();
    let (id, name) = (text("LaunchTemplateId"), text("LaunchTemplateName"));
    let version = text("Version").unwrap_or_else(|| "$Default".to_owned());
    let is_given = id.is_some() || name.is_some();
    is_given.then(|| TemplateSpec { id: id.unwrap_or_default(), name: name.unwrap_or_default(), version })
}

/// A launch from a template.
struct Launch<'a> {
    region: &'a str,
    /// The ARN of the template.
    template: String,
}

impl Launch<'_> {
    /// Everything that a launch uses and creates besides the template (docs/aws.md §10.1).
    fn of_data(&self, data: Data, subnets: &[String], role_of: &dyn Fn(&str) -> Option<String>) -> Vec<Need> {
        let own = |kind: &str, id: &str| ec2_arn(self.region, kind, id);
        // Images belong to no account in ARNs.
        let image = data.text("ImageId").map(|id| format!("arn:aws:ec2:{}::image/{id}", self.region));
        let used = data.security_groups().into_iter().map(|id| own("security-group", &id));
        let used = used.chain(subnets.iter().map(|id| own("subnet", id.trim())));
        let made = ["instance", "network-interface", "volume"].map(|kind| own(kind, "*"));
        let kind = data.text("InstanceType").map(str::to_owned);
        let run = image.into_iter().chain(used).chain(made).map(|resource| match resource.contains(":instance/") {
            true => self.run(resource).knowing("ec2:InstanceType", kind.clone()),
            false => self.run(resource),
        });
        let tag = ["instance", "network-interface", "volume"].into_iter().filter_map(|kind| {
            let tags = data.tags_for(kind);
            (!tags.is_empty()).then(|| create_tags(own(kind, "*"), tags))
        });
        let pass = data.profile().and_then(role_of).map(|role| {
            Need::new("iam:PassRole", role).knowing("iam:PassedToService", Some("ec2.amazonaws.com".to_owned()))
        });
        run.chain(tag).chain(pass).collect()
    }

    fn run(&self, resource: String) -> Need {
        Need::new("ec2:RunInstances", resource).knowing("ec2:LaunchTemplate", Some(self.template.clone()))
    }
}

/// Tagging the resources that a launch creates.
fn create_tags(resource: String, tags: Tags) -> Need {
    let need = Need::new("ec2:CreateTags", resource).knowing("ec2:CreateAction", Some("RunInstances".to_owned()));
    tags.into_iter().fold(need, |need, (key, value)| need.knowing(format!("aws:RequestTag/{key}"), Some(value)))
}

fn ec2_arn(region: &str, kind: &str, id: &str) -> String {
    format!("arn:aws:ec2:{region}:{ACCOUNT}:{kind}/{id}")
}
