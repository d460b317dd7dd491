//! Managed runtimes: what AWS refuses, and what handlers, callers and logs see.

use std::io::{Cursor, Write};

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, LogType};
use base64::Engine;
use serde_json::{Value, json};
use testkit::clients::{code, function_is_active};
use testkit::{LocalAws, eventually};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

const PYTHON: &str = r#"
import os

count = 0

def handler(event, context):
    global count
    count += 1
    if event == "oom":
        return len(bytearray(600 << 20))
    return {"count": count, "variables": sorted(os.environ), "arn": context.invoked_function_arn,
            "home": os.environ["LAMBDA_TASK_ROOT"], "client": context.client_context and context.client_context.custom}
"#;

fn zip_of(files: &[(&str, &str)]) -> Blob {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    Blob::new(writer.finish().unwrap().into_inner())
}

/// A call that makes the function `f` with this code.
async fn create(aws: &LocalAws, files: &[(&str, &str)]) -> (Client, CreateFunctionFluentBuilder) {
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let role = iam.create_role().role_name("f").assume_role_policy_document(TRUST).send().await.unwrap();
    let logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    iam.attach_role_policy().role_name("f").policy_arn(logs).send().await.unwrap();
    let client = Client::new(&aws.config);
    let code = FunctionCode::builder().zip_file(zip_of(files)).build();
    let create = client.create_function().function_name("f").role(role.role().unwrap().arn()).code(code);
    (client, create)
}

/// Invokes the function. Returns its response or error, whether it is an error, and the end of the log.
async fn invoke(client: &Client, event: &Value) -> (Value, bool, String) {
    let call = client.invoke().function_name("f").log_type(LogType::Tail).payload(Blob::new(event.to_string()));
    let answer = call.send().await.unwrap();
    let tail = base64::prelude::BASE64_STANDARD.decode(answer.log_result().unwrap()).unwrap();
    let payload = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
    (payload, answer.function_error().is_some(), String::from_utf8(tail).unwrap())
}

#[tokio::test]
async fn runtimes_and_handlers_that_aws_does_not_take_are_refused() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws, &[("app.py", PYTHON)]).await;
    for (runtime, handler, text) in [
        (None, Some("app.handler"), "Runtime and Handler are mandatory parameters"),
        (Some("python3.13"), None, "Runtime and Handler are mandatory parameters"),
        (Some("provided.al2023"), None, "Runtime and Handler are mandatory parameters"),
        (Some("python3"), Some("app.handler"), "Value python3 at 'runtime' failed to satisfy constraint"),
        (Some("nodejs10.x"), Some("app.handler"), "The runtime parameter of nodejs10.x is no longer supported"),
    ] {
        let call = create.clone().set_runtime(runtime.map(Into::into)).set_handler(handler.map(Into::into));
        let refused = call.send().await.unwrap_err();
        assert_eq!(refused.code(), Some("InvalidParameterValueException"), "{runtime:?} {handler:?}");
        assert!(refused.message().unwrap().starts_with(text), "{refused:?}");
    }
    let blank = create.clone().runtime("python3.13".into()).handler("app handler");
    assert_eq!(code(blank.send().await), "ValidationException");
    create.runtime("python3.13".into()).handler("app.handler").send().await.unwrap();
    function_is_active(&client, "f").await;
    let update = client.update_function_configuration().function_name("f").runtime("python2".into());
    assert_eq!(code(update.send().await), "InvalidParameterValueException");
    aws.stop().await;
}

