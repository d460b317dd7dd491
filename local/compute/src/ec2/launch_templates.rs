//! Launch templates: numbered versions with all of their data (docs/aws.md §8.4).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::tags;
use crate::Site;
use crate::clock::Moment;
use crate::state::{LaunchTemplate, State, TemplateSpec, TemplateVersion, new_id};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact, invalid};

/// The maximum size of user data in bytes before it is encoded.
const USER_DATA_LIMIT: usize = 16 * 1024;
/// The longest description of a version, in characters.
const DESCRIPTION_LIMIT: usize = 255;

/// A version's data, under the parameter names of the request.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a>(&'a Value);

impl<'a> Data<'a> {
    /// Returns the text at a dotted path.
    pub fn text(self, path: &str) -> Option<&'a str> {
        path.split('.').try_fold(self.0, |at, step| at.get(step))?.as_str()
    }

    /// Returns the security groups, which are at the top level or in the first network interface.
    pub fn security_groups(self) -> Vec<String> {
        let top = self.list("SecurityGroupId");
        if top.is_empty() { self.list("NetworkInterface.1.SecurityGroupId") } else { top }
    }

    /// Returns the instance profile, by name or ARN.
    pub fn profile(self) -> Option<&'a str> {
        self.text("IamInstanceProfile.Name").or_else(|| self.text("IamInstanceProfile.Arn"))
    }

    /// Returns the tags for one type of resource that a launch creates.
    pub fn tags_for(self, kind: &str) -> BTreeMap<String, String> {
        let specs = self.0.get("TagSpecification").and_then(Value::as_object);
        let ours = |spec: &&Value| spec.get("ResourceType").and_then(Value::as_str) == Some(kind);
        let specs = specs.into_iter().flat_map(Map::values).filter(ours);
        let tags = specs.filter_map(|spec| spec.get("Tag")?.as_object()).flat_map(Map::values);
        let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
    }

    /// Returns the elements of a top-level list.
    pub fn elements(self, name: &str) -> Vec<Data<'a>> {
        numbered(self.0.get(name).and_then(Value::as_object)).into_iter().map(Data).collect()
    }

    /// Returns whether a flag is set, or `None` if it is missing.
    pub fn flag(self, path: &str) -> Option<bool> {
        self.text(path).map(|text| text.eq_ignore_ascii_case("true"))
    }

    fn list(self, path: &str) -> Vec<String> {
        let at = path.split('.').try_fold(self.0, |at, step| at.get(step)).and_then(Value::as_object);
        numbered(at).into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }
}

/// Returns the elements of a list, ordered by their numbers in the request.
fn numbered(list: Option<&Map<String, Value>>) -> Vec<&Value> {
    let mut items: Vec<(u32, &Value)> =
        list.into_iter().flatten().filter_map(|(number, item)| Some((number.parse().ok()?, item))).collect();
    items.sort_by_key(|(number, _)| *number);
    items.into_iter().map(|(_, item)| item).collect()
}

/// Returns the launch template that a call names.
pub fn find<'a>(state: &'a State, id: Option<&str>, name: Option<&str>) -> Result<&'a LaunchTemplate, ApiError> {
    match (id, name) {
        (Some(id), _) if !id.starts_with("lt-") => Err(ApiError::new(
            "InvalidLaunchTemplateId.Malformed",
            format!("The specified launch template, with template ID {id}, is malformed."),
        )),
        (Some(id), _) => state.launch_templates.get(id).ok_or_else(|| {
            let message = format!("The specified launch template, with template ID {id}, does not exist.");
            ApiError::new("InvalidLaunchTemplateId.NotFound", message)
        }),
        (None, Some(name)) => state.launch_templates.values().find(|template| template.name == name).ok_or_else(|| {
            let message = format!("The specified launch template, with template name {name}, does not exist.");
            ApiError::new("InvalidLaunchTemplateName.NotFoundException", message)
        }),
        (None, None) => Err(ApiError::new(
            "MissingParameter",
            "Either a launch template ID or a launch template name must be specified.",
        )),
    }
}

