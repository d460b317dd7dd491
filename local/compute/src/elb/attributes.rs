//! Attributes of load balancers and target groups: names, allowed values, defaults.

use std::collections::BTreeMap;

use crate::Site;
use crate::state::{LoadBalancer, State, TargetGroup};
use kit::query::{Answer, ApiError, NOT_IMPLEMENTED, Params, Xml};

/// The allowed values of an attribute.
enum Domain {
    Flag,
    Text,
    Number(u64, u64),
    One(&'static [&'static str]),
    /// An attribute that has no effect here accepts only its default.
    Fixed,
    /// Has no effect as long as another attribute, which is fixed, keeps its default. Any value is accepted.
    Idle,
}

const LOGS: &str = "access_logs.s3.enabled";
const LOG_BUCKET: &str = "access_logs.s3.bucket";
const LOG_PREFIX: &str = "access_logs.s3.prefix";

const LOAD_BALANCER: &[(&str, &str, Domain)] = &[
    (LOG_BUCKET, "", Domain::Text),
    (LOGS, "false", Domain::Flag),
    (LOG_PREFIX, "", Domain::Text),
    ("client_keep_alive.seconds", "3600", Domain::Fixed),
    ("connection_logs.s3.bucket", "", Domain::Idle),
    ("connection_logs.s3.enabled", "false", Domain::Fixed),
    ("connection_logs.s3.prefix", "", Domain::Idle),
    ("deletion_protection.enabled", "false", Domain::Flag),
    ("idle_timeout.timeout_seconds", "60", Domain::Number(1, 4000)),
    ("ipv6.deny_all_igw_traffic", "false", Domain::Fixed),
    ("load_balancing.cross_zone.enabled", "true", Domain::Fixed),
    ("routing.http.desync_mitigation_mode", "defensive", Domain::Fixed),
    ("routing.http.drop_invalid_header_fields.enabled", "false", Domain::Flag),
    ("routing.http.preserve_host_header.enabled", "false", Domain::Fixed),
    ("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Domain::Fixed),
    ("routing.http.xff_client_port.enabled", "false", Domain::Fixed),
    ("routing.http.xff_header_processing.mode", "append", Domain::One(&["append", "preserve", "remove"])),
    ("routing.http2.enabled", "true", Domain::Fixed),
    ("waf.fail_open.enabled", "false", Domain::Fixed),
    ("zonal_shift.config.enabled", "false", Domain::Fixed),
];

const TARGET_GROUP: &[(&str, &str, Domain)] = &[
    ("deregistration_delay.timeout_seconds", "300", Domain::Number(0, 3600)),
    ("load_balancing.algorithm.anomaly_mitigation", "off", Domain::Fixed),
    (
        "load_balancing.algorithm.type",
        "round_robin",
        Domain::One(&["round_robin", "least_outstanding_requests", "weighted_random"]),
    ),
    ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration", Domain::Fixed),
    ("slow_start.duration_seconds", "0", Domain::Fixed),
    ("stickiness.app_cookie.cookie_name", "", Domain::Idle),
    ("stickiness.app_cookie.duration_seconds", "86400", Domain::Idle),
    ("stickiness.enabled", "false", Domain::Fixed),
    ("stickiness.lb_cookie.duration_seconds", "86400", Domain::Idle),
    ("stickiness.type", "lb_cookie", Domain::Idle),
    ("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Domain::Idle),
    ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", Domain::Idle),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Domain::Fixed),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", Domain::Fixed),
];

/// Returns the attributes of a new load balancer.
pub fn of_load_balancer() -> BTreeMap<String, String> {
    defaults(LOAD_BALANCER)
}

/// Returns the attributes of a new target group.
pub fn of_target_group() -> BTreeMap<String, String> {
    defaults(TARGET_GROUP)
}

fn defaults(table: &[(&str, &str, Domain)]) -> BTreeMap<String, String> {
    table.iter().map(|(key, value, _)| (key.to_string(), value.to_string())).collect()
}

/// Returns the idle timeout of a connection in seconds.
pub fn idle_timeout_s(one: &LoadBalancer) -> u64 {
    number(&one.attributes, "idle_timeout.timeout_seconds").unwrap_or(60)
}

/// Returns how many seconds a draining target may finish its requests.
pub fn deregistration_delay_s(group: &TargetGroup) -> u64 {
    number(&group.attributes, "deregistration_delay.timeout_seconds").unwrap_or(300)
}

/// The destination of a load balancer's access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    pub bucket: String,
    /// With a slash at the end, unless it is empty.
    pub prefix: String,
}

