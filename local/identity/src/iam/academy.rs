//! The IAM resources that the Learner Lab of AWS Academy creates in an account and does not let its students change
//! (docs/aws.md §3.4).

use serde_json::{Value, json};

use super::roles::SESSION_S;
use super::state::{InlinePolicy, InstanceProfile, Role, State, arn, key, now, unique_id};
use kit::ACCOUNT;

/// The role that students sign in with.
pub const STUDENTS: &str = "voclabs";
/// The only role that students may pass to services.
const LAB_ROLE: &str = "LabRole";
/// The instance profile with that role.
const LAB_PROFILE: &str = "LabInstanceProfile";

/// The services that may assume [`LAB_ROLE`].
const TRUSTED: &[&str] = &["ec2.amazonaws.com", "lambda.amazonaws.com"];

/// The only regions of a lab.
const REGIONS: &[&str] = &["us-east-1", "us-west-2"];

/// The actions that students and their programs may use in a lab.
const SERVICES: &[&str] = &[
    "acm:*",
    "autoscaling:*",
    "cloudwatch:*",
    "dynamodb:*",
    "ec2:*",
    "elasticloadbalancing:*",
    "iam:CreateServiceLinkedRole",
    "iam:Get*",
    "iam:List*",
    "lambda:*",
    "logs:*",
    "rekognition:*",
    "route53:*",
    "s3:*",
    "secretsmanager:*",
    "servicequotas:Get*",
    "servicequotas:List*",
    "sns:*",
    "sqs:*",
    "ssm:*",
];

/// The ARN of a student's session.
pub fn student_arn() -> String {
    format!("arn:aws:sts::{ACCOUNT}:assumed-role/{STUDENTS}/{STUDENT}")
}

/// The name of a student's session.
pub const STUDENT: &str = "user1=student@example.org";

/// Adds the roles and the instance profile of a lab. Returns whether anything was missing.
pub(super) fn furnish(state: &mut State) -> bool {
    let mut is_new = false;
    let mut add = |name: &str, trusted: Value| {
        if state.role(name).is_none() {
            state.roles.insert(key(name), role(name, &trusted));
            is_new = true;
        }
    };
    add(LAB_ROLE, json!({ "Service": TRUSTED }));
    add(STUDENTS, json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:root") }));
    if state.profile(LAB_PROFILE).is_none() {
        let profile = InstanceProfile {
            name: LAB_PROFILE.to_owned(),
            instance_profile_id: unique_id("AIPA"),
            path: "/".to_owned(),
            arn: arn("instance-profile", "/", LAB_PROFILE),
            create_date: now(),
            roles: vec![LAB_ROLE.to_owned()],
            tags: Default::default(),
        };
        state.instance_profiles.insert(key(LAB_PROFILE), profile);
        is_new = true;
    }
    is_new
}

fn role(name: &str, trusted: &Value) -> Role {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole" }]
    });
    Role {
        name: name.to_owned(),
        role_id: unique_id("AROA"),
        path: "/".to_owned(),
        arn: arn("role", "/", name),
        assume_role_policy_document: trust.to_string(),
        description: String::new(),
        create_date: now(),
        max_session_duration: SESSION_S,
        tags: Default::default(),
        attached_policies: Vec::new(),
        inline_policies: vec![InlinePolicy {
            policy_name: "VocLabPolicy".to_owned(),
            policy_document: policy().to_string(),
        }],
    }
}

/// Everything in the services of a lab, but nothing that changes IAM, and no role but the lab's for services.
fn policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": SERVICES, "Resource": "*" },
            { "Effect": "Allow", "Action": "iam:PassRole", "Resource": arn("role", "/", LAB_ROLE) },
            {
                "Effect": "Deny",
                "Action": "*",
                "Resource": "*",
                "Condition": { "StringNotEquals": { "aws:RequestedRegion": REGIONS } }
            }
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_is_furnished_once() {
        let mut state = State::default();
        assert!(furnish(&mut state));
        assert!(!furnish(&mut state));
        assert_eq!(state.profiles_of(LAB_ROLE).count(), 1);
    }
}
