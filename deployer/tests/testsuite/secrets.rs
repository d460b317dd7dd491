//! Values that AWS keeps: set, read by a service and a function when they start, changed, rolled out and removed; and found
//! nowhere else.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use testkit::{eventually, programs::program, until};

use crate::support::{
    Project, RunOutput,
    cloud::{KEYS, TestAws, connect},
    terminal::Terminal,
};

/// Values that differ from everything else.
const FIRST: &str = "first-5b1c$`\"\\value";
const SECOND: &str = "second-77ae-value";
const PASSWORD: &str = "password-0f3d-value";

const VARIABLES: &str = "    environment:
      TOKEN: { secret: app/token }
      FIELD: { secret: app/fields, key: port }
      PASSWORD: { parameter: /app/password }
";

/// Runs a command with this text on stdin.
fn with_stdin(project: &Project, arguments: &[&str], text: &str) -> RunOutput {
    let mut command = project.command(arguments, &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the deployer can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that refuses does not read it.
    drop(stdin.write_all(text.as_bytes()));
    drop(stdin);
    RunOutput::from(child.wait_with_output().expect("it ends"))
}

fn set(project: &Project, more: &[&str], value: &str) -> RunOutput {
    let said = with_stdin(project, &[&["secret", "set", "--local"], more].concat(), value);
    assert_eq!(said.code, 0, "{}", said.all());
    said
}

/// The variables of the service's processes.
fn variables(project: &Project, name: &str) -> Vec<String> {
    let of_process = |line: &String| {
        let id = line.split(' ').next()?;
        let exe = std::fs::read_link(format!("/proc/{id}/exe")).ok()?;
        let environment = std::fs::read(format!("/proc/{id}/environ")).ok().filter(|_| exe.ends_with("service"))?;
        let environment = String::from_utf8(environment).ok()?;
        environment.split('\0').find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    project.processes().iter().filter_map(of_process).collect()
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

/// The files that contain a value, as it is or in base64, besides the state of the two services that keep values.
fn leaks(project: &Project, value: &str) -> Vec<PathBuf> {
    let kept = ["state/secrets.json", "state/parameters.json"];
    let others = files(project.path()).into_iter().filter(|file| !kept.iter().any(|kept| file.ends_with(kept)));
    let forms: Vec<Vec<u8>> = (0..3)
        .map(|shift| {
            // Without the ends, which depend on the adjacent text.
            let coded = STANDARD.encode(format!("{}{value}", " ".repeat(shift)));
            coded.as_bytes()[4..coded.len() - 4].to_vec()
        })
        .chain([value.as_bytes().to_vec()])
        .collect();
    let holds = |file: &PathBuf| {
        let bytes = std::fs::read(file).unwrap_or_default();
        forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_slice()))
    };
    others.filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_read_at_the_start_of_a_service_and_is_nowhere_else() {
    let project = Project::of_service(VARIABLES);
    // Everything that is missing is named with its line and its remedy, before anything is created.
    let refused = project.run(&["up", "--local", "--yes"]);
    assert_eq!(refused.code, 1, "{}", refused.all());
    for line in [
        "the secret app/token does not exist",
        "stack.yaml:11",
        "`deployer secret set app/token`",
        "`deployer secret set --parameter /app/password`",
        "nothing was changed",
    ] {
        assert!(refused.stderr.contains(line), "{line:?} is not in: {}", refused.all());
    }
    let aws = connect(&project.endpoint(), KEYS).await;
    assert!(aws.s3.list_buckets().send().await.expect("a list").buckets().is_empty());

    let said = set(&project, &["app/token"], &format!("{FIRST}\n"));
    assert!(said.stderr.contains("secret app/token created"), "{}", said.all());
    set(&project, &["app/fields"], r#"{"port":5432,"other":"x"}"#);
    set(&project, &["--parameter", "/app/password"], PASSWORD);
    let up = project.done(&["up", "--local", "--yes"]);
    assert_eq!(variables(&project, "TOKEN"), [FIRST]);
    assert_eq!(variables(&project, "FIELD"), ["5432"]);
    assert_eq!(variables(&project, "PASSWORD"), [PASSWORD]);

    // On the instance, the values are in one file below /run for root alone. No other file, and nothing printed, has one.
    let (value, port) = ("first-5b1c", r#"FIELD="5432""#);
    let leaked = leaks(&project, value);
    assert_eq!(leaked.len(), 1, "{leaked:?}");
    assert!(leaked[0].ends_with("run/s-web/environment"), "{leaked:?}");
    assert_eq!(std::fs::metadata(&leaked[0]).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&leaked[0]).expect("a text").contains(port));
    assert_eq!(leaks(&project, PASSWORD), leaked);
    let outputs =
        [&["plan", "--local"][..], &["status", "--local"], &["history", "--local"], &["secret", "ls", "--local"]];
    for said in outputs.map(|arguments| project.done(arguments)).iter().chain([&up]) {
        assert!(!said.all().contains(value) && !said.all().contains(PASSWORD), "{}", said.all());
    }
    let listed = project.done(&["secret", "ls", "--local"]);
    assert!(listed.stdout.contains("app/token") && listed.stdout.contains("web TOKEN"), "{}", listed.all());
    assert!(project.done(&["cost"]).all().contains("2 secrets"));
    assert!(project.done(&["ls", "--local"]).all().contains("2 secrets"));
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 0, "nothing is left to do");

    // Another value: the next plan names the variable, and `up` rolls it out.
    let said = set(&project, &["app/token"], SECOND);
    assert!(said.stderr.contains("`deployer up`") && said.stderr.contains("changed"), "{}", said.all());
    assert!(said.stderr.contains("web reads the new value when it next starts"), "{}", said.all());
    assert_eq!(variables(&project, "TOKEN"), [FIRST], "what runs keeps its value");
    let plan = project.run(&["plan", "--local", "--detailed-exitcode", "--show-values"]);
    assert_eq!(plan.code, 2, "{}", plan.all());
    assert!(plan.stderr.contains("user_data.environment.TOKEN") && !plan.all().contains(SECOND), "{}", plan.all());
    assert!(!plan.stderr.contains("environment.FIELD"), "{}", plan.all());
    project.done(&["up", "--local", "--yes"]);
    // A roll-out is over once the old instance is leaving, which is before its process has ended.
    until("the new value alone", async || variables(&project, "TOKEN") == [SECOND]).await;

    // A secret has a price in `ls`, which lists all of them, and in `status`, which lists those that are read.
    let cost = |arguments: &[&str], at: &str| {
        let said = project.run(&[arguments, &["--json", "--local"]].concat());
        let answer: Value = serde_json::from_str(&said.stdout).expect("it is JSON");
        (answer.pointer(at).and_then(Value::as_f64).expect("a cost") * 100.0).round()
    };
    let listed = || cost(&["ls"], "/stacks/0/cost/monthly");
    let seen = || cost(&["status"], "/cost/monthly");
    let before = (listed(), seen());
    set(&project, &["more"], "x");
    assert_eq!((listed(), seen()), (before.0 + 40.0, before.1));
    project.done(&["secret", "rm", "more", "--local", "--yes"]);
    project.edit("      FIELD: { secret: app/fields, key: port }\n", "");
    assert_eq!((listed(), seen()), (before.0, before.1 - 40.0));

    // The running service still reads it, until the next `up`.
    let refused = project.run(&["secret", "rm", "app/fields", "--local", "--yes"]);
    assert!(refused.code == 1, "{}", refused.all());
    for words in ["web still reads the secret app/fields, so nothing was changed", "run `deployer up` first"] {
        assert!(refused.stderr.contains(words), "{words:?} is not in: {}", refused.all());
    }
    project.edit("      PASSWORD:", "      FIELD: { secret: app/fields, key: port }\n      PASSWORD:");

    // A release whose values are gone is not restored, and every missing value is reported.
    let delete = aws.secrets.delete_secret().secret_id("app/fields").force_delete_without_recovery(true);
    delete.send().await.expect("it is deleted");
    until("it is gone", async || aws.secrets.describe_secret().secret_id("app/fields").send().await.is_err()).await;
    let refused = project.run(&["rollback", "web", "--local", "--yes"]);
    let words = "release 1 of web reads the secret app/fields, which does not exist";
    assert!(refused.code == 1 && refused.stderr.contains(words), "{}", refused.all());
    assert!(refused.stderr.contains("`deployer secret set app/fields`"), "{}", refused.all());
    aws.ssm.delete_parameter().name("/app/password").send().await.expect("it is deleted");
    let status = project.run(&["status", "--json", "--local"]).stdout;
    let status: Value = serde_json::from_str(&status).expect("it is JSON");
    let both = "the secret app/fields does not exist; the parameter /app/password does not exist";
    assert_eq!(status.pointer("/drift/unread"), Some(&Value::from(both)));
    set(&project, &["app/fields"], r#"{"port":5432}"#);
    set(&project, &["--parameter", "/app/password"], PASSWORD);

    // A value that stack.yaml uses is not removed; the whole stack takes its own with it, and says what stays.
    let refused = project.run(&["secret", "rm", "app/token", "--local", "--yes"]);
    assert!(refused.code == 1 && refused.stderr.contains("nothing was changed"), "{}", refused.all());
    let down = project.done(&["down", "--local", "--yes"]);
    assert!(down.stderr.contains("- secret.app/token") && down.stderr.contains("nothing is left"), "{}", down.all());
    assert!(down.stderr.contains("keeps 2 secrets for 7 days"), "{}", down.all());
    assert_eq!(leaks(&project, value), Vec::<PathBuf>::new());
    // Set again, it is restored instead of created.
    let said = set(&project, &["app/token"], FIRST);
    assert!(said.stderr.contains("restored"), "{}", said.all());
    project.edit("      TOKEN: { secret: app/token }\n", "");
    let gone = project.done(&["secret", "rm", "app/token", "--local", "--yes"]).stderr;
    assert!(gone.contains("AWS deletes it in 7 days") && gone.contains("`deployer secret set app/token`"), "{gone}");
    let again = project.done(&["secret", "rm", "app/token", "--local", "--yes"]).stderr;
    assert!(again.contains("nothing to do: the secret app/token is already scheduled for deletion"), "{again}");
    assert!(again.contains("to restore it: `deployer secret set app/token`"), "{again}");
    let never = project.done(&["secret", "rm", "never", "--local", "--yes"]).stderr;
    assert!(never.contains("nothing to do: there is no secret never"), "{never}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_and_a_denied_secret_are_causes_with_a_remedy() {
    let project = Project::of_service("    environment: { TOKEN: { secret: app/token } }\n");
    set(&project, &["app/token"], FIRST);
    project.done(&["up", "--local", "--yes"]);
    let aws = connect(&project.endpoint(), KEYS).await;
    let role = "s-us-east-1-web-svc";
    let policies = aws.iam.list_role_policies().role_name(role).send().await.expect("a list");
    let policy = policies.policy_names().first().expect("a policy").clone();
    let restart = async || {
        // The instance restarts its program.
        let answer = aws.ec2.describe_instances().send().await.expect("a list");
        let all = answer.reservations().iter().flat_map(|it| it.instances());
        let running = all.filter(|it| it.state().and_then(|it| it.name()).is_some_and(|it| it.as_str() == "running"));
        let ids: Vec<String> = running.filter_map(|it| it.instance_id().map(str::to_owned)).collect();
        aws.ec2.reboot_instances().set_instance_ids(Some(ids)).send().await.expect("it restarts");
    };
    let why = async |words: &str| {
        eventually(words, async || {
            let why = project.run(&["why", "--local"]);
            assert!(!why.all().contains("first-5b1c"), "{}", why.all());
            why.all().contains(words).then_some(why)
        })
        .await
    };
    aws.iam.delete_role_policy().role_name(role).policy_name(&policy).send().await.expect("it is deleted");
    let reports = serde_json::json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "s3:*", "Resource": "*",
    }});
    let put = aws.iam.put_role_policy().role_name(role).policy_name("reports").policy_document(reports.to_string());
    put.send().await.expect("it is put");
    restart().await;
    let denied = why("its role may not read TOKEN from the secret app/token").await;
    assert!(denied.all().contains("run `up`, which restores the role's policy"), "{}", denied.all());
    // With the same message from AWS, since the role is denied what does not exist, too.
    aws.secrets.delete_secret().secret_id("app/token").force_delete_without_recovery(true).send().await.expect("gone");
    until("it is gone", async || aws.secrets.describe_secret().secret_id("app/token").send().await.is_err()).await;
    let missing = why("it cannot read TOKEN from the secret app/token, which does not exist").await;
    assert!(missing.all().contains("deployer secret set"), "{}", missing.all());
    project.done(&["down", "--local", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_reads_its_variables_before_it_starts() {
    let project = Project::with(&format!(
        "name: s\nregion: us-east-1\nfunctions:\n  f:\n    binary: {}\n    environment:\n      BUCKET: b\n      \
         DYNAMO_TABLE: {{ secret: table-name }}\n      OPEN: {{ value: one }}\n      MARKED: {{ value: closed-one, \
         sensitive: true }}\n",
        program("labeler").display()
    ));
    set(&project, &["table-name"], FIRST);
    project.done(&["up", "--local", "--yes"]);
    let aws = connect(&project.endpoint(), KEYS).await;
    let configured = aws.lambda.get_function_configuration().function_name("s-f").send().await.expect("a function");
    let variables = configured.environment().and_then(|it| it.variables()).expect("variables");
    assert!(variables["DEPLOYER_SECRETS"].contains("table-name"), "{variables:?}");
    assert!(variables.values().all(|value| !value.contains("first-5b1c")), "{variables:?}");
    // The labeler does not start without this variable.
    let answer = project.run(&["invoke", "f", "--local"]);
    assert!(
        !answer.all().contains("DYNAMO_TABLE is not set") && !answer.all().contains("first-5b1c"),
        "{}",
        answer.all()
    );
    let started = eventually("the function's process", async || {
        let of_process = |line: &String| {
            let id = line.split(' ').next()?;
            let exe = std::fs::read_link(format!("/proc/{id}/exe")).ok()?;
            let environment =
                std::fs::read(format!("/proc/{id}/environ")).ok().filter(|_| exe.ends_with("bootstrap"))?;
            let environment = String::from_utf8(environment).ok()?;
            environment.contains("DYNAMO_TABLE=").then_some(environment)
        };
        project.processes().iter().find_map(of_process)
    })
    .await;
    let pairs: Vec<&str> = started.split('\0').collect();
    assert!(pairs.contains(&&*format!("DYNAMO_TABLE={FIRST}")), "{started}");
    assert!(!started.contains("DEPLOYER_SECRETS"), "{started}");

    // Plans show what is open, and name what is not.
    set(&project, &["table-name"], SECOND);
    project.edit("value: one", "value: two");
    project.edit("closed-one", "closed-two");
    let plan = project.run(&["plan", "--local"]);
    for line in ["environment.OPEN: one → two", "environment.MARKED (changed)", "environment.DYNAMO_TABLE (changed)"]
    {
        assert!(plan.stderr.contains(line), "{line:?} is not in: {}", plan.all());
    }
    assert!(!plan.all().contains("closed-"), "{}", plan.all());
    project.done(&["up", "--local", "--yes"]);
    project.done(&["down", "--local", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_others_is_read_and_never_changed() {
    let (cloud, project) = (TestAws::start().await, Project::of_service(VARIABLES));
    let (secrets, ssm) = (&cloud.aws.secrets, &cloud.aws.ssm);
    let theirs = aws_sdk_secretsmanager::types::Tag::builder().key("deployer:stack").value("other").build();
    secrets.create_secret().name("theirs").secret_string("t").tags(theirs).send().await.expect("created");
    secrets.create_secret().name("free").secret_string("f").send().await.expect("created");
    let plain = aws_sdk_ssm::types::ParameterType::String;
    ssm.put_parameter().name("/plain").value("p").r#type(plain).send().await.expect("created");
    let secure = aws_sdk_ssm::types::ParameterType::SecureString;
    ssm.put_parameter().name("/free").value("p").r#type(secure).send().await.expect("created");
    let run = async |arguments: &[&str], text: &str| {
        let mut command = cloud.command(&project, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the deployer can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        drop(tokio::io::AsyncWriteExt::write_all(&mut stdin, text.as_bytes()).await);
        drop(stdin);
        RunOutput::from(child.wait_with_output().await.expect("it ends"))
    };
    for (arguments, words) in [
        (&["secret", "set", "theirs"][..], "belongs to stack \"other\""),
        (&["secret", "set", "theirs", "--adopt"], "belongs to stack \"other\""),
        (&["secret", "rm", "theirs", "--yes"], "belongs to stack \"other\""),
        (&["secret", "set", "free"], "deployer secret set free --adopt"),
        (&["secret", "rm", "free", "--yes"], "unknown owner"),
        (&["secret", "set", "--parameter", "/free"], "deployer secret set --parameter /free --adopt"),
        (&["secret", "rm", "--parameter", "/free", "--yes"], "unknown owner"),
        // AWS does not change a type, and so the parameter is not taken over either.
        (&["secret", "set", "--parameter", "/plain", "--adopt"], "the parameter /plain is a String"),
    ] {
        let said = run(arguments, "mine").await;
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.all());
        assert!(said.stderr.contains(words) && said.stderr.contains("nothing was changed"), "{}", said.all());
    }
    let value = async |name: &str| -> String {
        let answer = secrets.get_secret_value().secret_id(name).send().await.expect("a value");
        answer.secret_string().unwrap_or_default().to_owned()
    };
    let call = ssm.list_tags_for_resource().resource_id("/plain");
    let tags = call.resource_type(aws_sdk_ssm::types::ResourceTypeForTagging::Parameter).send().await.expect("tags");
    assert!(tags.tag_list().is_empty(), "{tags:?}");
    assert_eq!([value("theirs").await, value("free").await], ["t", "f"]);
    // Taken over, they are like our own.
    for arguments in [&["secret", "set", "free", "--adopt"][..], &["secret", "set", "--parameter", "/free", "--adopt"]]
    {
        let said = run(arguments, "mine").await;
        assert_eq!(said.code, 0, "{}", said.all());
    }
    assert_eq!(value("free").await, "mine");
    let answer = ssm.get_parameter().name("/free").with_decryption(true).send().await.expect("a value");
    let parameter = answer.parameter().cloned().expect("a parameter");
    assert_eq!((parameter.value(), parameter.r#type().map(|it| it.as_str())), (Some("mine"), Some("SecureString")));
    // The user's input is checked before AWS is called.
    for (arguments, text, words) in [
        (&["secret", "set", "a b"][..], "v", "is not the name of a secret"),
        (&["secret", "set", "--parameter", "aws-x"], "v", "is not the name of a parameter"),
        (&["secret", "set", "empty"], "\n", "the value is empty"),
        (&["secret", "set", "--parameter", "large"], &"x".repeat(4097), "larger than 4 KiB"),
        (&["secret", "set", "nul"], "a\0b", "NUL"),
        (&["secret", "set", "odd"], "a\u{fdd0}b", "U+FDD0"),
        (&["secret", "set", "--parameter", "nested"], "{{ssm:other}}", "a reference to another parameter"),
        (&["secret", "set", "--parameter", "/a//b"], "v", "is not the name of a parameter"),
    ] {
        let said = run(arguments, text).await;
        assert!(said.code == 64 && said.stderr.contains(words), "{arguments:?}: {}", said.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(value("theirs").await, "t", "down keeps what belongs to others");
    assert!(secrets.get_secret_value().secret_id("free").send().await.is_err());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_typed_twice_and_never_shown() {
    let (cloud, project) = (TestAws::start().await, Project::of_service(VARIABLES));
    let set = async |first: &str, second: &str| {
        let mut terminal = Terminal::of(&cloud.command(&project, &["secret", "set", "app/token"]));
        for (question, value) in [("app/token: ", first), (", once more: ", second)] {
            terminal.see(question).await;
            terminal.press(&format!("{value}\n")).await;
        }
        terminal.end().await
    };
    let said = set("tiger-value", "lion-value").await;
    assert!(said.code == 64 && said.all().contains("the two values differ"), "{}", said.all());
    assert!(!said.all().contains("tiger-value") && !said.all().contains("lion-value"), "{}", said.all());
    // A terminal may have dropped a part of so long a line.
    let mut terminal = Terminal::of(&cloud.command(&project, &["secret", "set", "app/token"]));
    terminal.see("app/token: ").await;
    terminal.press(&format!("{}\n", "long-value".repeat(100))).await;
    let said = terminal.end().await;
    assert!(said.code == 64 && said.all().contains("the value is too long to be typed"), "{}", said.all());
    assert!(said.all().contains("`deployer secret set NAME <file`") && !said.all().contains("long-value"));
    // The lines after the first of a pasted value are discarded: neither the next prompt nor a shell reads them.
    let said = set("tiger-value\nlion-value\necho lion", "tiger-value").await;
    assert!(said.code == 0 && !said.all().contains("lion"), "{}", said.all());
    let said = set("tiger-value", "tiger-value").await;
    assert!(said.code == 0 && !said.all().contains("tiger-value"), "{}", said.all());
    let answer = cloud.aws.secrets.get_secret_value().secret_id("app/token").send().await.expect("a value");
    assert_eq!(answer.secret_string(), Some("tiger-value"));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_whose_creation_is_answered_too_late_gets_its_value() {
    let (cloud, project) = (TestAws::start().await, Project::of_service(VARIABLES));
    let rule = cloud.control().hold("PutParameter", "hold-before").await;
    let mut command = cloud.command(&project, &["secret", "set", "--parameter", "/p"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the deployer can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"mine").await.expect("it is read");
    drop(stdin);
    cloud.control().has_fired(rule).await;
    // In the meantime, it exists: like after a call whose answer is lost.
    let tag = aws_sdk_ssm::types::Tag::builder().key("deployer:stack").value("s").build().expect("a tag");
    let secure = aws_sdk_ssm::types::ParameterType::SecureString;
    let put = cloud.aws.ssm.put_parameter().name("/p").value("other").r#type(secure).tags(tag);
    put.send().await.expect("created");
    assert_eq!(cloud.control().delete(&format!("faults/{rule}")).await, 200);
    let said = RunOutput::from(child.wait_with_output().await.expect("it ends"));
    assert_eq!(said.code, 0, "{}", said.all());
    let answer = cloud.aws.ssm.get_parameter().name("/p").with_decryption(true).send().await.expect("a value");
    assert_eq!(answer.parameter().and_then(|it| it.value()), Some("mine"));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_a_value_is_completed_by_the_same_command_after_a_kill() {
    let (cloud, project) = (TestAws::start().await, Project::of_service(VARIABLES));
    let secrets = &cloud.aws.secrets;
    let start = |arguments: &[&str]| {
        let mut command = cloud.command(&project, arguments);
        command.stdin(Stdio::piped());
        command.spawn().expect("the deployer can be started")
    };
    let feed = async |child: &mut tokio::process::Child| {
        let mut stdin = child.stdin.take().expect("it is piped");
        drop(tokio::io::AsyncWriteExt::write_all(&mut stdin, b"a value").await);
    };
    let set = ["secret", "set", "s", "--adopt"];
    for (call, before) in [
        ("CreateSecret", "absent"),
        ("PutSecretValue", "ours"),
        ("RestoreSecret", "ending"),
        ("PutSecretValue", "ending"),
        ("TagResource", "free"),
    ] {
        for how in ["hold-before", "hold-after"] {
            secrets.delete_secret().secret_id("s").force_delete_without_recovery(true).send().await.expect("deleted");
            // The deletion ends in the background.
            until("the secret is gone", async || secrets.describe_secret().secret_id("s").send().await.is_err()).await;
            if before != "absent" {
                let tag = aws_sdk_secretsmanager::types::Tag::builder().key("deployer:stack").value("s").build();
                let tags = (before != "free").then(|| vec![tag]);
                secrets.create_secret().name("s").secret_string("old").set_tags(tags).send().await.expect("created");
            }
            if before == "ending" {
                secrets.delete_secret().secret_id("s").send().await.expect("scheduled");
            }
            let rule = cloud.control().hold(call, how).await;
            let mut child = start(&set);
            feed(&mut child).await;
            cloud.control().has_fired(rule).await;
            child.kill().await.expect("it can be killed");
            assert_eq!(cloud.control().delete(&format!("faults/{rule}")).await, 200, "{call} {how}");
            let mut child = start(&set);
            feed(&mut child).await;
            let said = RunOutput::from(child.wait_with_output().await.expect("it ends"));
            assert_eq!(said.code, 0, "{call} {how}: {}", said.all());
            let answer = secrets.get_secret_value().secret_id("s").send().await.expect("a value");
            assert_eq!(answer.secret_string(), Some("a value"), "{call} {how}");
        }
    }
    cloud.end().await;
}

#[test]
fn a_description_of_values_is_in_the_schema() {
    let said = Project::with("").done(&["schema"]);
    let schema: Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    let forms = &schema["properties"]["services"]["additionalProperties"]["properties"]["environment"];
    assert_eq!(forms["additionalProperties"]["anyOf"].as_array().map(Vec::len), Some(4));
}