/// Returns where a load balancer with these attributes writes its access log, if it does.
pub fn log_place(attributes: &BTreeMap<String, String>) -> Option<LogPlace> {
    let slash = |prefix: &str| if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    (text(attributes, LOGS) == "true").then(|| LogPlace {
        bucket: text(attributes, LOG_BUCKET).to_owned(),
        prefix: slash(text(attributes, LOG_PREFIX)),
    })
}

/// Returns where a load balancer would write its access log after a call that concerns it, and its ARN. An invalid call
/// is refused later.
pub fn wanted_log_place(state: &State, params: &Params) -> Option<(String, LogPlace)> {
    let one = state.load_balancer(params.required("LoadBalancerArn").ok()?).ok()?;
    let changes = checked(params, LOAD_BALANCER, "Load balancer").ok()?;
    let mut attributes = one.attributes.clone();
    let concerns = changes.keys().any(|key| [LOGS, LOG_BUCKET, LOG_PREFIX].contains(&key.as_str()));
    attributes.extend(changes);
    log_place(&attributes).filter(|_| concerns).map(|place| (one.arn.clone(), place))
}

/// Returns the value of an attribute, or an empty string if it is not set.
pub fn text<'a>(attributes: &'a BTreeMap<String, String>, key: &str) -> &'a str {
    attributes.get(key).map(String::as_str).unwrap_or_default()
}

fn number(attributes: &BTreeMap<String, String>, key: &str) -> Option<u64> {
    attributes.get(key)?.parse().ok()
}

pub fn describe_load_balancer(state: &State, _site: &Site, params: &Params) -> Answer {
    Ok(shown(&state.load_balancer(params.required("LoadBalancerArn")?)?.attributes))
}

pub fn describe_target_group(state: &State, _site: &Site, params: &Params) -> Answer {
    Ok(shown(&state.target_group(params.required("TargetGroupArn")?)?.attributes))
}

/// A listener has the same attributes as every new one; none of them can be changed here.
pub fn describe_listener(state: &State, _site: &Site, params: &Params) -> Answer {
    state.listener(params.required("ListenerArn")?)?;
    Ok(shown(&BTreeMap::from([("routing.http.response.server.enabled".to_owned(), "true".to_owned())])))
}

/// Capacity reservations do not exist here.
pub fn describe_capacity(state: &State, _site: &Site, params: &Params) -> Answer {
    state.load_balancer(params.required("LoadBalancerArn")?)?;
    let mut xml = Xml::new();
    xml.members("CapacityReservationState", None::<()>, |_, ()| ());
    Ok(xml)
}

pub fn modify_load_balancer(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = params.required("LoadBalancerArn")?;
    state.load_balancer(arn)?;
    let changes = checked(params, LOAD_BALANCER, "Load balancer")?;
    let one = state.load_balancers.get_mut(arn).expect("the lookup above found it");
    one.attributes.extend(changes);
    Ok(shown(&one.attributes))
}

pub fn modify_target_group(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = params.required("TargetGroupArn")?;
    state.target_group(arn)?;
    let changes = checked(params, TARGET_GROUP, "Target group")?;
    let group = state.target_groups.get_mut(arn).expect("the lookup above found it");
    group.attributes.extend(changes);
    Ok(shown(&group.attributes))
}

fn checked(params: &Params, table: &[(&str, &str, Domain)], what: &str) -> Result<BTreeMap<String, String>, ApiError> {
    super::needs(params, "Attributes")?;
    let refuse = |message: String| Err(ApiError::new("InvalidConfigurationRequest", message));
    let mut changes = BTreeMap::new();
    for (key, value) in params.tags("Attributes") {
        let Some((_, _, domain)) = table.iter().find(|(known, _, _)| *known == key) else {
            return refuse(format!("{what} attribute key '{key}' is not recognized"));
        };
        let fits = match domain {
            Domain::Idle | Domain::Text => true,
            Domain::Fixed if table.iter().any(|(known, first, _)| *known == key && *first == value) => true,
            Domain::Fixed => {
                let text = format!("the local AWS does not carry out the attribute {key}={value}");
                return Err(ApiError::new(NOT_IMPLEMENTED, text));
            }
            Domain::One(known) => known.contains(&value.as_str()),
            Domain::Flag => matches!(value.as_str(), "true" | "false"),
            Domain::Number(low, high) => value.parse::<u64>().is_ok_and(|number| (*low..=*high).contains(&number)),
        };
        if !fits {
            return refuse(format!("The value of '{key}' is not valid: '{value}'"));
        }
        changes.insert(key, value);
    }
    Ok(changes)
}

fn shown(attributes: &BTreeMap<String, String>) -> Xml {
    let mut xml = Xml::new();
    xml.members("Attributes", attributes, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
    xml
}