#[tokio::test]
async fn a_python_handler_stays_warm_and_sees_the_environment_of_lambda() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws, &[("lib/app.py", PYTHON)]).await;
    let environment = Environment::builder().variables("OWN", "1").build();
    let create = create.runtime("python3.12".into()).handler("lib/app.handler").environment(environment);
    create.timeout(30).send().await.unwrap();
    function_is_active(&client, "f").await;
    let (first, failed, tail) = invoke(&client, &json!({})).await;
    assert!(!failed, "{first}");
    assert!(tail.contains("INIT_START Runtime Version: python:3.") && tail.contains("Init Duration: "), "{tail}");
    assert_eq!(first["count"], 1);
    assert_eq!(first["arn"], "arn:aws:lambda:us-east-1:000000000000:function:f");
    let strange: Vec<&str> = first["variables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .filter(|name| !name.starts_with("AWS_") && !name.starts_with("LAMBDA_"))
        .filter(|name| !["LANG", "LC_CTYPE", "OWN", "PATH", "TZ", "_HANDLER", "_X_AMZN_TRACE_ID"].contains(name))
        .collect();
    assert_eq!(strange, Vec::<&str>::new());
    assert_eq!(invoke(&client, &json!({})).await.0["count"], 2, "the process is warm");

    let context = base64::prelude::BASE64_STANDARD.encode(r#"{"custom":{"a":1}}"#);
    let call = client.invoke().function_name("f").client_context(context).payload(Blob::new("{}"));
    let answer: Value = serde_json::from_slice(call.send().await.unwrap().payload().unwrap().as_ref()).unwrap();
    assert_eq!(answer["client"], json!({ "a": 1 }));

    let (killed, failed, tail) = invoke(&client, &json!("oom")).await;
    assert!(failed && killed["errorType"] == "Runtime.ExitError", "{killed} {tail}");
    assert!(
        killed["errorMessage"].as_str().unwrap().ends_with("Runtime exited with error: signal: killed"),
        "{killed}"
    );
    assert_eq!(invoke(&client, &json!({})).await.0["count"], 1, "another process");
    aws.stop().await;
}

/// On AWS, a function has its own packages and those of the runtime.
#[tokio::test]
async fn a_python_handler_cannot_import_what_only_this_machine_has() {
    const IMPORTS: &str = r#"
import site
from importlib.util import find_spec

def handler(event, context):
    # In a virtual environment, there are no packages of the user, and nothing of the runtime can be found in them.
    return [find_spec("only_here") is None, find_spec("jmespath") is not None or not site.ENABLE_USER_SITE]
"#;
    let packages_of_user = tempfile::tempdir().unwrap();
    let folders = (8..30).flat_map(|minor| [format!("lib/python3.{minor}"), format!("Python3{minor}")]);
    for folder in folders.chain(["lib/python".to_owned()]) {
        let folder = packages_of_user.path().join(folder).join("site-packages");
        std::fs::create_dir_all(&folder).unwrap();
        for module in ["only_here.py", "jmespath.py"] {
            std::fs::write(folder.join(module), "").unwrap();
        }
    }
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws, &[("app.py", IMPORTS)]).await;
    let base = packages_of_user.path().to_str().unwrap();
    let environment = Environment::builder().variables("PYTHONUSERBASE", base).build();
    let create = create.runtime("python3.13".into()).handler("app.handler").environment(environment);
    create.timeout(30).send().await.unwrap();
    function_is_active(&client, "f").await;
    assert_eq!(invoke(&client, &json!({})).await.0, json!([true, true]));
    aws.stop().await;
}

/// The code is not where it was when the next process starts: another revision takes over.
#[tokio::test]
async fn new_code_and_a_new_handler_take_over() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws, &[("app.py", "def one(event, context):\n    return 1\n")]).await;
    create.runtime("python3.13".into()).handler("app.one").send().await.unwrap();
    function_is_active(&client, "f").await;
    assert_eq!(invoke(&client, &json!({})).await.0, 1);
    let two =
        zip_of(&[("app.py", "def one(event, context):\n    return 2\n\ndef two(event, context):\n    return 22\n")]);
    client.update_function_code().function_name("f").zip_file(two).send().await.unwrap();
    eventually("the new code", async || (invoke(&client, &json!({})).await.0 == 2).then_some(())).await;
    function_is_active(&client, "f").await;
    client.update_function_configuration().function_name("f").handler("app.two").send().await.unwrap();
    eventually("the new handler", async || (invoke(&client, &json!({})).await.0 == 22).then_some(())).await;
    function_is_active(&client, "f").await;
    client.update_function_configuration().function_name("f").handler("app.three").send().await.unwrap();
    function_is_active(&client, "f").await;
    let (error, failed, tail) = invoke(&client, &json!({})).await;
    assert!(failed && error["errorType"] == "Runtime.HandlerNotFound", "{error}");
    assert!(tail.contains("[ERROR] Runtime.HandlerNotFound: Handler 'three' missing on module 'app'"), "{tail}");
    assert!(tail.trim_end().ends_with("Status: error\tError Type: Runtime.HandlerNotFound"), "{tail}");
    aws.stop().await;
}

