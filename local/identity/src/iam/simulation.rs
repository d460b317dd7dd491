//! The policy simulator's API (docs/aws.md §3.5).

use super::replication;
use super::state::State;
use super::{Answer, not_found, refusal, required};
use crate::credentials::user_arn;
use crate::permissions::Policy;
use crate::permissions::simulation::{Simulated, simulate};
use kit::ACCOUNT;
use kit::answer::Refusal;
use kit::parameters;
use kit::query::{Params, Xml};

/// The lengths of the names of actions.
const ACTIONS: std::ops::RangeInclusive<usize> = 3..=128;

pub(super) fn of_principal(state: &State, params: &Params) -> Answer {
    let source = required(params, "PolicySourceArn")?;
    let policies = policies_of(state, source)?;
    let actions = params.texts("ActionNames");
    if actions.is_empty() {
        required(params, "ActionNames")?;
    }
    if let Some(wrong) = actions.iter().find(|action| !ACTIONS.contains(&action.len()) || !action.contains(':')) {
        return Err(refusal("InvalidInput", format!("Invalid action name: {wrong}")));
    }
    let resources = params.texts("ResourceArns");
    let resource: &str = match resources.as_slice() {
        [] => "*",
        [one] if one == "*" || one.starts_with("arn:") => one,
        [wrong] => {
            return Err(refusal("InvalidInput", format!("ResourceNames are not in a valid ARN format: {wrong}.")));
        }
        _ => {
            return Err(parameters::refusal("the local AWS simulates a request for one resource at a time".to_owned()));
        }
    };
    let given = params.items("ContextEntries").into_iter().map(|entry| {
        Ok::<_, Refusal>((required(entry, "ContextKeyName")?.to_owned(), entry.texts("ContextKeyValues")))
    });
    let given = given.collect::<Result<Vec<_>, Refusal>>()?;
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).members("EvaluationResults", &actions, |xml, action| {
        let Simulated { decision, missing } = match &policies {
            Some(policies) => simulate(policies, action, resource, &given),
            None => Simulated { decision: "allowed", missing: Vec::new() },
        };
        xml.text("EvalActionName", action).text("EvalResourceName", resource).text("EvalDecision", decision);
        xml.names("MissingContextValues", missing);
    });
    Ok(xml)
}

/// Returns the policies of a principal by its ARN; `None` for the account's user, which has all permissions.
fn policies_of(state: &State, arn: &str) -> Result<Option<Vec<Policy>>, Refusal> {
    let unclear =
        || refusal("InvalidInput", format!("Invalid Entity Arn: {arn} does not clearly define entity type and name."));
    if arn == user_arn() {
        return Ok(None);
    }
    let rest = arn.strip_prefix(&format!("arn:aws:iam::{ACCOUNT}:")).ok_or_else(unclear)?;
    let (kind, path) = rest.split_once('/').ok_or_else(unclear)?;
    let name = path.rsplit('/').next().unwrap_or(path);
    match kind {
        "role" => match state.role(name).filter(|role| role.arn == arn) {
            Some(role) => Ok(Some(replication::parsed(arn, &state.documents_of(role)))),
            None => Err(not_found(format!("The role with name {name} cannot be found."))),
        },
        "user" | "group" => Err(not_found(format!("The {kind} with name {name} cannot be found."))),
        _ => Err(unclear()),
    }
}
