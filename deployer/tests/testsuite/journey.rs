//! The whole story on a laptop: `up` from nothing, a post with a picture and its labels, changes, and `down`.

use std::io::Cursor;

use serde_json::{Value, json};
use testkit::{Control, eventually};

use crate::support::{
    Project, RunOutput,
    cloud::{KEYS, connect, notification_is_in_force},
};

/// The output of `up` after it has changed a bucket's notifications.
const LATE: &str = "S3 may take 5 minutes to start notifying labeler; earlier uploads to images are not reported";

/// A valid JPEG in landscape format, mostly blue.
fn jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_fn(320, 200, |x, y| image::Rgb([20, (y / 2) as u8, 180 + (x / 8) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a picture can be encoded");
    bytes.into_inner()
}

struct Browser {
    client: reqwest::Client,
    url: String,
}

impl Browser {
    async fn posts(&self, query: &str) -> Vec<Value> {
        let answer = self.client.get(format!("{}/posts{query}", self.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("a list of posts")
    }

    async fn write(&self, author: &str, title: &str) -> Value {
        let post = json!({ "title": title, "body": "…" });
        let request = self.client.post(format!("{}/posts", self.url)).header("Authorization", author).json(&post);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.json().await.expect("the post")
    }

    async fn attach(&self, author: &str, id: &str, picture: Vec<u8>) {
        let ask = format!("{}/signedUrlPut?filename=a%20b.jpg&filetype=image/jpeg&postId={id}", self.url);
        let answer = self.client.get(ask).header("Authorization", author).send().await.expect("an answer");
        let signed: Value = answer.json().await.expect("a signed URL");
        let url = signed["uploadURL"].as_str().expect("an absolute URL");
        let put = self.client.put(url).header("Content-Type", "image/jpeg").body(picture);
        assert_eq!(put.send().await.expect("an answer").status(), 200);
    }

    async fn erase(&self, author: &str, id: &str) {
        let request = self.client.delete(format!("{}/posts/{id}", self.url)).header("Authorization", author);
        assert!(request.send().await.expect("an answer").status().is_success());
    }
}

/// The control pages of a project's local AWS.
fn control(project: &Project) -> Control {
    Control::of(&project.endpoint())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_created_serves_is_changed_and_removed() {
    let project = Project::postagram();
    let up = project.done(&["up", "--local", "--yes"]);
    assert!(up.stderr.contains(LATE), "{}", up.all());
    let browser = Browser { client: reqwest::Client::new(), url: up.output("URL") };
    let aws = connect(&project.endpoint(), KEYS).await;
    notification_is_in_force(&aws, &up.output("BUCKET")).await;

    // A post with a picture and its labels.
    let page = browser.client.get(&browser.url).send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    assert!(page.text().await.expect("a page").contains("<html"), "the service serves its page");
    let post = browser.write("Zoe", "a blue picture").await;
    let id = post["id"].as_str().and_then(|id| id.strip_prefix("POST#")).expect("an id").to_owned();
    assert_eq!(browser.posts("").await.len(), 1);
    // Even if the function is notified of the upload late, or twice.
    control(&project).set_chaos(&["s3-notify-lag"]).await;
    browser.attach("Zoe", &id, jpeg()).await;
    let labelled = eventually("labels", async || {
        let posts = browser.posts("?user=Zoe").await;
        posts.into_iter().find(|post| post["labels"].is_array())
    })
    .await;
    assert!(!labelled["labels"].as_array().expect("labels").is_empty(), "{labelled}");
    control(&project).set_chaos(&[]).await;
    let picture = labelled["image"].as_str().expect("a presigned URL");
    let picture = browser.client.get(picture).send().await.expect("an answer");
    assert_eq!((picture.status().as_u16(), picture.bytes().await.expect("bytes").to_vec()), (200, jpeg()));

    // A second `up` changes nothing, and makes no mutating call.
    let before = calls_of_the_deployer(&project).await;
    let again = project.done(&["up", "--local", "--yes", "-v"]);
    assert!(again.stderr.contains("nothing to do") && !again.stderr.contains(LATE), "{}", again.all());
    assert!(again.stderr.contains(" calls, 0 of them mutating"), "{}", again.all());
    assert_eq!(calls_of_the_deployer(&project).await, before, "the local AWS saw a mutating call");
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 0);

    // `up` makes exactly the changes of the plan.
    project.edit("max: 4", "max: 6");
    project.edit("  posts: {", "  likes: { partition_key: post }\n  posts: {");
    let plan = project.run(&["plan", "--local", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{}", plan.all());
    for line in ["~ auto_scaling_group.web", "max: 4 → 6", "+ table.likes", "1 to create, 1 to change"] {
        assert!(plan.stderr.contains(line), "{line:?} is not in the plan: {}", plan.all());
    }
    project.done(&["up", "--local", "--yes"]);
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 0);

    // A new variable reaches the instances by a roll-out, and the posts are still there.
    project.edit("    environment:\n      BUCKET: ${buckets.images.name}\n      DYNAMO_TABLE: ${tables.posts.name}\n    uses:\n      buckets: { images: read_write }\n      tables: { posts: read_write }\n\noutputs",
        "    environment:\n      GREETING: hello\n      BUCKET: ${buckets.images.name}\n      DYNAMO_TABLE: ${tables.posts.name}\n    uses:\n      buckets: { images: read_write }\n      tables: { posts: read_write }\n\noutputs");
    let rolled = project.done(&["up", "--local", "--yes"]);
    assert!(rolled.stderr.contains("launch_template.web"), "{}", rolled.all());
    assert_eq!(browser.posts("").await.len(), 1);

    // An entry that is removed from the description is deleted: here the function, and with it its trigger.
    let described = project.description();
    let start = described.find("functions:").expect("there are functions");
    let end = described.find("services:").expect("there are services");
    let without = format!("{}{}", &described[..start], &described[end..]);
    project.describe(&without.replace("    on_upload: { function: labeler }\n", ""));
    let plan = project.run(&["plan", "--local"]);
    assert!(plan.stderr.contains("- function.postagram-labeler"), "{}", plan.all());
    project.done(&["up", "--local", "--yes"]);
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 0, "nothing is left to do");

    // The post is deleted with its picture; then everything is deleted.
    browser.erase("Zoe", &id).await;
    assert!(browser.posts("").await.is_empty());
    let down = project.done(&["down", "--local", "--yes"]);
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    assert!(project.done(&["down", "--local", "--yes"]).stderr.contains("nothing to do"));
    project.done(&["local", "stop"]);
    assert_eq!(project.processes(), Vec::<String>::new());
}

/// The number of mutating calls that only a deployment makes: the service and the labeler write objects and rows.
async fn calls_of_the_deployer(project: &Project) -> usize {
    let calls = control(project).journal().await;
    let data = [
        "PutObject",
        "PutItem",
        "BatchWriteItem",
        "UpdateItem",
        "DeleteItem",
        "DeleteObject",
        "DeleteObjects",
        "DetectLabels",
    ];
    let deploys = |call: &&Value| call["mutating"] == true && !data.iter().any(|known| call["operation"] == *known);
    calls.iter().filter(deploys).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_fill_a_dotenv_and_up_can_be_limited_to_entries() {
    let project = Project::postagram();
    let part = project.done(&["up", "--local", "--yes", "buckets", "tables"]);
    assert!(!part.stderr.contains("load_balancer"), "{}", part.all());
    std::fs::write(project.path().join(".env"), "# mine\nBUCKET=old\nOTHER=1\n").expect("a file can be written");
    project.done(&["outputs", "--local", "--write", ".env"]);
    let env = std::fs::read_to_string(project.path().join(".env")).expect("the file is there");
    assert!(env.starts_with("# mine\nBUCKET=postagram-images-"), "{env}");
    assert!(env.contains("OTHER=1\n") && env.contains("DYNAMO_TABLE=postagram-posts\n"), "{env}");
    assert_eq!(project.done(&["outputs", "--local", "DYNAMO_TABLE"]).stdout, "postagram-posts\n");
    let json: Value =
        serde_json::from_str(&project.done(&["outputs", "--local", "--format", "json"]).stdout).expect("JSON");
    assert_eq!(json["DYNAMO_TABLE"], "postagram-posts");
    assert_eq!(project.run(&["outputs", "--local", "NOPE"]).code, 64);
    assert_eq!(project.run(&["up", "--local", "--yes", "nothing"]).code, 64);

    // The kept bucket stays; the rest is deleted.
    project.done(&["down", "--local", "--yes", "--keep", "buckets.images"]);
    let plan = project.run(&["plan", "--local", "buckets.images", "--detailed-exitcode"]);
    assert!(!plan.stderr.contains("+ bucket.images"), "{}", plan.all());
    project.done(&["down", "--local", "--yes"]);
}

#[test]
fn without_a_terminal_the_flag_that_confirms_is_named() {
    let project = Project::with("name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\n");
    let said = project.run(&["up", "--local"]);
    assert_eq!(said.code, 64, "{}", said.all());
    assert!(said.stderr.contains("--yes"), "{}", said.all());
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 2, "nothing was made");
}

#[test]
fn a_wrong_description_is_shown_with_its_place_and_its_own_exit_code() {
    let project = Project::with("name: small\nregion: us-esat-1\n");
    let said = project.run(&["plan", "--local"]);
    assert_eq!(said.code, 78);
    assert!(
        said.stderr.contains("stack.yaml:2:9") && said.stderr.contains("did you mean \"us-east-1\"?"),
        "{}",
        said.all()
    );
    assert_eq!(project.run(&["plan", "--file", "none.yaml"]).code, 78);
    assert_eq!(project.run(&["plan", "--nonsense"]).code, 64);
}

#[test]
fn without_credentials_the_ways_to_get_some_are_shown() {
    let project = Project::with("name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\n");
    let said = project.run_with(&["plan"], &[("AWS_EC2_METADATA_DISABLED", "true")]);
    assert_eq!(said.code, 77, "{}", said.all());
    assert!(said.stderr.contains("--local"), "{}", said.all());
}

/// A stack that is created quickly.
const SMALL: &str = "name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\nbuckets:\n  b: {}\n";

/// Runs the deployer without a port set by the test.
fn unguided(project: &Project, arguments: &[&str]) -> RunOutput {
    let output = project.command(arguments, &[]).env_remove("DEPLOYER_LOCAL_PORT").output();
    output.expect("the deployer can be started").into()
}

#[test]
fn every_folder_has_a_local_aws_of_its_own_on_a_port_it_keeps() {
    let projects = [Project::with(SMALL), Project::with(SMALL)];
    for project in &projects {
        let said = unguided(project, &["local", "start"]);
        assert_eq!(said.code, 0, "{}", said.all());
    }
    let [one, other] = &projects;
    assert_ne!(one.endpoint(), other.endpoint());
    let before = other.endpoint();
    other.done(&["local", "stop"]);
    assert_eq!(unguided(other, &["local", "start"]).code, 0);
    assert_eq!(other.endpoint(), before);

    let port = before.rsplit(':').next().expect("a port").to_owned();
    let third = Project::with(SMALL);
    for arguments in [&["local", "start", "--port", &port][..], &["local", "run", "--port", &port]] {
        let said = third.run(arguments);
        let folder = other.path().canonicalize().expect("it is there");
        let holder = format!("error: the local AWS of {} holds 127.0.0.1:{port}\n", folder.display());
        assert!(said.code == 1 && said.stderr.contains(&holder), "{}", said.all());
        assert!(said.stderr.contains("hint: without --port"), "{}", said.all());
    }
}

#[test]
fn a_copied_folder_has_a_local_aws_of_its_own() {
    let original = Project::with(SMALL);
    original.done(&["up", "--local", "--yes"]);
    let copy = Project::with(SMALL);
    let copied = std::process::Command::new("cp")
        .arg("-R")
        .args([original.path().join(".deployer"), copy.path().to_owned()])
        .status();
    assert!(copied.expect("cp is there").success());

    assert_eq!(copy.done(&["local", "stop"]).stderr, "it is not running\n");
    original.done(&["local", "status"]);
    // The copy has its own state from now on, starting with that of the original.
    copy.done(&["plan", "--local", "--detailed-exitcode"]);
    assert_ne!(copy.endpoint(), original.endpoint());
    copy.done(&["down", "--local", "--yes"]);
    copy.done(&["local", "stop"]);
    original.done(&["plan", "--local", "--detailed-exitcode"]);
}

#[test]
fn stacks_of_two_regions_live_in_one_folder_side_by_side() {
    let project = Project::with(SMALL);
    let there = &["--local", "--region", "eu-west-1"][..];
    let with = |command: &[&'static str], place: &[&'static str]| [command, place].concat();
    project.done(&["up", "--local", "--yes"]);
    assert_eq!(project.run(&with(&["plan", "--detailed-exitcode"], there)).code, 2, "nothing is there yet");
    project.done(&with(&["up", "--yes"], there));
    project.done(&with(&["plan", "--detailed-exitcode"], there));
    project.done(&["plan", "--local", "--detailed-exitcode"]);
    project.done(&["local", "stop"]);
    project.done(&with(&["down", "--yes"], there));
    project.done(&["plan", "--local", "--detailed-exitcode"]);
    project.done(&["down", "--local", "--yes"]);
}

#[test]
fn a_port_variable_that_is_not_a_number_is_refused_by_name() {
    let project = Project::with(SMALL);
    for value in ["abc", "", "65536", "-1", "80 "] {
        for arguments in [&["up", "--local", "--yes"][..], &["local", "start"], &["local", "run"]] {
            let said = project.run_with(arguments, &[("DEPLOYER_LOCAL_PORT", value)]);
            let error = format!("error: DEPLOYER_LOCAL_PORT is {value:?}, which is not a port\nhint: ");
            assert!(said.code == 64 && said.stderr.contains(&error), "{}", said.all());
        }
    }
}

#[test]
fn a_local_aws_that_cannot_start_is_reported_with_the_cause() {
    let project = Project::with(SMALL);
    project.done(&["local", "start"]);
    project.done(&["local", "stop"]);
    let state = project.path().join(".deployer/local/state");
    let pipe = |place: &std::path::Path| {
        let made = std::process::Command::new("mkfifo").arg(place).status();
        assert!(made.expect("mkfifo is there").success());
    };
    let file = |text: &'static str| move |place: &std::path::Path| std::fs::write(place, text).expect("a file");
    type Harm<'a> = (&'a str, Box<dyn Fn(&std::path::Path)>, &'a str, &'a str);
    let harms: [Harm; 5] = [
        ("state/iam.json", Box::new(file("{")), "iam.json is damaged", "local reset"),
        ("state/lambda.json", Box::new(pipe), "lambda.json is not a regular file", "local reset"),
        ("compute/compute.json", Box::new(file("{")), "compute.json does not hold the state of compute", "local reset"),
        ("state/region.json", Box::new(pipe), "region.json is not a regular file", "local reset"),
        ("lock", Box::new(pipe), "lock is not a regular file", "local reset"),
    ];
    for (name, harm, cause, remedy) in harms {
        let place = state.join(name);
        let before = std::fs::read(&place).ok();
        let _ = std::fs::remove_file(&place);
        harm(&place);
        for command in ["start", "run"] {
            let said = project.run(&["local", command]);
            let dir = format!("error: the local AWS cannot use the state in {}", project.path().display());
            assert!(said.code == 1 && said.stderr.contains(&dir), "{name}: {}", said.all());
            assert!(said.stderr.contains(cause) && !said.stderr.contains("port"), "{name}: {}", said.all());
            assert!(
                said.stderr.lines().any(|line| line.starts_with("hint:") && line.contains(remedy)),
                "{}",
                said.all()
            );
        }
        std::fs::remove_file(&place).expect("it is there");
        if let Some(before) = before {
            std::fs::write(&place, before).expect("a file");
        }
    }
    project.done(&["local", "start"]);
}

#[test]
fn settings_for_aws_do_not_affect_the_local_aws() {
    let project = Project::with(SMALL);
    let nowhere = "http://127.0.0.1:9";
    let environment = [
        ("HTTP_PROXY", nowhere),
        ("http_proxy", nowhere),
        ("HTTPS_PROXY", nowhere),
        ("ALL_PROXY", nowhere),
        ("all_proxy", nowhere),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_ENDPOINT_URL", nowhere),
        ("AWS_ENDPOINT_URL_DYNAMODB", nowhere),
        ("AWS_ENDPOINT_URL_S3", nowhere),
        ("AWS_PROFILE", "missing"),
        ("AWS_ACCESS_KEY_ID", "AKIASTRANGER"),
        ("AWS_SECRET_ACCESS_KEY", "strange"),
        ("AWS_SESSION_TOKEN", "strange"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_RETRY_MODE", "nonsense"),
        ("AWS_MAX_ATTEMPTS", "none"),
        ("AWS_CONFIG_FILE", "/dev/zero"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"),
        ("AWS_CA_BUNDLE", "/nowhere"),
    ];
    for arguments in [&["up", "--local", "--yes"][..], &["plan", "--local", "--detailed-exitcode", "--paced"]] {
        let said = project.run_with(arguments, &environment);
        assert_eq!(said.code, 0, "{}", said.all());
    }
}
