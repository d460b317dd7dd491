//! Policy documents of rights.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{On, Right, Scope, When};
use crate::{cloud::partition, engine::STACK_TAG};

/// The most characters of a managed policy, without white space (docs/aws.md §6.5).
pub const LONGEST_MANAGED: usize = 6_144;

/// A policy document.
#[derive(Debug, Clone, Default)]
pub struct Document {
    statements: Vec<Value>,
}

/// Returns the fewest documents of these rights, each of at most `longest` characters without white space. Rights of one
/// command may have another scope than those of another.
pub fn documents(rights: &[(Right, &Scope)], longest: usize) -> Vec<Document> {
    let mut documents = vec![Document::default()];
    for statement in statements(rights).into_iter().flat_map(|statement| cut(statement, longest)) {
        let last = documents.last_mut().expect("there is one");
        last.statements.push(statement);
        if last.statements.len() > 1 && last.length() > longest {
            let statements = last.statements.pop().into_iter().collect();
            documents.push(Document { statements });
        }
    }
    documents.retain(|document| !document.statements.is_empty());
    documents
}

impl Document {
    /// The document as IAM takes it.
    pub fn json(&self) -> Value {
        json!({ "Version": "2012-10-17", "Statement": self.statements })
    }

    /// Its length as IAM counts it: without white space, which no value of ours contains.
    pub fn length(&self) -> usize {
        self.json().to_string().chars().filter(|c| !c.is_whitespace()).count()
    }
}

/// An operator, the key and the values to compare it with.
type Test = (&'static str, String, BTreeSet<String>);

/// What the actions of a statement share: resources, and the conditions under which the actions are allowed.
type StatementKey = (BTreeSet<String>, Vec<Test>);

/// One statement for all actions on the same resources under the same condition.
fn statements(rights: &[(Right, &Scope)]) -> Vec<Value> {
    let mut by_key: BTreeMap<StatementKey, BTreeSet<&str>> = BTreeMap::new();
    for (Right { action, on, when }, scope) in rights {
        by_key.entry((on.arns(scope), when.conditions(scope))).or_default().insert(action);
    }
    // An action that is allowed on everything needs no statement for a part of it.
    let everywhere = by_key.get(&(["*".to_owned()].into(), Vec::new())).cloned().unwrap_or_default();
    let is_everything = |(resources, conditions): &StatementKey| conditions.is_empty() && resources.contains("*");
    for (key, actions) in &mut by_key {
        if !is_everything(key) {
            actions.retain(|action| !everywhere.contains(action));
        }
    }
    by_key.retain(|_, actions| !actions.is_empty());
    by_key.into_iter().map(|((resources, conditions), actions)| statement(&actions, &resources, &conditions)).collect()
}

fn statement(actions: &BTreeSet<&str>, resources: &BTreeSet<String>, conditions: &[Test]) -> Value {
    let mut statement = Map::new();
    statement.insert("Effect".into(), json!("Allow"));
    statement.insert("Action".into(), one_or_all(actions.iter().map(|action| (*action).to_owned())));
    statement.insert("Resource".into(), one_or_all(resources.iter().cloned()));
    if !conditions.is_empty() {
        let tests = conditions.iter().map(|(operator, key, values)| {
            ((*operator).to_owned(), json!({ key.as_str(): one_or_all(values.iter().cloned()) }))
        });
        statement.insert("Condition".into(), Value::Object(tests.collect()));
    }
    Value::Object(statement)
}

/// A list of one is written as its element.
fn one_or_all(items: impl Iterator<Item = String>) -> Value {
    let mut items: Vec<String> = items.collect();
    if items.len() == 1 { json!(items.remove(0)) } else { json!(items) }
}

/// Halves a statement that is too long for a document of its own.
fn cut(statement: Value, longest: usize) -> Vec<Value> {
    let alone = Document { statements: vec![statement.clone()] };
    let actions = statement["Action"].as_array().cloned().unwrap_or_default();
    if alone.length() <= longest || actions.len() < 2 {
        return vec![statement];
    }
    let (first, second) = actions.split_at(actions.len() / 2);
    let halves = [first, second].map(|actions| {
        let mut half = statement.clone();
        half["Action"] = json!(actions);
        half
    });
    halves.into_iter().flat_map(|half| cut(half, longest)).collect()
}

/// A request for actions on a resource, with condition keys: what a policy has to allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthorizationRequest {
    /// An ARN, a pattern for ARNs, or `*`.
    pub resource: String,
    /// The condition keys of the request, each with its value.
    pub keys: Vec<(String, String)>,
}

/// Returns the actions of each request that these rights are for. For a condition with several values, the request has
/// the first.
pub fn requests(rights: &[Right], scope: &Scope) -> BTreeMap<AuthorizationRequest, BTreeSet<&'static str>> {
    let mut all: BTreeMap<AuthorizationRequest, BTreeSet<&'static str>> = BTreeMap::new();
    for Right { action, on, when } in rights {
        let keys = when.conditions(scope).into_iter();
        let keys: Vec<(String, String)> =
            keys.filter_map(|(_, key, values)| Some((key, values.into_iter().next()?))).collect();
        for resource in on.arns(scope) {
            all.entry(AuthorizationRequest { resource, keys: keys.clone() }).or_default().insert(*action);
        }
    }
    all
}

