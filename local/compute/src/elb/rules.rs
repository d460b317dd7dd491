//! Rules of listeners: which requests go elsewhere than the default actions send them (docs/aws.md §9.10).

use std::collections::BTreeSet;

use super::listeners::{actions, check_groups, check_redirects, write_actions};
use super::tags;
use crate::Site;
use crate::state::{Condition, Field, Listener, ListenerRule, State, new_hex};
use kit::query::{Answer, ApiError, NOT_IMPLEMENTED, Params, Xml};

/// The most rules of a load balancer, without the default ones.
const MOST: usize = 100;
/// The most values in the conditions of a rule.
const MOST_VALUES: usize = 5;
/// The most wildcards in the conditions of a rule.
const MOST_WILDCARDS: usize = 6;
/// The longest value of a condition.
const LONGEST_VALUE: usize = 128;
/// The characters of a path pattern besides letters and digits.
const IN_PATHS: &str = "_-.$/~\"'@:+&*?";
/// The characters of a host name besides letters and digits.
const IN_HOSTS: &str = "-.*?";

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let listener = state.listener(params.required("ListenerArn")?)?.clone();
    let priority = params.parsed("Priority")?;
    let priority = checked_priority(priority.ok_or_else(|| invalid("A rule priority must be specified"))?)?;
    let conditions = conditions(params)?;
    let actions = actions(state, params, "Actions")?;
    check_redirects(&actions, &listener.protocol, listener.port)?;
    check_groups(state, site, &listener.load_balancer, &actions)?;
    let tags = tags::wanted(params)?;
    if state.rules_of(&listener.arn).iter().any(|rule| rule.priority == priority) {
        return Err(in_use(priority));
    }
    let listeners: BTreeSet<&str> =
        state.listeners_of(&listener.load_balancer).map(|listener| listener.arn.as_str()).collect();
    if state.rules.values().filter(|rule| listeners.contains(rule.listener.as_str())).count() >= MOST {
        let text =
            format!("The maximum number of rules on load balancer '{}' has been reached", listener.load_balancer);
        return Err(ApiError::new("TooManyRules", text));
    }
    let arn = format!("{}/{}", listener.arn.replacen(":listener/", ":listener-rule/", 1), new_hex());
    let rule = ListenerRule { arn: arn.clone(), listener: listener.arn, priority, conditions, actions };
    state.tag(&arn, tags);
    let xml = shown([Shown::Rule(&rule)]);
    state.rules.insert(arn, rule);
    Ok(xml)
}

pub fn modify(state: &mut State, site: &Site, params: &Params) -> Answer {
    let before = own(state, params.required("RuleArn")?, "modified")?.clone();
    if !params.has("Conditions") && !params.has("Actions") {
        return Err(invalid("Either conditions or actions must be specified"));
    }
    let conditions = if params.has("Conditions") { conditions(params)? } else { before.conditions.clone() };
    let actions = if params.has("Actions") { actions(state, params, "Actions")? } else { before.actions.clone() };
    let listener = state.listener(&before.listener)?;
    check_redirects(&actions, &listener.protocol, listener.port)?;
    check_groups(state, site, &listener.load_balancer, &actions)?;
    let rule = ListenerRule { conditions, actions, ..before };
    let xml = shown([Shown::Rule(&rule)]);
    state.rules.insert(rule.arn.clone(), rule);
    Ok(xml)
}

pub fn delete(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arn = own(state, params.required("RuleArn")?, "deleted")?.arn.clone();
    remove(state, &arn);
    Ok(Xml::new())
}

/// Sets the priorities of several rules at once, so that they can be exchanged.
pub fn set_priorities(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let mut wanted: Vec<(String, u32)> = Vec::new();
    for pair in params.items("RulePriorities") {
        let rule = own(state, pair.required("RuleArn")?, "modified")?;
        let priority = pair.parsed("Priority")?.ok_or_else(|| invalid("A rule priority must be specified"))?;
        let priority = checked_priority(priority)?;
        if wanted.iter().any(|(_, other)| *other == priority) {
            return Err(invalid(format!("Priority '{priority}' was provided multiple times")));
        }
        if wanted.iter().any(|(arn, _)| *arn == rule.arn) {
            return Err(invalid(format!("Rule '{}' was provided multiple times", rule.arn)));
        }
        wanted.push((rule.arn.clone(), priority));
    }
    if wanted.is_empty() {
        return Err(invalid("A rule priority must be specified"));
    }
    for (arn, priority) in &wanted {
        let listener = &state.rule(arn)?.listener;
        let stays = |rule: &&ListenerRule| wanted.iter().all(|(arn, _)| *arn != rule.arn);
        if state.rules_of(listener).into_iter().filter(stays).any(|rule| rule.priority == *priority) {
            return Err(in_use(*priority));
        }
    }
    for (arn, priority) in &wanted {
        if let Some(rule) = state.rules.get_mut(arn) {
            rule.priority = *priority;
        }
    }
    Ok(shown(wanted.iter().filter_map(|(arn, _)| state.rules.get(arn)).map(Shown::Rule)))
}