/// Reads the code, links to it from elsewhere, and fails to change it.
const FILES: &str = r#"
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const code = (change) => {
  try {
    change();
    return 'changed';
  } catch (error) {
    return error.code;
  }
};

exports.handler = async () => {
  const opened = await new Promise((resolve) => {
    fs.open(__filename, (error, file) => {
      if (error) throw error;
      resolve(file);
    });
  });
  fs.closeSync(opened);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'links-'));
  fs.symlinkSync(__filename, path.join(folder, 'to-code'));
  fs.rmSync(folder, { recursive: true });
  const within = path.join(__dirname, 'new');
  return [code(() => fs.symlinkSync(os.tmpdir(), within)), code(() => fs.openSync(within, 'w'))];
};
"#;

#[tokio::test]
async fn a_node_handler_is_loaded_as_on_aws() {
    let aws = LocalAws::start().await;
    let files = [
        ("index.js", "exports.handler = async (event, context) => [typeof require, context.functionName];"),
        ("esm/package.json", r#"{ "type": "module" }"#),
        ("esm/index.js", "export const handler = (event) => event;"),
        ("main.mjs", "export const nested = { handler: async () => 'nested' };"),
        ("broken.js", "exports.handler = ("),
        ("files.js", FILES),
        ("syntax.js", "export const handler = async () => 'module';"),
        ("typed.ts", "exports.handler = async () => 'TypeScript';"),
    ];
    let (client, create) = create(&aws, &files).await;
    create.runtime("nodejs24.x".into()).handler("index.handler").memory_size(512).timeout(30).send().await.unwrap();
    function_is_active(&client, "f").await;
    let (answer, failed, tail) = invoke(&client, &json!({})).await;
    assert!(!failed && answer == json!(["function", "f"]), "{answer}");
    assert!(tail.contains("INIT_START Runtime Version: nodejs:"), "{tail}");
    for (handler, expected, failed) in [
        ("esm/index.handler", json!({ "a": 1 }), false),
        ("main.nested.handler", json!("nested"), false),
        ("files.handler", json!(["EROFS", "EROFS"]), false),
        ("index.missing", json!("Runtime.HandlerNotFound"), true),
        ("nothing.handler", json!("Runtime.ImportModuleError"), true),
        ("typed.handler", json!("Runtime.ImportModuleError"), true),
        ("broken.handler", json!("Runtime.UserCodeSyntaxError"), true),
        ("index", json!("Runtime.MalformedHandlerName"), true),
    ] {
        client.update_function_configuration().function_name("f").handler(handler).send().await.unwrap();
        function_is_active(&client, "f").await;
        let (answer, is_error, tail) = invoke(&client, &json!({ "a": 1 })).await;
        let found = if failed { &answer["errorType"] } else { &answer };
        assert_eq!((found, is_error), (&expected, failed), "{handler}: {answer} {tail}");
    }
    // With Node.js 22, a .js file is a module only if a package.json says so.
    let update = client.update_function_configuration().function_name("f");
    update.runtime("nodejs22.x".into()).handler("syntax.handler").send().await.unwrap();
    function_is_active(&client, "f").await;
    let (answer, _, tail) = invoke(&client, &json!({})).await;
    assert_eq!(answer["errorType"], "Runtime.UserCodeSyntaxError", "{answer} {tail}");
    aws.stop().await;
}