impl When {
    fn conditions(self, scope: &Scope) -> Vec<Test> {
        let stack = scope.stack.clone().unwrap_or_else(|| "*".into());
        let equals = |key: &str, values: &[&str]| {
            vec![("StringEquals", key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())]
        };
        match self {
            When::Always => Vec::new(),
            When::Ours => equals(&format!("aws:ResourceTag/{STACK_TAG}"), &[&stack]),
            When::New => equals(&format!("aws:RequestTag/{STACK_TAG}"), &[&stack]),
            When::OursOrFree => {
                vec![("StringEqualsIfExists", format!("aws:ResourceTag/{STACK_TAG}"), [stack].into())]
            }
            When::Taking => [When::New, When::OursOrFree].into_iter().flat_map(|it| it.conditions(scope)).collect(),
            When::PassedTo(services) => {
                let names: Vec<&str> =
                    services.iter().map(|service| partition::principal(service, scope.partition)).collect();
                equals("iam:PassedToService", &names)
            }
            When::LinkedTo(services) => equals("iam:AWSServiceName", services),
            When::Via(service) => {
                vec![(
                    "StringEquals",
                    "kms:ViaService".into(),
                    partition::via(service, &scope.region).into_iter().collect(),
                )]
            }
            When::CreatedBy(calls) => equals("ec2:CreateAction", calls),
            When::FromTemplate => vec![("ArnLike", "ec2:LaunchTemplate".into(), On::Templates.arns(scope))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::{right, right_when};

    fn scope() -> Scope {
        Scope::of_stack("app", "123456789012", "us-east-1", None)
    }

    #[test]
    fn actions_on_the_same_resources_share_a_statement() {
        let scope = scope();
        let rights = [
            right("s3:GetBucketTagging", On::Buckets),
            right("s3:CreateBucket", On::Buckets),
            right("s3:GetBucketTagging", On::Buckets),
            right_when("ec2:DeleteSecurityGroup", On::SecurityGroups, When::Ours),
        ];
        let rights: Vec<_> = rights.iter().map(|right| (*right, &scope)).collect();
        let document = documents(&rights, LONGEST_MANAGED).remove(0).json();
        assert_eq!(
            document["Statement"],
            json!([
                {
                    "Effect": "Allow",
                    "Action": "ec2:DeleteSecurityGroup",
                    "Resource": "arn:aws:ec2:us-east-1:123456789012:security-group/*",
                    "Condition": { "StringEquals": { "aws:ResourceTag/deployer:stack": "app" } },
                },
                {
                    "Effect": "Allow",
                    "Action": ["s3:CreateBucket", "s3:GetBucketTagging"],
                    "Resource": "arn:aws:s3:::app-*-123456789012-us-east-1*",
                },
            ])
        );
    }

    #[test]
    fn a_request_has_the_keys_that_its_conditions_compare() {
        let rights = [
            right("logs:CreateLogGroup", On::LogGroups),
            right_when("iam:PassRole", On::Roles, When::PassedTo(&["lambda.amazonaws.com", "ec2.amazonaws.com"])),
            right_when("ssm:AddTagsToResource", On::Parameters, When::Taking),
        ];
        let asked: Vec<String> = requests(&rights, &scope())
            .into_iter()
            .map(|(AuthorizationRequest { resource, keys }, actions)| format!("{actions:?} {resource} {keys:?}"))
            .collect();
        assert_eq!(
            asked,
            [
                r#"{"iam:PassRole"} arn:aws:iam::123456789012:role/deployer/app/* [("iam:PassedToService", "ec2.amazonaws.com")]"#,
                r#"{"logs:CreateLogGroup"} arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/app-* []"#,
                r#"{"logs:CreateLogGroup"} arn:aws:logs:us-east-1:123456789012:log-group:/deployer/app/* []"#,
                r#"{"ssm:AddTagsToResource"} arn:aws:ssm:us-east-1:123456789012:parameter/* [("aws:RequestTag/deployer:stack", "app"), ("aws:ResourceTag/deployer:stack", "app")]"#,
            ]
        );
    }

    #[test]
    fn an_action_that_is_allowed_everywhere_is_not_repeated() {
        let scope = scope();
        let rights = [right("a:B", On::Tables), right("a:B", On::Any)];
        let rights: Vec<_> = rights.iter().map(|right| (*right, &scope)).collect();
        let document = documents(&rights, LONGEST_MANAGED).remove(0).json();
        assert_eq!(document["Statement"], json!([{ "Effect": "Allow", "Action": "a:B", "Resource": "*" }]));
        assert!(documents(&[], LONGEST_MANAGED).is_empty());
    }

    #[test]
    fn no_document_is_longer_than_its_limit_and_none_loses_an_action() {
        let scope = scope();
        let rights: Vec<_> = crate::rights::KINDS
            .iter()
            .flat_map(|kind| [kind.list, kind.read, kind.loss, kind.tag, kind.change, kind.remove].concat())
            .map(|right| (right, &scope))
            .collect();
        let actions = |documents: &[Document]| -> BTreeSet<String> {
            let statements = documents.iter().flat_map(|document| &document.statements);
            let actions = statements.flat_map(|statement| match &statement["Action"] {
                Value::Array(several) => several.clone(),
                one => vec![one.clone()],
            });
            actions.filter_map(|action| action.as_str().map(str::to_owned)).collect()
        };
        let whole = documents(&rights, usize::MAX);
        assert_eq!(whole.len(), 1);
        for longest in [500, 1_000, LONGEST_MANAGED] {
            let parts = documents(&rights, longest);
            assert!(parts.iter().all(|part| part.length() <= longest), "{longest}");
            assert_eq!(actions(&parts), actions(&whole), "{longest}");
        }
    }
}