/// Resolves a template's version, such as `$Latest`, to its current number and data.
pub fn resolve<'a>(state: &'a State, spec: &TemplateSpec) -> Result<(u64, Data<'a>), ApiError> {
    let template = find(state, Some(&spec.id), None)?;
    let (number, version) = version(template, &spec.version)?;
    Ok((number, Data(&version.data)))
}

fn version<'a>(template: &'a LaunchTemplate, version: &str) -> Result<(u64, &'a TemplateVersion), ApiError> {
    let number = match version {
        "$Latest" => Some(template.latest),
        "$Default" | "" => Some(template.default),
        other => other.parse().ok(),
    };
    let found = number.and_then(|number| Some((number, template.versions.get(&number)?)));
    found.ok_or_else(|| {
        let message = format!("Could not find launch template version {version}");
        ApiError::new("InvalidLaunchTemplateId.VersionNotFound", message)
    })
}

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let name = params.required("LaunchTemplateName")?;
    check_name(name)?;
    let version = requested(params, Map::new())?;
    let tags = tags::specified(params, "launch-template")?;
    if let Some(existing) = state.launch_templates.values().find(|template| template.name == name) {
        let first = existing.versions.get(&1).filter(|first| first.token.is_some() && first.token == version.token);
        return match first {
            Some(first) if first.data == version.data => Ok(shown(state, site, existing)),
            Some(_) => Err(other_parameters()),
            None => Err(ApiError::new(
                "InvalidLaunchTemplateName.AlreadyExistsException",
                "Launch template name already in use.",
            )),
        };
    }
    let id = new_id("lt");
    let template = LaunchTemplate {
        id: id.clone(),
        name: name.to_owned(),
        created: version.created,
        default: 1,
        latest: 1,
        versions: BTreeMap::from([(1, version)]),
    };
    state.launch_templates.insert(id.clone(), template);
    state.tag(&id, tags);
    Ok(shown(state, site, &state.launch_templates[&id]))
}

/// Checks a name: 3 to 128 of these characters (docs/aws.md §1).
fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "().-/_".contains(c));
    if plain && (3..=128).contains(&name.len()) {
        return Ok(());
    }
    let message = "Launch template names must be between 3 and 128 characters long, and may contain letters, numbers, and the following characters: - ( ) . / _";
    Err(ApiError::new("InvalidLaunchTemplateName.MalformedException", message))
}

fn other_parameters() -> ApiError {
    ApiError::new("IdempotentParameterMismatch", "The client token has already been used with other parameters.")
}

/// Returns the version that a call describes, based on the data of another version.
fn requested(params: &Params, mut data: Map<String, Value>) -> Result<TemplateVersion, ApiError> {
    if !params.has("LaunchTemplateData") {
        return Err(ApiError::new("MissingParameter", "The request must contain the parameter LaunchTemplateData"));
    }
    if let Value::Object(given) = as_value(params.at("LaunchTemplateData")) {
        data.extend(given);
    }
    let profile = data.get("IamInstanceProfile");
    if profile.is_some_and(|profile| profile.get("Name").is_some() && profile.get("Arn").is_some()) {
        let message =
            "The parameter iamInstanceProfile.name may not be used in combination with iamInstanceProfile.arn";
        return Err(ApiError::new("InvalidParameterCombination", message));
    }
    if let Some(encoded) = data.get("UserData").and_then(Value::as_str) {
        check_user_data(encoded)?;
    }
    let whole = Value::Object(data.clone());
    check_tag_types(Data(&whole))?;
    check_flags(&whole)?;
    let description = params.text("VersionDescription");
    if description.is_some_and(|text| text.chars().count() > DESCRIPTION_LIMIT) {
        let message = format!("The version description may have at most {DESCRIPTION_LIMIT} characters.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    Ok(TemplateVersion {
        description: description.map(str::to_owned),
        created: Moment::now(),
        token: params.text("ClientToken").map(str::to_owned),
        data: Value::Object(data),
    })
}

