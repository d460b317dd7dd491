//! A program whose variables are kept in AWS, as Lambda starts it.

use std::process::Output;

use serde_json::{Value, json};
use testkit::LocalAws;

/// Makes a call with the keys of the account's user.
async fn call(aws: &LocalAws, name: &str, input: Value) {
    let python = testkit::programs::tool("bin/python");
    let script = "import boto3, json, sys\n\
                  service, operation = sys.argv[2].split('.')\n\
                  session = boto3.Session(sys.argv[3], sys.argv[4], region_name='us-east-1')\n\
                  client = session.client(service, endpoint_url=sys.argv[1])\n\
                  getattr(client, operation)(**json.loads(sys.argv[5]))";
    let mut command = tokio::process::Command::new(python);
    command.args(["-c", script, &aws.endpoint(), name, local::ACCESS_KEY, local::SECRET_KEY, &input.to_string()]);
    let output = command.output().await.expect("python can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts the program in the environment of a function.
async fn start(aws: &LocalAws, references: &str) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_print-variables"));
    command.args(["TOKEN", "PORT", "PASSWORD", "PLAIN", "DEPLOYER_SECRETS"]).env_clear();
    command.envs([("PLAIN", "plain"), ("DEPLOYER_SECRETS", references), ("AWS_REGION", "us-east-1")]);
    command.envs([("AWS_ACCESS_KEY_ID", local::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", local::SECRET_KEY)]);
    command.env("AWS_ENDPOINT_URL", aws.endpoint()).output().await.expect("it can be started")
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_set_before_the_program_goes_on() {
    let aws = LocalAws::start().await;
    call(&aws, "secretsmanager.create_secret", json!({ "Name": "s", "SecretString": "a \"b\"\n$c" })).await;
    call(&aws, "secretsmanager.create_secret", json!({ "Name": "fields", "SecretString": "{\"port\":5432}" })).await;
    let parameter = json!({ "Name": "/p", "Value": "closed", "Type": "SecureString" });
    call(&aws, "ssm.put_parameter", parameter).await;
    let references = json!({
        "TOKEN": { "secret": "s", "version": "0123abcd" },
        "PORT": { "secret": "fields", "key": "port" },
        "PASSWORD": { "parameter": "/p" },
    });
    let output = start(&aws, &references.to_string()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = "TOKEN=Some(\"a \\\"b\\\"\\n$c\")\nPORT=Some(\"5432\")\nPASSWORD=Some(\"closed\")\nPLAIN=Some(\"plain\")\n\
                    DEPLOYER_SECRETS=None\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    let without = start(&aws, "").await;
    assert!(String::from_utf8_lossy(&without.stdout).starts_with("TOKEN=None\n"));
    aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_read_ends_the_program_and_is_named() {
    let aws = LocalAws::start().await;
    call(&aws, "secretsmanager.create_secret", json!({ "Name": "s", "SecretString": "hunter2" })).await;
    for (references, words) in [
        (
            json!({ "TOKEN": { "secret": "none" } }),
            "TOKEN cannot be read from the secret none: ResourceNotFoundException",
        ),
        (
            json!({ "TOKEN": { "parameter": "/none" } }),
            "TOKEN cannot be read from the parameter /none: ParameterNotFound",
        ),
        (json!({ "TOKEN": { "secret": "s", "key": "k" } }), "TOKEN cannot be set from the secret s: it is not JSON"),
        (json!({ "TOKEN": {} }), "DEPLOYER_SECRETS is not valid"),
    ] {
        let output = start(&aws, &references.to_string()).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{errors}");
        assert!(!errors.contains("hunter2") && errors.contains(words), "{words}: {errors}");
    }
    aws.stop().await;
}
