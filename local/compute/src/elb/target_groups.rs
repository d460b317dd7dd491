//! Target groups and their health checks (docs/aws.md §9.3).

use std::collections::BTreeMap;

use super::{attributes, tags};
use crate::Site;
use crate::ec2;
use crate::state::{HealthCheck, State, TargetGroup, new_hex};
use kit::query::{Answer, ApiError, Params, Xml};

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let name = params.required("Name")?;
    if name.len() > 32 {
        let message = format!("Target group name '{name}' cannot be longer than '32' characters");
        return Err(ApiError::new("ValidationError", message));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') || name.starts_with('-') || name.ends_with('-') {
        let message = format!(
            "Target group name '{name}' can only contain characters that are alphanumeric characters or hyphens(-) and cannot begin or end with a hyphen"
        );
        return Err(ApiError::new("ValidationError", message));
    }
    let protocol = params.text("Protocol").unwrap_or_default();
    if protocol != "HTTP" {
        return Err(ApiError::new("ValidationError", format!("Protocol '{protocol}' is not supported here; HTTP is")));
    }
    let vpc = params.text("VpcId").ok_or_else(|| ApiError::new("ValidationError", "A VPC ID must be specified"))?;
    if ec2::vpc(state, site, vpc).is_err() {
        return Err(ApiError::new("ValidationError", format!("The VPC ID '{vpc}' is not found")));
    }
    let target_type = params.text("TargetType").unwrap_or("instance");
    if target_type != "instance" {
        return Err(ApiError::new(
            "ValidationError",
            format!("Target type '{target_type}' is not supported here; instance is"),
        ));
    }
    let port = params.parsed("Port")?.ok_or_else(|| ApiError::new("ValidationError", "A port must be specified"))?;
    let wanted = TargetGroup {
        arn: format!("arn:aws:elasticloadbalancing:{}:{}:targetgroup/{name}/{}", site.region, site.account, new_hex()),
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        protocol_version: params.text("ProtocolVersion").unwrap_or("HTTP1").to_owned(),
        port,
        vpc: vpc.to_owned(),
        target_type: target_type.to_owned(),
        check: checked(params, &HealthCheck::default())?,
        attributes: attributes::of_target_group(),
        targets: BTreeMap::new(),
    };
    let tags = tags::wanted(params)?;
    if let Some(existing) = state.target_groups.values().find(|one| one.name == name) {
        let same = existing.port == port
            && existing.check == wanted.check
            && existing.protocol_version == wanted.protocol_version;
        if !same {
            let message = format!("A target group with the same name '{name}' exists, but with different settings");
            return Err(ApiError::new("DuplicateTargetGroupName", message));
        }
        return Ok(shown(state, [existing]));
    }
    state.tag(&wanted.arn, tags);
    state.target_groups.insert(wanted.arn.clone(), wanted.clone());
    Ok(shown(state, [&wanted]))
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            enabled: true,
            protocol: "HTTP".to_owned(),
            port: "traffic-port".to_owned(),
            path: "/".to_owned(),
            interval_s: 30,
            timeout_s: 5,
            healthy: 5,
            unhealthy: 2,
            matcher: "200".to_owned(),
        }
    }
}

/// Returns the health check of a call. Missing parameters keep the values of `before`.
fn checked(params: &Params, before: &HealthCheck) -> Result<HealthCheck, ApiError> {
    let text = |name: &str, before: &str| params.text(name).unwrap_or(before).to_owned();
    let check = HealthCheck {
        enabled: params.parsed("HealthCheckEnabled")?.unwrap_or(before.enabled),
        protocol: text("HealthCheckProtocol", &before.protocol),
        port: text("HealthCheckPort", &before.port),
        path: text("HealthCheckPath", &before.path),
        interval_s: params.parsed("HealthCheckIntervalSeconds")?.unwrap_or(before.interval_s),
        timeout_s: params.parsed("HealthCheckTimeoutSeconds")?.unwrap_or(before.timeout_s),
        healthy: params.parsed("HealthyThresholdCount")?.unwrap_or(before.healthy),
        unhealthy: params.parsed("UnhealthyThresholdCount")?.unwrap_or(before.unhealthy),
        matcher: text("Matcher.HttpCode", &before.matcher),
    };
    let refusal = match () {
        () if !(5..=300).contains(&check.interval_s) => "Health check interval must be between 5 and 300 seconds",
        () if !(2..=120).contains(&check.timeout_s) => "Health check timeout must be between 2 and 120 seconds",
        () if check.timeout_s >= check.interval_s => "Health check timeout must be smaller than the interval",
        () if !(2..=10).contains(&check.healthy) || !(2..=10).contains(&check.unhealthy) => {
            "Health check thresholds must be between 2 and 10"
        }
        () if !check.path.starts_with('/') || check.path.len() > 1024 => {
            "Health check path must begin with a '/' and be no longer than 1024 characters"
        }
        () if !is_matcher(&check.matcher) => "Health check matcher HTTP code must be within '200-499'",
        () if check.protocol == "HTTPS" => "The local AWS has health checks over HTTP only",
        () if check.protocol != "HTTP" => "Health check protocol must be HTTP or HTTPS",
        () if check.port != "traffic-port" && !check.port.parse::<u16>().is_ok_and(|port| port > 0) => {
            "Health check port must be 'traffic-port' or a port"
        }
        () => return Ok(check),
    };
    Err(ApiError::new("ValidationError", refusal))
}

