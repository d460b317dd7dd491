//! Functions that are folders with a runtime of Lambda: packed, invoked, notified, changed, brought back, explained.

use std::fs::{File, create_dir_all, remove_file, write};

use serde_json::{Value, json};
use testkit::eventually::until_or_show;

use crate::support::{
    Project, RunOutput,
    cloud::{KEYS, TestAws, upload},
};

const PYTHON: &str = include_str!("runtimes/app.py");
const NODE: &str = include_str!("runtimes/index.js");

/// A stack with a function in the folder `code`, which is notified of uploads.
fn project(runtime: &str, handler: &str) -> Project {
    let project = Project::with(&format!(
        "\
name: s
region: us-east-1
buckets:
  images: {{ on_upload: {{ function: thumbs, prefix: in/ }} }}
functions:
  thumbs:
    files: code
    runtime: {runtime}
    handler: {handler}
    memory_mb: 512
    timeout_s: 5
    environment: {{ GREETING: hello }}
    uses: {{ buckets: {{ images: read }} }}
"
    ));
    create_dir_all(project.path().join("code")).expect("the folder can be written to");
    put(&project, "name.txt", "Ada");
    project
}

fn python() -> Project {
    let project = project("python3.13", "app.handler");
    put(&project, "app.py", PYTHON);
    project
}

fn node(runtime: &str, handler: &str) -> Project {
    let project = project(runtime, handler);
    put(&project, "index.js", NODE);
    project
}

/// Writes a file of the folder.
fn put(project: &Project, name: &str, text: &str) {
    let file = project.path().join("code").join(name);
    create_dir_all(file.parent().expect("it is in a folder")).expect("the folder can be written to");
    write(file, text).expect("the folder can be written to");
}

async fn up(cloud: &TestAws, project: &Project) -> RunOutput {
    cloud.done(project, &["up", "--yes"]).await
}

async fn down(cloud: TestAws, project: &Project) {
    cloud.done(project, &["down", "--yes"]).await;
    assert!(cloud.buckets().await.is_empty(), "`down` leaves nothing");
    cloud.end().await;
}

async fn invoke(cloud: &TestAws, project: &Project, event: &Value) -> RunOutput {
    write(project.path().join("event.json"), event.to_string()).expect("the folder can be written to");
    cloud.run(project, &["invoke", "thumbs", "--event", "event.json"]).await
}

/// Invokes the function, which succeeds, and returns its response.
async fn response(cloud: &TestAws, project: &Project, event: &Value) -> Value {
    let said = invoke(cloud, project, event).await;
    assert_eq!(said.code, 0, "{event}: {}", said.all());
    serde_json::from_str(&said.stdout).expect("JSON")
}

/// Invokes the function, which fails, and returns its error.
async fn error(cloud: &TestAws, project: &Project, event: &Value) -> Value {
    let said = invoke(cloud, project, event).await;
    assert_eq!(said.code, 1, "{event}: {}", said.all());
    serde_json::from_str(&said.stdout).expect("JSON")
}

/// Asserts the fields of an error.
#[track_caller]
fn assert_error(error: &Value, kind: &str, message: &str) {
    let text = error["errorMessage"].as_str().unwrap_or_default();
    assert!(error["errorType"] == kind && text.contains(message), "{error}");
}