/// Refuses flags that are neither true nor false.
fn check_flags(data: &Value) -> Result<(), ApiError> {
    const FLAGS: &[&str] = &[
        "AssociatePublicIpAddress",
        "DeleteOnTermination",
        "DisableApiStop",
        "DisableApiTermination",
        "EbsOptimized",
        "Enabled",
        "Encrypted",
    ];
    for (name, value) in data.as_object().into_iter().flatten() {
        match value {
            Value::String(text) if FLAGS.contains(&name.as_str()) => match text.to_ascii_lowercase().as_str() {
                "true" | "false" => (),
                _ => return Err(invalid(text, name)),
            },
            inner => check_flags(inner)?,
        }
    }
    Ok(())
}

/// Refuses tags for resources that a launch does not create: there are no Spot requests, elastic GPUs or reservations
/// here.
fn check_tag_types(data: Data) -> Result<(), ApiError> {
    const MADE: &[&str] = &["instance", "network-interface", "volume"];
    let specifications = data.elements("TagSpecification");
    match specifications.iter().filter_map(|one| one.text("ResourceType")).find(|kind| !MADE.contains(kind)) {
        Some(kind) => Err(ApiError::new(
            "InvalidParameterValue",
            format!("'{kind}' is not a valid taggable resource type for this operation."),
        )),
        None => Ok(()),
    }
}

fn check_user_data(encoded: &str) -> Result<(), ApiError> {
    let raw = STANDARD
        .decode(encoded)
        .map_err(|_| ApiError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    if raw.len() > USER_DATA_LIMIT {
        return Err(ApiError::new("InvalidParameterValue", format!("User data is limited to {USER_DATA_LIMIT} bytes")));
    }
    Ok(())
}

fn as_value(params: &Params) -> Value {
    let entries: Map<String, Value> =
        params.entries().map(|(name, inner)| (name.to_owned(), as_value(inner))).collect();
    if entries.is_empty() { Value::String(params.value().to_owned()) } else { Value::Object(entries) }
}

pub fn create_version(state: &mut State, site: &Site, params: &Params) -> Answer {
    let template = named(state, params)?;
    let base = match params.text("SourceVersion") {
        Some(source) => version(template, source)?.1.data.as_object().cloned().unwrap_or_default(),
        None => Map::new(),
    };
    let added = requested(params, base)?;
    let again = template.versions.iter().find(|(_, version)| version.token.is_some() && version.token == added.token);
    let number = match again {
        Some((number, version)) if version.data == added.data => *number,
        Some(_) => return Err(other_parameters()),
        None => {
            let id = template.id.clone();
            let template = state.launch_templates.get_mut(&id).expect("named() found the template");
            template.latest += 1;
            template.versions.insert(template.latest, added);
            template.latest
        }
    };
    let template = named(state, params)?;
    let mut xml = Xml::new();
    xml.within("launchTemplateVersion", |xml| write_version(xml, site, template, number));
    Ok(xml)
}

fn named<'a>(state: &'a State, params: &Params) -> Result<&'a LaunchTemplate, ApiError> {
    find(state, params.text("LaunchTemplateId"), params.text("LaunchTemplateName"))
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let (ids, names) = (params.texts("LaunchTemplateId"), params.texts("LaunchTemplateName"));
    for id in &ids {
        find(state, Some(id), None)?;
    }
    for name in &names {
        find(state, None, Some(name))?;
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for template in state.launch_templates.values() {
        let passes = filters.pass(state.tags_of(&template.id), |name| match name {
            "launch-template-name" => fact(&template.name),
            "create-time" => fact(template.created),
            _ => None,
        })?;
        let chosen = ids.is_empty() && names.is_empty() || ids.contains(&template.id) || names.contains(&template.name);
        if passes && chosen {
            found.push(template);
        }
    }
    let mut xml = Xml::new();
    xml.set("launchTemplates", found, |xml, template| write(xml, state, site, template));
    Ok(xml)
}

