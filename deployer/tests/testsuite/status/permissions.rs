//! The documented permissions of both commands.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Control, programs::root};

use crate::support::cloud::TestAws;
use crate::support::{Project, RunOutput};

/// The permissions that docs/commands.md lists below this heading.
pub(super) fn documented(heading: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("docs/commands.md")).expect("the page is there");
    let (_, after) = text.split_once(&format!("## {heading}\n")).expect("the heading is there");
    let section = after.split("\n## ").next().expect("a section");
    let is_permission = |word: &&str| {
        let (service, action) = word.split_once(':').unwrap_or_default();
        let is_service = !service.is_empty() && service.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        is_service && action.starts_with(|c: char| c.is_ascii_uppercase()) && action.chars().all(char::is_alphanumeric)
    };
    // Beside the table stand those of settings that the stacks here do not have.
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('`')).filter(is_permission).map(str::to_owned).collect()
}

/// A role whose permissions can be set, and a session of it.
pub(super) struct Watcher<'a> {
    cloud: &'a TestAws,
    keys: (String, String, String),
}

impl Watcher<'_> {
    pub(super) async fn of(cloud: &TestAws) -> Watcher<'_> {
        let trust = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": "arn:aws:iam::000000000000:root" },
        }});
        let create = cloud.aws.iam.create_role().role_name("watcher").assume_role_policy_document(trust.to_string());
        create.send().await.expect("a role can be made");
        let assume = cloud.aws.sts.assume_role().role_arn("arn:aws:iam::000000000000:role/watcher");
        let assumed = assume.role_session_name("me").send().await.expect("a session");
        let keys = assumed.credentials().expect("credentials");
        let keys = (keys.access_key_id().into(), keys.secret_access_key().into(), keys.session_token().into());
        Watcher { cloud, keys }
    }

    pub(super) async fn put(&self, statements: Value) {
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        let put = self.cloud.aws.iam.put_role_policy().role_name("watcher").policy_name("reads");
        put.policy_document(policy.to_string()).send().await.expect("a policy can be put");
    }

    /// Allows these actions and no other.
    pub(super) async fn allow<'p>(&self, actions: impl IntoIterator<Item = &'p String>) {
        let actions: Vec<&String> = actions.into_iter().collect();
        self.put(json!([{ "Effect": "Allow", "Action": actions, "Resource": "*" }])).await;
    }

    pub(super) async fn run(&self, project: &Project, arguments: &[&str]) -> RunOutput {
        let mut command = self.cloud.command(project, arguments);
        let (id, secret, token) = &self.keys;
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_SESSION_TOKEN", token);
        command.output().await.expect("the deployer can be started").into()
    }
}

/// Returns the actions that this AWS has denied, of the calls from `since` on.
pub(super) async fn denials(cloud: &TestAws, since: usize) -> Vec<String> {
    let journal = Control::of(&cloud.endpoint()).journal().await;
    journal[since..].iter().filter_map(|call| call["denied"].as_str().map(str::to_owned)).collect()
}

/// The same without times, which differ between two looks.
pub(super) fn timeless(mut status: Value) -> Value {
    status["at"].take();
    status
}