/// Shows the rules of a listener, or those with these ARNs. The default actions count as a rule, and are last.
pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let (listener, arns) = (params.text("ListenerArn"), params.texts("RuleArns"));
    let found: Vec<Shown> = match listener {
        Some(_) if !arns.is_empty() => {
            return Err(invalid("You cannot specify both listener ARN and rule ARNs"));
        }
        Some(arn) => {
            let listener = state.listener(arn)?;
            let rules = state.rules_of(arn).into_iter().map(Shown::Rule);
            rules.chain([Shown::Default(listener)]).collect()
        }
        None if arns.is_empty() => {
            return Err(invalid("You must specify either listener rule ARNs or a listener ARN"));
        }
        None => {
            let by_arn = |arn: &String| {
                let default = || state.listeners.values().find(|one| default_arn(one) == *arn).map(Shown::Default);
                state.rule(arn).map(Shown::Rule).or_else(|error| default().ok_or(error))
            };
            arns.iter().map(by_arn).collect::<Result<_, ApiError>>()?
        }
    };
    Ok(shown(found))
}

/// Removes the rules of a listener.
pub fn remove_all(state: &mut State, listener: &str) {
    let arns: Vec<String> = state.rules_of(listener).into_iter().map(|rule| rule.arn.clone()).collect();
    arns.iter().for_each(|arn| remove(state, arn));
}

fn remove(state: &mut State, arn: &str) {
    state.rules.remove(arn);
    state.tags.remove(arn);
}

/// Returns a rule that can be changed: not a default one.
fn own<'a>(state: &'a State, arn: &str, verb: &str) -> Result<&'a ListenerRule, ApiError> {
    if state.listeners.values().any(|listener| default_arn(listener) == arn) {
        return Err(ApiError::new("OperationNotPermitted", format!("Default rule '{arn}' cannot be {verb}")));
    }
    state.rule(arn)
}

/// Returns the ARN of a listener's default rule.
fn default_arn(listener: &Listener) -> String {
    let arn = listener.arn.replacen(":listener/", ":listener-rule/", 1);
    let id = arn.rsplit('/').next().unwrap_or_default().chars().rev().collect::<String>();
    format!("{arn}/{id}")
}

fn checked_priority(priority: u32) -> Result<u32, ApiError> {
    match priority {
        1..=50_000 => Ok(priority),
        other => Err(invalid(format!("Priority '{other}' must be between 1 and 50000"))),
    }
}

fn in_use(priority: u32) -> ApiError {
    ApiError::new("PriorityInUse", format!("Priority '{priority}' is currently in use"))
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", text.into())
}

fn conditions(params: &Params) -> Result<Vec<Condition>, ApiError> {
    let items = params.items("Conditions");
    if items.is_empty() {
        return Err(invalid("A condition must be specified"));
    }
    let conditions: Vec<Condition> = items.into_iter().map(condition).collect::<Result<_, ApiError>>()?;
    for field in [Field::Host, Field::Path] {
        if conditions.iter().filter(|condition| condition.field == field).count() > 1 {
            return Err(invalid(format!("A rule can only have one '{}' condition", name(field))));
        }
    }
    let values: Vec<&String> = conditions.iter().flat_map(|condition| &condition.values).collect();
    if values.len() > MOST_VALUES {
        return Err(invalid(format!("A rule can only have '{MOST_VALUES}' condition values")));
    }
    let wildcards = values.iter().flat_map(|value| value.chars()).filter(|c| matches!(c, '*' | '?')).count();
    if wildcards > MOST_WILDCARDS {
        return Err(invalid(format!("A rule can only have '{MOST_WILDCARDS}' condition wildcards")));
    }
    Ok(conditions)
}

fn condition(item: &Params) -> Result<Condition, ApiError> {
    let (field, config) = match item.required("Field")? {
        "host-header" => (Field::Host, "HostHeaderConfig.Values"),
        "path-pattern" => (Field::Path, "PathPatternConfig.Values"),
        kind @ ("http-header" | "http-request-method" | "query-string" | "source-ip") => {
            let text = format!("the local AWS has no conditions of the type {kind}");
            return Err(ApiError::new(NOT_IMPLEMENTED, text));
        }
        other => {
            let known = "path-pattern,host-header,http-header,http-request-method,query-string,source-ip";
            return Err(invalid(format!("Condition field '{other}' must be one of '[{known}]'")));
        }
    };
    let has_config = item.has(config);
    let values = if has_config { item.texts(config) } else { item.texts("Values") };
    let name = name(field);
    match values.len() {
        0 => return Err(invalid("A condition value must be specified")),
        1 => (),
        _ if has_config => (),
        _ => return Err(invalid(format!("The '{name}' field contains too many values; the limit is '1'"))),
    }
    for value in &values {
        check_value(field, value)?;
    }
    Ok(Condition { field, values, has_config })
}

