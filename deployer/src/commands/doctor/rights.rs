//! Checks of rights: the policy simulator is asked about those of `up`, if the caller may ask it (docs/aws.md §3.5).

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::CheckResult;
use crate::{
    cloud::{
        aws::{Aws, items},
        site::Site,
    },
    commands::offline_page,
    config::Config,
    engine::Fault,
    output::counted::counted,
    rights::{AuthorizationRequest, Scope, of_command, requests},
};

/// What the checks are about.
pub const SUBJECT: &str = "permissions of `up`";

/// How many simulations run at once: IAM has low rate limits.
const AT_ONCE: usize = 4;

/// Whether the caller has the permissions of `up`.
///
/// Errors: the caller may not ask, or cannot be asked about.
pub async fn check(aws: &Aws, config: &Config, site: &Site) -> Result<Vec<CheckResult>, Fault> {
    let source = match Principal::of(&site.caller_arn) {
        Principal::Root => return Ok(vec![CheckResult::good(SUBJECT, "the root user may do everything")]),
        Principal::User(arn) => arn,
        Principal::Role { arn, name } => role(aws, arn, &name).await?,
        Principal::Other => {
            let text = format!("{} is neither a user nor in a role", site.caller_arn);
            return Err(Fault::new("SimulatePrincipalPolicy", "InvalidInput", text));
        }
    };
    let existing_role = config.roles.as_ref().map(|roles| roles.existing.to_string());
    let scope = Scope::of_stack(config.name.as_str(), &site.account, &site.region, existing_role);
    let needs = of_command("up").map(|needs| needs.rights(config, &offline_page(config))).unwrap_or_default();
    let asked = requests(&needs, &scope);
    let simulations = asked.iter().map(|(request, actions)| simulate(aws, &source, request, actions));
    let results: Vec<Vec<EvaluationResult>> = stream::iter(simulations).buffered(AT_ONCE).try_collect().await?;
    Ok(Rights::of(results.iter().flatten()).check_results())
}

/// The caller.
#[derive(Debug, PartialEq, Eq)]
enum Principal {
    Root,
    /// A user, with its ARN.
    User(String),
    /// A session of a role, with the role's ARN if it has no path.
    Role {
        arn: String,
        name: String,
    },
    Other,
}

impl Principal {
    /// Reads the ARN of a caller. That of a session has the name of its role, without the path.
    fn of(caller_arn: &str) -> Principal {
        let parts: Vec<&str> = caller_arn.splitn(6, ':').collect();
        let ["arn", partition, _, _, account, resource] = parts.as_slice() else { return Principal::Other };
        match resource.split_once('/') {
            None if *resource == "root" => Principal::Root,
            Some(("user", _)) => Principal::User(caller_arn.to_owned()),
            Some(("assumed-role", session)) => {
                let name = session.split('/').next().unwrap_or_default().to_owned();
                Principal::Role { arn: format!("arn:{partition}:iam::{account}:role/{name}"), name }
            }
            _ => Principal::Other,
        }
    }
}

/// The ARN of a role, which may have a path: those of IAM Identity Center have.
async fn role(aws: &Aws, arn: String, name: &str) -> Result<String, Fault> {
    let call = aws.iam.simulate_principal_policy().policy_source_arn(&arn).action_names("sts:GetCallerIdentity");
    match call.send().await.map_err(Fault::from) {
        Err(fault) if fault.code == "NoSuchEntity" => {
            let answer = aws.iam.get_role().role_name(name).send().await?;
            Ok(answer.role.map(|role| role.arn).unwrap_or(arn))
        }
        Err(fault) => Err(fault),
        Ok(_) => Ok(arn),
    }
}

/// Asks what the policies of a principal say about a request.
async fn simulate(
    aws: &Aws,
    source: &str,
    request: &AuthorizationRequest,
    actions: &BTreeSet<&str>,
) -> Result<Vec<EvaluationResult>, Fault> {
    let entry = |(key, value): &(String, String)| {
        let entry = ContextEntry::builder().context_key_name(key).context_key_values(value);
        entry.context_key_type(ContextKeyTypeEnum::String).build()
    };
    let region = ("aws:RequestedRegion".to_owned(), aws.region.clone());
    let call = aws
        .iam
        .simulate_principal_policy()
        .policy_source_arn(source)
        .set_action_names(Some(actions.iter().map(|action| (*action).to_owned()).collect()))
        .resource_arns(&request.resource)
        .set_context_entries(Some(request.keys.iter().chain([&region]).map(entry).collect()));
    items(call.into_paginator().send()).await
}

