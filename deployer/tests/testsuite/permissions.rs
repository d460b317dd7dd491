//! The derived policies are sufficient and minimal: without any single permission that Postagram uses, its story fails,
//! and AWS names the missing permission. The same holds for the policies of the deployer's own commands.

mod commands;
mod documentation;
mod domains;
mod networks;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use deployer::cloud::aws::Aws;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use testkit::eventually;

use crate::support::{
    Project,
    cloud::{KEYS, connect, notification_is_in_force},
    scene::{Phase, Scene},
};

/// Permissions that `read_write` grants to every program, and that Postagram's two programs do not use.
const SPARE: &[(&str, &[&str])] = &[
    (
        "labeler",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:DescribeTable",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:Scan",
        ],
    ),
    (
        "web",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:DescribeTable",
            "dynamodb:UpdateItem",
        ],
    ),
];

/// The Auto Scaling group of Postagram's service.
const GROUP: &str = "postagram-web-8080";

#[tokio::test(flavor = "multi_thread")]
async fn the_derived_policies_are_sufficient_and_minimal() {
    let stage = Stage::set().await;
    // The instance whose service is restarted below must stay, even if the grace period is over by then.
    let suspend = stage.aws.autoscaling.suspend_processes().auto_scaling_group_name(GROUP);
    suspend.scaling_processes("ReplaceUnhealthy").send().await.expect("it can be suspended");
    stage.story("all").await.expect("the derived policies are enough");

    // All unused permissions can be removed together.
    let mut needed = stage.policies.clone();
    for (role, spare) in SPARE {
        let policy = needed.get_mut(*role).expect("both programs have a role");
        for permission in permissions(policy) {
            if spare.contains(&permission.action.as_str()) {
                *policy = without(policy, &permission);
            }
        }
        stage.put(role, policy).await;
    }
    stage.story("spare").await.expect("the story needs none of the unused permissions");

    // No other permission can be removed.
    let mut statements = BTreeSet::new();
    for (role, policy) in &needed {
        // Removing a permission to start the program stops the service for a while: these come last.
        let mut each = permissions(policy);
        let last = ["WriteReports", "FetchProgram", "WriteLogs"];
        each.sort_by_key(|permission| last.iter().position(|statement| *statement == permission.statement));
        for permission in each {
            let Permission { statement, action } = &permission;
            statements.insert((role.clone(), statement.clone()));
            stage.put(role, &without(policy, &permission)).await;
            let before = stage.denials(role, action).await.len();
            let denial = match statement.as_str() {
                "FetchProgram" | "WriteReports" => stage.restart_the_service(action).await,
                "WriteLogs" if role == "web" => stage.replace_the_instance(action).await,
                "WriteLogs" => stage.log_a_line().await.expect_err(action),
                _ => {
                    let user = format!("{role}-{statement}-{}", action.replace(':', "-"));
                    let broken = tokio::select! {
                        ended = stage.story(&user) => ended.err(),
                        denial = stage.next_denial(role, action, before) => Some(denial),
                    };
                    let broken = broken.unwrap_or_else(|| panic!("{role} works without {action} of {statement}"));
                    // The user may see any error; the denial is its cause.
                    println!("{role} without {action} of {statement}: {broken}");
                    stage.next_denial(role, action, before).await
                }
            };
            if statement != "WriteLogs" || role == "web" {
                let why = format!("because no identity-based policy allows the {action} action");
                let who = format!("assumed-role/{}/", stage.roles[role]);
                assert!(
                    denial.contains(&why) && denial.contains(&who),
                    "{role} without {action} of {statement}: {denial}"
                );
            }
            stage.put(role, policy).await;
        }
    }
    let all: BTreeSet<_> = stage
        .policies
        .iter()
        .flat_map(|(role, policy)| permissions(policy).into_iter().map(move |it| (role.clone(), it.statement)))
        .collect();
    assert_eq!(statements, all, "every statement is needed");

    let mut again = 0;
    eventually("the whole story", async || {
        again += 1;
        stage.story(&format!("again-{again}")).await.ok()
    })
    .await;
    stage.project.done(&["down", "--local", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_keep_working_when_their_credentials_expire() {
    let project = Project::postagram();
    project.done(&["local", "start"]);
    let chaos = reqwest::Client::new().put(format!("{}/_local/chaos", project.endpoint()));
    let put = chaos.json(&json!({ "kinds": ["short-sessions"] })).send().await.expect("the local AWS answers");
    assert!(put.status().is_success());
    let stage = Stage::on(project).await;
    // The first sessions expire after twenty seconds.
    let begun = std::time::Instant::now();
    let mut stories = 0;
    while begun.elapsed() < std::time::Duration::from_secs(22) {
        stage.story(&format!("user-{stories}")).await.expect("no request fails");
        stories += 1;
    }
    stage.project.done(&["down", "--local", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_converges_while_iam_propagates_new_roles() {
    let scene = Scene::local().await;
    scene.put_chaos("iam-lag").await;
    scene.done(Phase::Up).await;
    scene.assert_nothing_to_do("with IAM lagging").await;
    scene.done(Phase::Down).await;
    scene.end().await;
}

/// One action that one statement allows.
struct Permission {
    statement: String,
    action: String,
}

/// The statements of a policy; a single one may lack the brackets.
fn statements(policy: &Value) -> Vec<Value> {
    list(&policy["Statement"])
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn permissions(policy: &Value) -> Vec<Permission> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let of = |statement: &Value| {
        let id = text(&statement["Sid"]);
        list(&statement["Action"]).iter().map(|it| Permission { statement: id.clone(), action: text(it) }).collect()
    };
    statements(policy).iter().flat_map(|statement| -> Vec<Permission> { of(statement) }).collect()
}

/// The policy without this permission. A statement without actions is dropped, and a policy without statements is
/// invalid.
fn without(policy: &Value, permission: &Permission) -> Value {
    let mut kept = Vec::new();
    for mut statement in statements(policy) {
        if statement["Sid"] == *permission.statement {
            let mut actions = list(&statement["Action"]);
            actions.retain(|action| *action != *permission.action);
            if actions.is_empty() {
                continue;
            }
            statement["Action"] = json!(actions);
        }
        kept.push(statement);
    }
    assert!(!kept.is_empty(), "every program has more than one statement");
    json!({ "Version": "2012-10-17", "Statement": kept })
}

/// A local Postagram, and clients of the account's own user.
struct Stage {
    project: Project,
    client: reqwest::Client,
    url: String,
    endpoint: String,
    aws: Aws,
    /// The role name and the policy of each program.
    roles: BTreeMap<String, String>,
    policies: BTreeMap<String, Value>,
    bucket: String,
}

impl Stage {
    async fn set() -> Stage {
        Stage::on(Project::postagram()).await
    }

    async fn on(project: Project) -> Stage {
        let up = project.done(&["up", "--local", "--yes"]);
        let endpoint = project.endpoint();
        let aws = connect(&endpoint, KEYS).await;
        let (mut roles, mut policies) = (BTreeMap::new(), BTreeMap::new());
        for role in aws.iam.list_roles().send().await.expect("roles").roles() {
            let name = role.role_name();
            let programs = [("labeler", "-labeler-fn"), ("web", "-web-svc")];
            let Some((program, _)) = programs.into_iter().find(|(_, end)| name.ends_with(end)) else { continue };
            let policy = aws.iam.get_role_policy().role_name(name).policy_name("deployer").send().await;
            let policy = policy.expect("its policy");
            let policy = percent_decode_str(policy.policy_document()).decode_utf8().expect("text").into_owned();
            roles.insert(program.to_owned(), name.to_owned());
            policies.insert(program.to_owned(), serde_json::from_str(&policy).expect("JSON"));
        }
        assert_eq!(roles.len(), 2);
        let (url, bucket) = (up.output("URL"), up.output("BUCKET"));
        notification_is_in_force(&aws, &bucket).await;
        Stage { project, client: reqwest::Client::new(), url, endpoint, aws, roles, policies, bucket }
    }

    async fn put(&self, role: &str, policy: &Value) {
        let put = self.aws.iam.put_role_policy().role_name(&self.roles[role]).policy_name("deployer");
        put.policy_document(policy.to_string()).send().await.expect("a policy can be put");
    }

    /// The denials of this action for a role.
    async fn denials(&self, role: &str, action: &str) -> Vec<String> {
        let answer = reqwest::get(format!("{}/_local/requests", self.endpoint)).await.expect("an answer");
        let calls: Vec<Value> = answer.json().await.expect("a list of calls");
        let denials = calls.iter().filter_map(|call| call["denied"].as_str());
        let who = format!("assumed-role/{}/", self.roles[role]);
        let what = format!("to perform: {action} ");
        denials.filter(|denial| denial.contains(&who) && denial.contains(&what)).map(str::to_owned).collect()
    }

    async fn next_denial(&self, role: &str, action: &str, before: usize) -> String {
        eventually(action, async || self.denials(role, action).await.into_iter().nth(before)).await
    }

    /// Uses all of Postagram's features. Returns the first error that a user would see.
    async fn story(&self, user: &str) -> Result<(), String> {
        let post = json!({ "title": "a blue picture", "body": "…" });
        let written: Value = self.answer(self.client.post(self.page("posts")).json(&post), user).await?;
        let id = written["id"].as_str().and_then(|id| id.strip_prefix("POST#")).ok_or("no id")?.to_owned();
        let all: Vec<Value> = self.answer(self.client.get(self.page("posts")), user).await?;
        assert!(all.iter().any(|post| post["id"] == written["id"]), "{all:?}");

        let upload = self.upload_address(user, &id).await?;
        self.upload(&upload).await?;
        let mine = self.page(&format!("posts?user={user}"));
        let image = eventually("labels", async || {
            let posts: Result<Vec<Value>, String> = self.answer(self.client.get(&mine), user).await;
            match posts {
                Ok(posts) => {
                    let labelled = posts.into_iter().find(|post| post["labels"].is_array())?;
                    Some(Ok(labelled["image"].as_str().unwrap_or_default().to_owned()))
                }
                Err(why) => Some(Err(why)),
            }
        })
        .await?;
        let picture = self.client.get(image).send().await.map_err(|error| error.to_string())?;
        if picture.status() != 200 {
            return Err(format!("the picture: {}", picture.status()));
        }

        // A picture that is deleted before it is analysed must not cause a retry.
        self.notify(&format!("{user}/{id}/{}gone.jpg", uuid::Uuid::new_v4())).await?;
        let erase = self.client.delete(self.page(&format!("posts/{id}"))).header("Authorization", user);
        let erased = erase.send().await.map_err(|error| error.to_string())?;
        if !erased.status().is_success() {
            return Err(format!("erasing the post: {}", erased.status()));
        }
        // The upload URL outlives the post; what is uploaded with it is removed.
        self.upload(&upload).await?;
        eventually("no pictures", async || {
            let listed = self.aws.s3.list_objects_v2().bucket(&self.bucket).prefix(format!("{user}/")).send().await;
            listed.expect("a list").contents().is_empty().then_some(())
        })
        .await;
        self.log_a_line().await.map(drop)
    }

    fn page(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    async fn answer<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        user: &str,
    ) -> Result<T, String> {
        let answer = request.header("Authorization", user).send().await.map_err(|error| error.to_string())?;
        match answer.status().is_success() {
            true => answer.json().await.map_err(|error| error.to_string()),
            false => Err(format!("{} {}", answer.status(), answer.text().await.unwrap_or_default())),
        }
    }

    async fn upload_address(&self, user: &str, id: &str) -> Result<String, String> {
        let ask = self.page(&format!("signedUrlPut?filename=a.jpg&filetype=image/jpeg&postId={id}"));
        let signed: Value = self.answer(self.client.get(ask), user).await?;
        Ok(signed["uploadURL"].as_str().ok_or("no address")?.to_owned())
    }

    async fn upload(&self, address: &str) -> Result<(), String> {
        let put = self.client.put(address).header("Content-Type", "image/jpeg").body(jpeg());
        let answer = put.send().await.map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(()) } else { Err(format!("uploading: {}", answer.status())) }
    }

    /// Notifies the labeler of a picture, as S3 does, and waits for it.
    async fn notify(&self, key: &str) -> Result<String, String> {
        let event = json!({ "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2099-01-01T00:00:00.000Z", "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": self.bucket }, "object": { "key": key, "size": 1, "eTag": "0", "sequencer": "0" } },
        }]});
        let invoke = self.aws.lambda.invoke().function_name("postagram-labeler").log_type(LogType::Tail);
        let answer = invoke.payload(Blob::new(event.to_string())).send().await.expect("the function can be invoked");
        let log = BASE64_STANDARD.decode(answer.log_result().unwrap_or_default()).expect("base64");
        let log = String::from_utf8_lossy(&log).into_owned();
        match answer.function_error() {
            None => Ok(log),
            Some(_) => {
                Err(String::from_utf8_lossy(answer.payload().map_or(&[][..], |payload| payload.as_ref())).into_owned())
            }
        }
    }

    /// Makes the labeler log a line, and looks for it in its log.
    async fn log_a_line(&self) -> Result<String, String> {
        let printed = self.notify("no picture of ours").await?;
        let start = printed.lines().rev().find_map(|line| line.strip_prefix("START RequestId: ")).expect("it began");
        let id = start.split(' ').next().unwrap_or_default().to_owned();
        let logs = self.aws.logs.filter_log_events().log_group_name("/aws/lambda/postagram-labeler");
        let found = logs.filter_pattern(format!("\"{id}\"")).send().await.expect("a log");
        if found.events().is_empty() { Err(format!("the log does not have {id}")) } else { Ok(id) }
    }

    /// Replaces the instance, which then sends its lines to its own stream. Returns the denial of this action in the
    /// journal of the new one.
    async fn replace_the_instance(&self, action: &str) -> String {
        // The one that was replaced before may not have ended yet.
        let old = eventually("an instance in service", async || {
            let groups = self.aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(GROUP);
            let groups = groups.send().await.expect("a group");
            let mut instances = groups.auto_scaling_groups()[0].instances().iter();
            let serving = instances.find(|it| it.lifecycle_state().is_some_and(|it| it.as_str() == "InService"));
            serving.and_then(|it| it.instance_id().map(str::to_owned))
        })
        .await;
        let end = self.aws.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(&old);
        end.should_decrement_desired_capacity(false).send().await.expect("it can be terminated");
        let instances = self.project.path().join(".deployer/local/state/compute/instances");
        eventually("a word in the journal", async || {
            let all = std::fs::read_dir(&instances).expect("there are instances").flatten();
            let mut new = all.filter(|entry| *entry.file_name() != *old);
            new.find_map(|entry| {
                let journal = entry.path().join("journal/postagram-web-logs.service.log");
                let text = std::fs::read_to_string(journal).unwrap_or_default();
                let denied = format!("is not authorized to perform: {action} ");
                text.lines().rev().find(|line| line.contains(&denied)).map(str::to_owned)
            })
        })
        .await
    }

    /// Kills the service; its instance reports the exit, downloads the program again and restarts it. Returns the
    /// denial of this action on the console.
    async fn restart_the_service(&self, action: &str) -> String {
        eventually("a word on the console", async || {
            let status = reqwest::get(format!("{}/_local/status", self.endpoint)).await.expect("an answer");
            let status: Value = status.json().await.expect("the status is JSON");
            let instance = &status["instances"][0];
            // After an earlier restart, it may still be starting with the permission.
            for process in instance["processes"].as_array().into_iter().flatten() {
                let killed = std::process::Command::new("kill").args(["-9", &process.to_string()]).output();
                // A process may have ended meanwhile.
                drop(killed.expect("processes can be killed"));
            }
            let id = instance["id"].as_str().expect("an instance");
            let console =
                self.aws.ec2.get_console_output().instance_id(id).latest(true).send().await.expect("a console");
            let text = BASE64_STANDARD.decode(console.output().unwrap_or_default()).expect("base64");
            let text = String::from_utf8_lossy(&text).into_owned();
            let denied = format!("is not authorized to perform: {action} ");
            text.lines().rev().find(|line| line.contains(&denied)).map(str::to_owned)
        })
        .await
    }
}

/// A valid JPEG with a camera's comment, which the labeler removes.
fn jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([20, 40, 200]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a picture can be encoded");
    let mut bytes = bytes.into_inner();
    bytes.splice(2..2, *b"\xFF\xFE\x00\x0Aa camera");
    bytes
}