fn check_value(field: Field, value: &str) -> Result<(), ApiError> {
    let (name, others) = match field {
        Field::Host => (name(field), IN_HOSTS),
        Field::Path => (name(field), IN_PATHS),
    };
    if value.is_empty() {
        return Err(invalid("A condition value must be specified"));
    }
    if value.len() > LONGEST_VALUE {
        return Err(invalid(format!("The '{name}' value is too long; the limit is '{LONGEST_VALUE}'")));
    }
    let is_known = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    let last = value.rsplit_once('.').map(|(_, last)| last);
    let is_host = last.is_some_and(|last| last.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '*' | '?')));
    match value.chars().all(is_known) && (field == Field::Path || is_host) {
        true => Ok(()),
        false => Err(invalid(format!("Condition value '{value}' contains a character that is not valid"))),
    }
}

fn name(field: Field) -> &'static str {
    match field {
        Field::Host => "host-header",
        Field::Path => "path-pattern",
    }
}

/// A rule as it is shown.
enum Shown<'a> {
    Rule(&'a ListenerRule),
    Default(&'a Listener),
}

fn shown<'a>(rules: impl IntoIterator<Item = Shown<'a>>) -> Xml {
    let mut xml = Xml::new();
    xml.members("Rules", rules, |xml, one| {
        let (arn, priority, actions) = match one {
            Shown::Rule(rule) => (rule.arn.clone(), rule.priority.to_string(), &rule.actions),
            Shown::Default(listener) => (default_arn(listener), "default".to_owned(), &listener.actions),
        };
        let conditions: &[Condition] = match one {
            Shown::Rule(rule) => &rule.conditions,
            Shown::Default(_) => &[],
        };
        xml.text("RuleArn", arn).text("Priority", priority).text("IsDefault", matches!(one, Shown::Default(_)));
        xml.members("Conditions", conditions, write_condition);
        write_actions(xml, "Actions", actions);
        xml.members("Transforms", None::<()>, |_, ()| ());
    });
    xml
}

/// AWS shows the values in both places, if they were given as `Values` or if there is one.
fn write_condition(xml: &mut Xml, condition: &Condition) {
    let config = match condition.field {
        Field::Host => "HostHeaderConfig",
        Field::Path => "PathPatternConfig",
    };
    xml.text("Field", name(condition.field));
    if !condition.has_config || condition.values.len() == 1 {
        xml.names("Values", &condition.values);
    }
    xml.within(config, |xml| {
        xml.names("Values", &condition.values);
    });
}

impl ListenerRule {
    /// Returns whether a request fulfils all conditions. Host names are compared without regard to case, paths with it.
    pub fn fits(&self, host: &str, path: &str) -> bool {
        self.conditions.iter().all(|condition| match condition.field {
            Field::Host => {
                let host = host.to_ascii_lowercase();
                condition.values.iter().any(|value| is_like(&value.to_ascii_lowercase(), &host))
            }
            Field::Path => condition.values.iter().any(|value| is_like(value, path)),
        })
    }
}

/// Returns whether a text fits a pattern, in which `*` stands for any characters and `?` for exactly one.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut place, mut star) = (0, 0, None);
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(one) if *one == b'?' || *one == text[place] => (at, place) = (at + 1, place + 1),
            _ => match star {
                // The last star stands for one character more.
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    (at, place) = (star_at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|one| *one == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_any_characters_or_for_one() {
        for (pattern, text, fits) in [
            ("/api/*", "/api/", true),
            ("/api/*", "/api/a/b", true),
            ("/api/*", "/api", false),
            ("/api", "/api", true),
            ("/api", "/API", false),
            ("/*/b?", "/a/x/bc", true),
            ("/*/b?", "/a/b", false),
            ("*", "", true),
            ("/a*b*c", "/a-b-b-d-c", true),
            ("/a*b*c", "/a-c-b", false),
            ("?", "", false),
        ] {
            assert_eq!(is_like(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn all_conditions_must_hold_and_hosts_are_case_insensitive() {
        let condition = |field, value: &str| Condition { field, values: vec![value.to_owned()], has_config: true };
        let conditions = vec![condition(Field::Host, "*.Example.org"), condition(Field::Path, "/api/*")];
        let (arn, listener) = (String::new(), String::new());
        let rule = ListenerRule { arn, listener, priority: 1, conditions, actions: Vec::new() };
        assert!(rule.fits("API.example.org", "/api/1"));
        assert!(!rule.fits("example.org", "/api/1") && !rule.fits("api.example.org", "/Api/1"));
    }
}