/// Uploads an object until the function has logged it: a new notification is not in force at once (docs/aws.md §4.6).
async fn is_notified(cloud: &TestAws, project: &Project) {
    let log = async || cloud.done(project, &["logs", "thumbs"]).await;
    let uploaded = async || {
        upload(&cloud.endpoint(), KEYS, "in/a b.jpg").await;
        log().await.stdout.contains("uploaded in/a b.jpg")
    };
    until_or_show("the upload in the log", uploaded, async || log().await.all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_python_is_deployed_changed_and_brought_back() {
    let (cloud, project) = (TestAws::start().await, python());
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert!(plan.code == 2 && plan.stderr.contains("+ function.thumbs"), "{}", plan.all());
    up(&cloud, &project).await;
    let first = response(&cloud, &project, &json!({ "name": "Ada" })).await;
    let id = first["request_id"].as_str().expect("an id").to_owned();
    let expected = json!({
        "greeting": "hello, Ada", "request_id": id, "function": "s-thumbs", "memory_mb": "512", "has_time": true,
        "environment": "AWS_Lambda_python3.13", "handler": "app.handler", "is_at_task_root": true,
    });
    assert_eq!(first, expected);
    let log = cloud.done(&project, &["logs", "thumbs"]).await;
    assert!(log.stdout.contains("INIT_START Runtime Version: python:3."), "{}", log.all());
    assert!(log.stdout.contains("greeting Ada"), "{}", log.all());
    is_notified(&cloud, &project).await;

    // Only contents and modes count, and only of what is deployed.
    put(&project, "name.txt", "Ada");
    put(&project, "__pycache__/app.pyc", "compiled");
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "the same content: {}", plan.all());

    project.edit("handler: app.handler", "handler: app.other");
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 2, "{}", plan.all());
    assert!(plan.stderr.contains("handler: app.handler → app.other (stack.yaml:9)"), "{}", plan.all());
    up(&cloud, &project).await;
    assert_eq!(response(&cloud, &project, &json!({ "a": 1 })).await, json!("{\"a\": 1}"));
    cloud.done(&project, &["rollback", "thumbs", "--yes"]).await;
    assert_eq!(response(&cloud, &project, &json!({})).await["greeting"], "hello, Ada");
    let history = cloud.done(&project, &["history", "thumbs"]).await;
    assert!(history.stdout.contains("handler app.handler → app.other"), "{}", history.all());

    // Code, handler and runtime together.
    put(&project, "name.txt", "Grace");
    project.edit("handler: app.other", "handler: lib/app.handler");
    project.edit("runtime: python3.13", "runtime: python3.14");
    put(&project, "lib/app.py", PYTHON);
    up(&cloud, &project).await;
    let last = response(&cloud, &project, &json!({})).await;
    assert_eq!((&last["greeting"], &last["environment"]), (&json!("hello, Grace"), &json!("AWS_Lambda_python3.14")));
    assert_eq!(last["handler"], "lib/app.handler");

    cloud.done(&project, &["export", "terraform", "tf"]).await;
    let written: String = std::fs::read_dir(project.path().join("tf"))
        .expect("a folder")
        .filter_map(|file| std::fs::read_to_string(file.expect("a file").path()).ok())
        .collect();
    let words: Vec<&str> = written.split_whitespace().collect();
    for setting in [["runtime", "=", "\"python3.14\""], ["handler", "=", "\"lib/app.handler\""]] {
        assert!(words.windows(3).any(|three| three == setting), "{setting:?} in {written}");
    }
    down(cloud, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_python_are_those_of_aws() {
    let (cloud, project) = (TestAws::start().await, python());
    up(&cloud, &project).await;
    let raised = error(&cloud, &project, &json!({ "raise": "as asked" })).await;
    assert_error(&raised, "ValueError", "as asked");
    let trace = raised["stackTrace"].as_array().expect("a list");
    assert!(trace.iter().all(|frame| frame.as_str().is_some_and(|frame| frame.contains("app.py"))), "{raised}");
    assert!(!trace.is_empty() && raised["requestId"].as_str().is_some_and(|id| id.len() == 36), "{raised}");
    for (event, kind, message) in [
        (json!({ "write": "app.py" }), "OSError", "Read-only file system"),
        (json!({ "write": "new.txt" }), "OSError", "Read-only file system"),
        (json!({ "respond": "a set" }), "Runtime.MarshalError", "Unable to marshal response"),
        (json!({ "exit": 3 }), "Runtime.ExitError", "Runtime exited with error: exit status 3"),
    ] {
        assert_error(&error(&cloud, &project, &event).await, kind, message);
    }
    assert_eq!(response(&cloud, &project, &json!({})).await["greeting"], "hello, Ada", "the code is as it was");
    let log = cloud.done(&project, &["logs", "thumbs"]).await;
    assert!(log.stdout.contains("[ERROR] ValueError: as asked"), "{}", log.all());
    // The other events may take longer than this on a busy machine.
    project.edit("timeout_s: 5", "timeout_s: 1");
    up(&cloud, &project).await;
    let late = error(&cloud, &project, &json!({ "sleep_s": 60 })).await;
    assert_error(&late, "Sandbox.Timedout", "Task timed out after 1.00 seconds");
    down(cloud, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_code_that_cannot_be_loaded_is_explained() {
    let (cloud, project) = (TestAws::start().await, python());
    for (handler, code, kind, message, says) in [
        (
            "app.handler",
            "import nothing_there\n",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_there'",
            "thumbs: it cannot import a module: [ERROR] Runtime.ImportModuleError: Unable to import module 'app'",
        ),
        (
            "app.missing",
            "handler = print\n",
            "Runtime.HandlerNotFound",
            "Handler 'missing' missing on module 'app'",
            "thumbs: its runtime cannot call the handler: [ERROR] Runtime.HandlerNotFound",
        ),
        (
            "app.handler",
            "def handler(\n",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app'",
            "thumbs: its code has a syntax error: [ERROR] Runtime.UserCodeSyntaxError",
        ),
        (
            "app.handler",
            "raise KeyError('TOKEN')\n",
            "KeyError",
            "'TOKEN'",
            "thumbs: it fails: [ERROR] KeyError: 'TOKEN'",
        ),
    ] {
        put(&project, "app.py", code);
        let description = project.description();
        project.edit("handler: app.handler", &format!("handler: {handler}"));
        up(&cloud, &project).await;
        let failed = error(&cloud, &project, &json!({})).await;
        assert_error(&failed, kind, message);
        assert!(failed["stackTrace"].is_array(), "{failed}");
        let said = cloud.run(&project, &["why"]).await;
        assert_eq!(said.code, 1, "{}", said.all());
        assert!(said.stdout.contains(says) && said.stdout.contains("(stack.yaml:"), "{}", said.all());
        project.describe(&description);
    }
    down(cloud, &project).await;
}

/// `.ci/setup` installs Node.js.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_node_is_deployed_and_its_errors_are_those_of_aws() {
    let (cloud, project) = (TestAws::start().await, node("nodejs22.x", "index.handler"));
    up(&cloud, &project).await;
    let expected = json!({ "greeting": "hello", "function": "s-thumbs", "hasTime": true });
    assert_eq!(response(&cloud, &project, &json!({ "name": "Ada" })).await, expected);
    is_notified(&cloud, &project).await;
    let log = cloud.done(&project, &["logs", "thumbs"]).await;
    assert!(log.stdout.contains("INIT_START Runtime Version: nodejs:"), "{}", log.all());
    assert!(log.stdout.contains("greeting Ada"), "{}", log.all());
    for (event, kind, message) in [
        (json!({ "throw": "as asked" }), "TypeError", "as asked"),
        (json!({ "reject": "out of it" }), "RangeError", "out of it"),
        (json!({ "write": "index.js" }), "Error", "EROFS: read-only file system"),
        (json!({ "write": "new.js" }), "Error", "EROFS: read-only file system"),
    ] {
        let failed = error(&cloud, &project, &event).await;
        assert_error(&failed, kind, message);
        assert!(failed["trace"][0].as_str().is_some_and(|first| first.contains(message)), "{failed}");
    }

    // Callbacks, until Node.js 24.
    project.edit("handler: index.handler", "handler: index.withCallback");
    up(&cloud, &project).await;
    assert_eq!(response(&cloud, &project, &json!({})).await, json!({ "greeting": "hello later" }));
    assert_error(&error(&cloud, &project, &json!({ "fail": "by callback" })).await, "Error", "by callback");
    project.edit("runtime: nodejs22.x", "runtime: nodejs24.x");
    up(&cloud, &project).await;
    let refused = error(&cloud, &project, &json!({})).await;
    assert_error(&refused, "Runtime.CallbackHandlerDeprecated", "callback-based function handlers");
    let said = cloud.run(&project, &["why"]).await;
    assert!(said.stdout.contains("its runtime cannot call the handler"), "{}", said.all());

    // ES modules, in a folder.
    put(&project, "lib/main.mjs", "export const handler = (event) => ({ module: event.name });\n");
    project.edit("handler: index.withCallback", "handler: lib/main.handler");
    up(&cloud, &project).await;
    assert_eq!(response(&cloud, &project, &json!({ "name": "Ada" })).await, json!({ "module": "Ada" }));
    put(&project, "lib/main.mjs", "import pad from 'left-pad';\nexport const handler = pad;\n");
    up(&cloud, &project).await;
    assert_error(&error(&cloud, &project, &json!({})).await, "Error", "Cannot find package 'left-pad'");
    let said = cloud.run(&project, &["why"]).await;
    assert!(said.stdout.contains("it cannot import a module"), "{}", said.all());
    down(cloud, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_lambda_cannot_run_is_refused_before_the_upload() {
    let (cloud, project) = (TestAws::start().await, python());
    let refused = async |says: &str, line: u32| {
        for command in [&["plan"][..], &["up", "--yes"]] {
            let said = cloud.run(&project, command).await;
            assert_eq!(said.code, 78, "{command:?}: {}", said.all());
            let place = format!("stack.yaml:{line}");
            assert!(said.stderr.contains(says) && said.stderr.contains(&place), "{command:?}: {}", said.all());
        }
        assert!(cloud.buckets().await.is_empty(), "{says}");
    };
    remove_file(project.path().join("code/app.py")).expect("it is there");
    refused("code has no file for the handler app.handler: neither app.py, nor app/__init__.py", 9).await;
    put(&project, "app.py", PYTHON);
    let large = project.path().join("code/large.bin");
    File::create(&large).expect("it can be written").set_len((250 << 20) + 1).expect("it can be extended");
    refused("is too large for a function: more than 250 MiB unpacked", 7).await;
    remove_file(&large).expect("it is there");
    project.edit("files: code", "files: elsewhere");
    refused("failed to read", 7).await;
    cloud.end().await;
}