/// What the simulator says about all rights.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rights {
    allowed: BTreeSet<String>,
    missing: BTreeSet<String>,
    denied: BTreeSet<String>,
    /// Those that depend on condition keys, by the keys.
    open: BTreeMap<String, BTreeSet<String>>,
}

impl Rights {
    fn of<'a>(results: impl Iterator<Item = &'a EvaluationResult>) -> Rights {
        let mut rights = Rights::default();
        for result in results {
            let action = result.eval_action_name().to_owned();
            let keys = result.missing_context_values().join(", ");
            match result.eval_decision() {
                PolicyEvaluationDecisionType::Allowed => rights.allowed.insert(action),
                _ if !keys.is_empty() => rights.open.entry(keys).or_default().insert(action),
                PolicyEvaluationDecisionType::ExplicitDeny => rights.denied.insert(action),
                _ => rights.missing.insert(action),
            };
        }
        rights
    }

    fn check_results(&self) -> Vec<CheckResult> {
        let Rights { allowed, missing, denied, open } = self;
        let list = |actions: &BTreeSet<String>| actions.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut results = Vec::new();
        if !missing.is_empty() {
            let words = format!("{} missing: {}", counted(missing.len(), "action"), list(missing));
            results.push(CheckResult::bad(SUBJECT, words).remedy("attach what `deployer policy up` prints"));
        }
        if !denied.is_empty() {
            let words = format!("{} denied by a policy: {}", counted(denied.len(), "action"), list(denied));
            results.push(
                CheckResult::bad(SUBJECT, words)
                    .remedy("remove the statement with `Deny`, or run `up` as another role"),
            );
        }
        for (keys, actions) in open {
            let words = format!("not decided, for it depends on {keys}: {}", list(actions));
            results.push(CheckResult::unclear(SUBJECT, words));
        }
        if results.is_empty() {
            let words = format!("{}, all allowed by the policy simulator", counted(allowed.len(), "action"));
            results.push(CheckResult::good(SUBJECT, words));
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_simulated_as_its_role() {
        let role = |arn: &str, name: &str| Principal::Role { arn: arn.into(), name: name.into() };
        for (caller, expected) in [
            ("arn:aws:iam::1:root", Principal::Root),
            ("arn:aws:iam::1:user/team/ada", Principal::User("arn:aws:iam::1:user/team/ada".into())),
            ("arn:aws:sts::1:assumed-role/web/i-1", role("arn:aws:iam::1:role/web", "web")),
            ("arn:aws-cn:sts::1:assumed-role/web/a:b", role("arn:aws-cn:iam::1:role/web", "web")),
            ("arn:aws:sts::1:federated-user/ada", Principal::Other),
            ("ada", Principal::Other),
        ] {
            assert_eq!(Principal::of(caller), expected, "{caller}");
        }
    }

    #[test]
    fn each_right_that_is_missing_is_named_with_the_remedy() {
        let result = |action: &str, decision: PolicyEvaluationDecisionType, keys: &[&str]| {
            let result = EvaluationResult::builder().eval_action_name(action).eval_decision(decision);
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            result.set_missing_context_values(Some(keys)).build().expect("complete")
        };
        use PolicyEvaluationDecisionType::{Allowed, ExplicitDeny, ImplicitDeny};
        let lines = |results: &[EvaluationResult]| -> Vec<String> {
            Rights::of(results.iter()).check_results().iter().flat_map(CheckResult::lines).collect()
        };
        let allowed = result("s3:GetObject", Allowed, &["aws:sourceip"]);
        let all = lines(std::slice::from_ref(&allowed));
        assert_eq!(all, ["✓ permissions of `up`: 1 action, all allowed by the policy simulator"]);
        let results = [
            allowed,
            result("s3:PutObject", ImplicitDeny, &[]),
            result("s3:CreateBucket", ImplicitDeny, &[]),
            result("iam:CreateRole", ExplicitDeny, &[]),
            result("ec2:CreateVpc", ExplicitDeny, &["aws:sourceip"]),
        ];
        assert_eq!(
            lines(&results),
            [
                "✗ permissions of `up`: 2 actions missing: s3:CreateBucket, s3:PutObject",
                "  hint: attach what `deployer policy up` prints",
                "✗ permissions of `up`: 1 action denied by a policy: iam:CreateRole",
                "  hint: remove the statement with `Deny`, or run `up` as another role",
                "! permissions of `up`: not decided, for it depends on aws:sourceip: ec2:CreateVpc",
            ]
        );
    }
}