pub fn describe_versions(state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("LaunchTemplateVersion");
    let templates: Vec<&LaunchTemplate> = match (params.text("LaunchTemplateId"), params.text("LaunchTemplateName")) {
        (None, None) => state.launch_templates.values().collect(),
        (id, name) => vec![find(state, id, name)?],
    };
    let (low, high) = (params.parsed::<u64>("MinVersion")?, params.parsed::<u64>("MaxVersion")?);
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for template in templates {
        let numbers: Vec<u64> = if wanted.is_empty() {
            template.versions.keys().rev().copied().collect()
        } else {
            wanted.iter().map(|wanted| Ok(version(template, wanted)?.0)).collect::<Result<_, ApiError>>()?
        };
        for number in numbers {
            let passes = filters.pass(&BTreeMap::new(), |name| {
                let data = Data(&template.versions.get(&number)?.data);
                match name {
                    "is-default-version" => fact(number == template.default),
                    "image-id" => Some(data.text("ImageId").map(str::to_owned).into_iter().collect()),
                    "instance-type" => Some(data.text("InstanceType").map(str::to_owned).into_iter().collect()),
                    _ => None,
                }
            })?;
            if passes && low.is_none_or(|low| low <= number) && high.is_none_or(|high| number <= high) {
                found.push((template, number));
            }
        }
    }
    let mut xml = Xml::new();
    xml.set("launchTemplateVersionSet", found, |xml, (template, number)| write_version(xml, site, template, number));
    Ok(xml)
}

pub fn modify(state: &mut State, site: &Site, params: &Params) -> Answer {
    let template = named(state, params)?;
    let wanted = params.text("SetDefaultVersion").or_else(|| params.text("DefaultVersion"));
    let (id, number) = (template.id.clone(), version(template, wanted.unwrap_or_default())?.0);
    state.launch_templates.get_mut(&id).expect("named() found the template").default = number;
    Ok(shown(state, site, &state.launch_templates[&id]))
}

pub fn delete(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = named(state, params)?.id.clone();
    let answer = shown(state, site, &state.launch_templates[&id]);
    state.launch_templates.remove(&id);
    state.tags.remove(&id);
    Ok(answer)
}

pub fn delete_versions(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let template = named(state, params)?;
    let (id, name, default) = (template.id.clone(), template.name.clone(), template.default);
    // A refused call has no effect.
    let number = |text: &String| text.parse::<u64>().map_err(|_| invalid(text, "LaunchTemplateVersion"));
    let numbers: Vec<u64> =
        params.texts("LaunchTemplateVersion").iter().map(number).collect::<Result<_, ApiError>>()?;
    let versions = &mut state.launch_templates.get_mut(&id).expect("named() found the template").versions;
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for number in numbers {
        if number == default {
            refused.push((number, "unexpectedError", "You cannot delete the default version of a launch template."));
        } else if versions.remove(&number).is_some() {
            done.push(number);
        } else {
            refused.push((
                number,
                "launchTemplateVersionDoesNotExist",
                "The specified launch template version does not exist.",
            ));
        }
    }
    let mut xml = Xml::new();
    xml.set("successfullyDeletedLaunchTemplateVersionSet", done, |xml, number| {
        xml.text("launchTemplateId", &id).text("launchTemplateName", &name).text("versionNumber", number);
    });
    xml.set("unsuccessfullyDeletedLaunchTemplateVersionSet", refused, |xml, (number, code, message)| {
        xml.text("launchTemplateId", &id).text("launchTemplateName", &name).text("versionNumber", number);
        xml.within("responseError", |xml| {
            xml.text("code", code).text("message", message);
        });
    });
    Ok(xml)
}

fn shown(state: &State, site: &Site, template: &LaunchTemplate) -> Xml {
    let mut xml = Xml::new();
    xml.within("launchTemplate", |xml| write(xml, state, site, template));
    xml
}

fn write(xml: &mut Xml, state: &State, site: &Site, template: &LaunchTemplate) {
    xml.text("launchTemplateId", &template.id).text("launchTemplateName", &template.name);
    xml.text("createTime", template.created).text("createdBy", creator(site));
    xml.text("defaultVersionNumber", template.default).text("latestVersionNumber", template.latest);
    xml.tag_set(state.tags_of(&template.id));
}

fn creator(site: &Site) -> String {
    format!("arn:aws:iam::{}:root", site.account)
}