fn is_matcher(matcher: &str) -> bool {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (200..=499).contains(code));
    matcher.split(',').all(|part| match part.split_once('-') {
        Some((low, high)) => code(low) <= code(high) && code(low).is_some(),
        None => code(part).is_some(),
    })
}

impl HealthCheck {
    /// Returns whether the matcher, such as `200`, `200,202` or `200-299`, accepts a status.
    pub fn accepts(&self, status: u16) -> bool {
        self.matcher.split(',').any(|part| match part.split_once('-') {
            Some((low, high)) => {
                low.parse().is_ok_and(|low: u16| low <= status) && high.parse().is_ok_and(|high: u16| status <= high)
            }
            None => part.parse() == Ok(status),
        })
    }
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let (arns, names) = (params.texts("TargetGroupArns"), params.texts("Names"));
    for arn in &arns {
        state.target_group(arn)?;
    }
    if !names.iter().all(|name| state.target_groups.values().any(|one| one.name == *name)) {
        return Err(ApiError::new("TargetGroupNotFound", "One or more target groups not found"));
    }
    let balancer = params.text("LoadBalancerArn");
    if let Some(arn) = balancer {
        state.load_balancer(arn)?;
    }
    let all = arns.is_empty() && names.is_empty();
    let chosen = |one: &&TargetGroup| {
        let named = all || arns.contains(&one.arn) || names.contains(&one.name);
        named && balancer.is_none_or(|arn| state.balancers_of(&one.arn).contains(arn))
    };
    Ok(shown(state, state.target_groups.values().filter(chosen)))
}

pub fn modify(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = params.required("TargetGroupArn")?;
    let check = checked(params, &state.target_group(arn)?.check)?;
    state.target_group_mut(arn)?.check = check;
    Ok(shown(state, [&state.target_groups[arn]]))
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = params.required("TargetGroupArn")?;
    if !state.balancers_of(arn).is_empty() {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        return Err(ApiError::new("ResourceInUse", message));
    }
    // Deleting a target group that does not exist succeeds.
    state.target_groups.remove(arn);
    state.tags.remove(arn);
    Ok(Xml::new())
}

fn shown<'a>(state: &State, found: impl IntoIterator<Item = &'a TargetGroup>) -> Xml {
    let mut xml = Xml::new();
    xml.members("TargetGroups", found, |xml, one| {
        xml.text("TargetGroupArn", &one.arn).text("TargetGroupName", &one.name).text("Protocol", &one.protocol);
        xml.text("Port", one.port).text("VpcId", &one.vpc).text("TargetType", &one.target_type);
        xml.text("ProtocolVersion", &one.protocol_version).text("IpAddressType", "ipv4");
        let check = &one.check;
        xml.text("HealthCheckEnabled", check.enabled).text("HealthCheckProtocol", &check.protocol);
        xml.text("HealthCheckPort", &check.port).text("HealthCheckPath", &check.path);
        xml.text("HealthCheckIntervalSeconds", check.interval_s).text("HealthCheckTimeoutSeconds", check.timeout_s);
        xml.text("HealthyThresholdCount", check.healthy).text("UnhealthyThresholdCount", check.unhealthy);
        xml.within("Matcher", |xml| {
            xml.text("HttpCode", &check.matcher);
        });
        xml.names("LoadBalancerArns", state.balancers_of(&one.arn));
    });
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_has_a_supported_protocol_and_port() {
        for (field, value, accepted) in [
            ("HealthCheckProtocol", "HTTP", true),
            ("HealthCheckProtocol", "HTTPS", false),
            ("HealthCheckProtocol", "TCP", false),
            ("HealthCheckPort", "traffic-port", true),
            ("HealthCheckPort", "8081", true),
            ("HealthCheckPort", "0", false),
            ("HealthCheckPort", "65536", false),
            ("HealthCheckPort", "http", false),
        ] {
            let params = Params::parse(&[(field.to_owned(), value.to_owned())].into());
            assert_eq!(checked(&params, &HealthCheck::default()).is_ok(), accepted, "{field}={value}");
        }
    }

    #[test]
    fn a_matcher_is_codes_and_ranges() {
        let check = |matcher: &str| HealthCheck { matcher: matcher.to_owned(), ..HealthCheck::default() };
        assert!(check("200").accepts(200) && !check("200").accepts(204));
        assert!(check("200,204").accepts(204));
        assert!(check("200-299").accepts(204) && !check("200-299").accepts(302));
        assert!(is_matcher("200-299,404") && !is_matcher("500") && !is_matcher("299-200") && !is_matcher("ok"));
    }
}
