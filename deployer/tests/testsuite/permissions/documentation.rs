//! The permissions of commands in the documentation.

use std::collections::BTreeSet;

use serde_json::Value;

use super::roles::{actions, documents};
use crate::support::Project;

#[test]
fn the_tables_of_the_documentation_are_those_of_the_policies() {
    let project = Project::light();
    let file = testkit::programs::root().join("docs/commands.md");
    let text = std::fs::read_to_string(file).expect("the documentation is there");
    for (heading, command) in
        [("## What `why` checks", "why"), ("## What `status` reads", "status"), ("## What `ls` reads", "ls")]
    {
        let section = text.split_once(heading).unwrap_or_else(|| panic!("there is no {heading:?}")).1;
        let section = section.split("\n## ").next().unwrap_or_default();
        let rows: String = section.lines().filter(|line| line.starts_with('|')).collect();
        let words = rows.split('`').skip(1).step_by(2);
        let named: BTreeSet<String> = words.filter(|word| is_action(word)).map(str::to_owned).collect();
        let printed: BTreeSet<String> = documents(&project, command).iter().flat_map(actions).collect();
        let network = ["ec2:DescribeInstanceTypeOfferings", "ec2:DescribeSubnets", "ec2:DescribeVpcs"];
        let printed: BTreeSet<String> = match command {
            // Named once, where all commands with services are described.
            "why" => printed.into_iter().filter(|action| !network.contains(&action.as_str())).collect(),
            _ => printed,
        };
        assert_eq!(named, printed, "{heading}");
    }
}

/// Whether a word is an IAM action, such as `s3:GetObject`.
fn is_action(word: &str) -> bool {
    word.split_once(':').is_some_and(|(service, action)| {
        service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && action.starts_with(|first: char| first.is_ascii_uppercase())
            && action.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[test]
fn a_policy_needs_no_account_and_is_refused_for_what_is_no_command() {
    let project = Project::light();
    let said = project.done(&["policy", "status"]);
    assert!(said.stdout.contains(":ACCOUNT_ID:function:postagram-*\""), "{}", said.all());
    assert!(said.stderr.contains("replace ACCOUNT_ID"), "{}", said.all());
    let document: Value = serde_json::from_str(&said.stdout).expect("a policy document");
    assert_eq!(document["Version"], "2012-10-17");
    let both = project.done(&["policy", "up", "down", "--account", "123456789012"]);
    assert!(both.stdout.contains("arn:aws:s3:::postagram-*-123456789012-us-east-1*"), "{}", both.all());
    let offline = project.done(&["policy", "validate", "graph"]);
    assert!(offline.stdout.is_empty() && offline.stderr.contains("no permission is needed"), "{}", offline.all());
    let wrong = project.run(&["policy", "stauts"]);
    assert_eq!(wrong.code, 64, "{}", wrong.all());
    assert!(wrong.stderr.contains("did you mean status?"), "{}", wrong.all());
    assert_eq!(project.run(&["policy", "--account", "12"]).code, 64);
    let file = project.path().join("stack.yaml").join("x").display().to_string();
    let unwritable = project.run(&["policy", "--split", &file]);
    assert_eq!(unwritable.code, 1, "{}", unwritable.all());
}

#[test]
fn without_functions_and_services_less_is_granted() {
    let project = Project::with("name: s\nregion: us-east-1\ntables:\n  posts: { partition_key: id }\n");
    let granted: BTreeSet<String> = documents(&project, "up").iter().flat_map(actions).collect();
    for absent in [
        "lambda:CreateFunction",
        "iam:PassRole",
        "ec2:DescribeInstanceTypeOfferings",
        "autoscaling:UpdateAutoScalingGroup",
    ] {
        assert!(!granted.contains(absent), "{absent}");
    }
    assert!(granted.contains("dynamodb:CreateTable") && granted.contains("lambda:ListFunctions"), "{granted:?}");
}