fn write_version(xml: &mut Xml, site: &Site, template: &LaunchTemplate, number: u64) {
    let Some(version) = template.versions.get(&number) else {
        return;
    };
    xml.text("launchTemplateId", &template.id).text("launchTemplateName", &template.name).text("versionNumber", number);
    xml.maybe("versionDescription", version.description.as_ref());
    xml.text("createTime", version.created).text("createdBy", creator(site));
    xml.text("defaultVersion", number == template.default);
    xml.within("launchTemplateData", |xml| write_fields(xml, &version.data));
}

/// Writes data under the element names of the response: `BlockDeviceMapping.1.DeviceName` becomes
/// `blockDeviceMappingSet/item/deviceName`.
fn write_fields(xml: &mut Xml, data: &Value) {
    for (name, value) in data.as_object().into_iter().flatten() {
        let camel = name[..1].to_lowercase() + &name[1..];
        match value {
            Value::Object(fields) if fields.keys().all(|key| key.parse::<u32>().is_ok()) => {
                let inside_interface =
                    data.get("DeviceIndex").is_some() || data.get("AssociatePublicIpAddress").is_some();
                let (list, element) = match name.as_str() {
                    "SecurityGroupId" if inside_interface => ("groupSet".to_owned(), "groupId"),
                    "LicenseSpecification" => ("licenseSet".to_owned(), "item"),
                    _ => (format!("{camel}Set"), "item"),
                };
                xml.within(&list, |xml| {
                    for item in numbered(Some(fields)) {
                        write_one(xml, element, item);
                    }
                });
            }
            value => write_one(xml, &camel, value),
        }
    }
}

fn write_one(xml: &mut Xml, name: &str, value: &Value) {
    match value {
        Value::String(text) => xml.text(name, text),
        fields => xml.within(name, |xml| write_fields(xml, fields)),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn launch_template_data_is_returned_under_the_names_of_the_response() {
        let form = [
            ("LaunchTemplateData.ImageId", "ami-1"),
            ("LaunchTemplateData.IamInstanceProfile.Name", "web"),
            ("LaunchTemplateData.BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            ("LaunchTemplateData.BlockDeviceMapping.1.Ebs.Encrypted", "true"),
            ("LaunchTemplateData.NetworkInterface.1.DeviceIndex", "0"),
            ("LaunchTemplateData.NetworkInterface.1.SecurityGroupId.1", "sg-1"),
            ("LaunchTemplateData.TagSpecification.1.ResourceType", "instance"),
            ("LaunchTemplateData.TagSpecification.1.Tag.1.Key", "a"),
            ("LaunchTemplateData.TagSpecification.1.Tag.1.Value", ""),
        ];
        let form = form.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let version = requested(&Params::parse(&form), Map::new()).unwrap();
        let data = Data(&version.data);
        assert_eq!(data.security_groups(), ["sg-1"]);
        assert_eq!(data.profile(), Some("web"));
        assert_eq!(data.tags_for("instance"), BTreeMap::from([("a".to_owned(), String::new())]));
        let mut xml = Xml::new();
        write_fields(&mut xml, &version.data);
        expect![[r#"Xml("<blockDeviceMappingSet><item><deviceName>/dev/xvda</deviceName><ebs><encrypted>true</encrypted></ebs></item></blockDeviceMappingSet><iamInstanceProfile><name>web</name></iamInstanceProfile><imageId>ami-1</imageId><networkInterfaceSet><item><deviceIndex>0</deviceIndex><groupSet><groupId>sg-1</groupId></groupSet></item></networkInterfaceSet><tagSpecificationSet><item><resourceType>instance</resourceType><tagSet><item><key>a</key><value></value></item></tagSet></item></tagSpecificationSet>")"#]].assert_eq(&format!("{xml:?}"));
    }

    #[test]
    fn user_data_has_a_limit() {
        assert_eq!(check_user_data(&STANDARD.encode(vec![b'x'; USER_DATA_LIMIT])), Ok(()));
        let fault = check_user_data(&STANDARD.encode(vec![b'x'; USER_DATA_LIMIT + 1])).unwrap_err();
        assert_eq!(fault.message, "User data is limited to 16384 bytes");
    }
}
