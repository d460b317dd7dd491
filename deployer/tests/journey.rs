//! The whole story on a laptop: up from nothing, a post with a picture and its labels, changes, and down again.

mod support;

use std::io::Cursor;

use serde_json::{Value, json};
use support::{Project, eventually, world};

/// What `up` says when a bucket was told just now whom to tell of uploads.
const LATE: &str = "S3 may take 5 minutes to tell labeler of uploads to images, and never tells of earlier ones";

/// A real JPEG, wider than high and blue.
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

/// From now on these bad sides of AWS show.
async fn chaos(project: &Project, kinds: &[&str]) {
    let put = reqwest::Client::new().put(format!("{}/_local/chaos", project.endpoint()));
    let answer = put.json(&json!({ "kinds": kinds, "seed": 7 })).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

/// The calls that the local AWS has answered, and how many of them change something.
async fn calls(project: &Project) -> (usize, usize) {
    let answer = reqwest::get(format!("{}/_local/requests", project.endpoint())).await.expect("an answer");
    let calls: Vec<Value> = answer.json().await.expect("a list of calls");
    let mutating = calls.iter().filter(|call| call["mutating"] == true).count();
    (calls.len(), mutating)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_comes_to_life_serves_changes_and_goes() {
    let project = Project::postagram();
    let up = project.done(&["up", "--local", "--yes"]);
    assert!(up.stderr.contains(LATE), "{}", up.all());
    let browser = Browser { client: reqwest::Client::new(), url: up.output("URL") };
    let aws = world::connect(&project.endpoint(), (local::ACCESS_KEY, local::SECRET_KEY)).await;
    world::uploads_are_told(&aws, &up.output("BUCKET")).await;

    // A post, a picture, its labels.
    let page = browser.client.get(&browser.url).send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    assert!(page.text().await.expect("a page").contains("<html"), "the service serves its page");
    let post = browser.write("Zoe", "a blue picture").await;
    let id = post["id"].as_str().and_then(|id| id.strip_prefix("POST#")).expect("an id").to_owned();
    assert_eq!(browser.posts("").await.len(), 1);
    // Even where the function hears of the upload late, or twice.
    chaos(&project, &["s3-notify-lag"]).await;
    browser.attach("Zoe", &id, jpeg()).await;
    let labelled = eventually("labels", async || {
        let posts = browser.posts("?user=Zoe").await;
        posts.into_iter().find(|post| post["labels"].is_array())
    })
    .await;
    assert!(!labelled["labels"].as_array().expect("labels").is_empty(), "{labelled}");
    chaos(&project, &[]).await;
    let picture = labelled["image"].as_str().expect("a presigned URL");
    let picture = browser.client.get(picture).send().await.expect("an answer");
    assert_eq!((picture.status().as_u16(), picture.bytes().await.expect("bytes").to_vec()), (200, jpeg()));

    // A second `up` changes nothing, and makes no call that could.
    let before = calls_of_the_deployer(&project).await;
    let again = project.done(&["up", "--local", "--yes", "-v"]);
    assert!(again.stderr.contains("nothing to do") && !again.stderr.contains(LATE), "{}", again.all());
    assert!(again.stderr.contains(" calls, 0 of them mutating"), "{}", again.all());
    assert_eq!(calls_of_the_deployer(&project).await, before, "the local AWS saw a mutating call");
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 0);

    // Changes are exactly what is done.
    project.edit("max: 4", "max: 6");
    project.edit("  posts: {", "  likes: { partition_key: post }\n  posts: {");
    let plan = project.run(&["plan", "--local", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{}", plan.all());
    for line in ["~ auto_scaling_group.web", "max: 4 → 6", "+ table.likes", "1 to create, 1 to change"] {
        assert!(plan.stderr.contains(line), "{line:?} is not in the plan: {}", plan.all());
    }
    project.done(&["up", "--local", "--yes"]);
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 0);

    // A variable reaches the instances by a rollout, and the posts are still there.
    project.edit("    environment:\n      BUCKET: ${buckets.images.name}\n      DYNAMO_TABLE: ${tables.posts.name}\n    uses:\n      buckets: { images: read_write }\n      tables: { posts: read_write }\n\noutputs",
        "    environment:\n      GREETING: hello\n      BUCKET: ${buckets.images.name}\n      DYNAMO_TABLE: ${tables.posts.name}\n    uses:\n      buckets: { images: read_write }\n      tables: { posts: read_write }\n\noutputs");
    let rolled = project.done(&["up", "--local", "--yes"]);
    assert!(rolled.stderr.contains("launch_template.web"), "{}", rolled.all());
    assert_eq!(browser.posts("").await.len(), 1);

    // What is removed from the description goes: here the function, and with it its trigger.
    let described = project.description();
    let start = described.find("functions:").expect("there are functions");
    let end = described.find("services:").expect("there are services");
    let without = format!("{}{}", &described[..start], &described[end..]);
    project.describe(&without.replace("    on_upload: { function: labeler }\n", ""));
    let plan = project.run(&["plan", "--local"]);
    assert!(plan.stderr.contains("- function.postagram-labeler"), "{}", plan.all());
    project.done(&["up", "--local", "--yes"]);
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 0, "nothing is left to do");

    // The post goes with its picture; then everything goes.
    browser.erase("Zoe", &id).await;
    assert!(browser.posts("").await.is_empty());
    let down = project.done(&["down", "--local", "--yes"]);
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    assert!(project.done(&["down", "--local", "--yes"]).stderr.contains("nothing to do"));
    project.done(&["local", "stop"]);
    assert_eq!(project.processes(), Vec::<String>::new());
}

/// Mutating calls that only a deployment makes: the service and the labeler write objects and rows.
async fn calls_of_the_deployer(project: &Project) -> usize {
    let _ = calls(project).await;
    let answer = reqwest::get(format!("{}/_local/requests", project.endpoint())).await.expect("an answer");
    let calls: Vec<Value> = answer.json().await.expect("a list of calls");
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
async fn outputs_fill_a_dotenv_and_parts_come_up_alone() {
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

    // Kept is kept; the rest goes.
    project.done(&["down", "--local", "--yes", "--keep", "buckets.images"]);
    let plan = project.run(&["plan", "--local", "buckets.images", "--detailed-exitcode"]);
    assert!(!plan.stderr.contains("+ bucket.images"), "{}", plan.all());
    project.done(&["down", "--local", "--yes"]);
}

#[test]
fn without_a_terminal_nothing_is_asked_and_the_flag_is_named() {
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
fn without_credentials_it_says_where_to_get_some() {
    let project = Project::with("name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\n");
    let said = project.run_with(&["plan"], &[("AWS_EC2_METADATA_DISABLED", "true")]);
    assert_eq!(said.code, 77, "{}", said.all());
    assert!(said.stderr.contains("--local"), "{}", said.all());
}
