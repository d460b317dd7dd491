//! The launch templates of groups.

use super::refuse;
use crate::Site;
use crate::autoscaling::launch::check;
use crate::ec2;
use crate::state::{State, TemplateSpec};
use kit::query::{ApiError, Params, Xml};

/// Returns the instance profile in the launch template of a call. Whether it exists has to be looked up in IAM.
pub fn profile_wanted(state: &State, params: &Params) -> Option<String> {
    let spec = template(state, params.at("LaunchTemplate")).ok()??;
    let (_, data) = ec2::resolve_template(state, &spec).ok()?;
    data.profile().map(str::to_owned)
}

/// Returns the launch template of a call.
pub fn template(state: &State, params: &Params) -> Result<Option<TemplateSpec>, ApiError> {
    let (id, name) = (params.text("LaunchTemplateId"), params.text("LaunchTemplateName"));
    if id.is_none() && name.is_none() {
        return Ok(None);
    }
    let invalid =
        |fault: ApiError| refuse(format!("You must use a valid fully-formed launch template. {}", fault.message));
    let found = ec2::find_template(state, id, name).map_err(invalid)?;
    let version = params.text("Version").unwrap_or("$Default").to_owned();
    let spec = TemplateSpec { id: found.id.clone(), name: found.name.clone(), version };
    ec2::resolve_template(state, &spec).map_err(invalid)?;
    Ok(Some(spec))
}

/// Refuses a template that EC2 would refuse.
pub fn check_template(state: &State, site: &Site, spec: &TemplateSpec) -> Result<(), ApiError> {
    let data = ec2::resolve_template(state, spec)?.1;
    check(state, site, data)
        .map(drop)
        .map_err(|why| refuse(format!("You must use a valid fully-formed launch template. {why}")))
}

/// Writes a launch template and its version.
pub fn write_template(xml: &mut Xml, spec: &TemplateSpec) {
    xml.text("LaunchTemplateId", &spec.id).text("LaunchTemplateName", &spec.name).text("Version", &spec.version);
}
