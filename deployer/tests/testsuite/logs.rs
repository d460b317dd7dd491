//! `logs`, `invoke` and `open`, and the console of an instance: what a deployed stack says and answers.

use std::os::unix::fs::PermissionsExt;

use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_ec2::types::RequestLaunchTemplateData;
use aws_sdk_lambda::primitives::Blob;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::{
    eventually,
    proxy::InjectedFault,
    small_programs::{echo_function, tiny_service},
    until,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{
    Project, RunOutput,
    cloud::{KEYS, TestAws, connect},
    scene::{Phase, Scene},
    terminal::{CTRL_C, Terminal},
};

const IMAGES: &str = "s-images-000000000000-us-east-1";

/// A stack with the function `f`, the service `web` and the bucket `images`.
fn stack() -> Project {
    let (function, service) = (echo_function(), tiny_service());
    Project::with(&format!(
        "name: s\nregion: us-east-1\nbuckets:\n  images: {{}}\nfunctions:\n  f: {{ binary: {} }}\nservices:\n  web:\n    \
         binary: {}\n    port: 8080\n    instance_type: t3.micro\n    instances: {{ min: 1, max: 1 }}\n    \
         load_balancer: {{ port: 80, allow: [\"0.0.0.0/0\"] }}\n",
        function.display(),
        service.display()
    ))
}

/// The same, deployed.
async fn deployed() -> (TestAws, Project) {
    let (cloud, project) = (TestAws::start().await, stack());
    cloud.done(&project, &["up", "--yes"]).await;
    (cloud, project)
}

/// Invokes the function, which prints the event.
async fn print(cloud: &TestAws, event: &str) {
    let call = cloud.aws.lambda.invoke().function_name("s-f").payload(Blob::new(event));
    call.send().await.expect("the function can be invoked");
}

fn now_ms() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis()).expect("it is not so late")
}

/// Writes a line to the log of the function, this many milliseconds ago.
async fn write(cloud: &TestAws, text: &str, age_ms: i64) {
    let logs = &cloud.aws.logs;
    let (group, stream) = ("/aws/lambda/s-f", "by hand");
    let made = logs.create_log_stream().log_group_name(group).log_stream_name(stream).send().await;
    assert!(made.is_ok() || made.is_err_and(|it| it.into_service_error().is_resource_already_exists_exception()));
    let event = InputLogEvent::builder().timestamp(now_ms() - age_ms).message(text).build().expect("it is complete");
    let put = logs.put_log_events().log_group_name(group).log_stream_name(stream).log_events(event);
    put.send().await.expect("a line can be written");
}

/// The lines as JSON.
fn objects(said: &RunOutput) -> Vec<Value> {
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn texts(said: &RunOutput) -> Vec<String> {
    objects(said).iter().map(|line| line["text"].as_str().expect("a text").to_owned()).collect()
}

/// The instance of the service.
async fn instance(cloud: &TestAws) -> String {
    let answer = cloud.aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names("s-web-8080");
    let answer = answer.send().await.expect("a group");
    answer.auto_scaling_groups()[0].instances()[0].instance_id().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_functions_and_instances_are_merged_by_time() {
    let (cloud, project) = deployed().await;
    print(&cloud, r#"{"n":1}"#).await;
    let id = instance(&cloud).await;
    // The report is written once the service answers.
    let said = eventually("all lines", async || {
        let said = cloud.done(&project, &["logs"]).await;
        let has = |text: &str| said.stdout.contains(text);
        (has("| event {\"n\":1}") && has("| tiny_service listens on") && has("| boot report: answers")).then_some(said)
    })
    .await;
    let prefix = format!("web {}…{} | tiny_service listens on ", &id[..6], &id[id.len() - 2..]);
    let listens: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with(&prefix)).collect();
    assert_eq!(listens.len(), 1, "a line that is in several reports is printed once: {}", said.all());
    // Origins have the same width.
    let column = |line: &str| line.chars().position(|c| c == '|');
    let columns: Vec<_> = said.stdout.lines().map(column).collect();
    assert!(columns.iter().all(|it| *it == columns[0]), "{}", said.stdout);
    assert!(!said.stdout.contains('\u{1b}'), "no colours without a terminal");

    let said = cloud.done(&project, &["logs", "--json"]).await;
    let lines = objects(&said);
    let times: Vec<&str> = lines.iter().map(|line| line["time"].as_str().expect("a time")).collect();
    // Times of reports are in whole seconds.
    assert!(times.is_sorted_by_key(|time| &time[..19]), "{times:?}");
    let of = |name: &str| lines.iter().filter(|line| line["name"] == name).cloned().collect::<Vec<Value>>();
    assert!(of("web").iter().all(|line| line["instance"] == *id && line["kind"] == "service"), "{}", said.stdout);
    assert!(of("f").iter().all(|line| line["stream"].is_string() && line["source"] == "log"), "{}", said.stdout);

    // Only the requested lines.
    let said = cloud.done(&project, &["logs", "functions.f", "--json", "--grep", "event {"]).await;
    assert_eq!(texts(&said), ["event {\"n\":1}"]);
    write(&cloud, "a minute ago", 60_000).await;
    write(&cloud, "two hours ago", 7_200_000).await;
    let said = cloud.done(&project, &["logs", "f", "--json", "--since", "1h", "--grep", "ago"]).await;
    assert_eq!(texts(&said), ["a minute ago"]);
    let said = cloud.done(&project, &["logs", "f", "--json", "--since", "1d", "--grep", "ago"]).await;
    assert_eq!(texts(&said), ["two hours ago", "a minute ago"]);
    for (wrong, word) in [(&["logs", "nothing"][..], "functions.f"), (&["logs", "--since", "10"], "such as 30s")] {
        let said = cloud.run(&project, wrong).await;
        assert!(said.code == 64 && said.stderr.contains(word), "{}", said.all());
    }

    // The lines of an instance are in its log as well.
    let log = eventually("a line in the log", async || {
        let call = cloud.aws.logs.filter_log_events().log_group_name("/deployer/s/web").log_stream_names(&id);
        let events = call.send().await.map(|answer| answer.events().to_vec()).unwrap_or_default();
        events.into_iter().find(|event| event.message().is_some_and(|text| text.starts_with("tiny_service listens on")))
    })
    .await;
    let said = cloud.done(&project, &["logs", "web", "--json", "--grep", "listens on"]).await;
    assert_eq!(texts(&said), [log.message().expect("a text")], "it is printed once");

    // An instance that is gone has left its lines.
    let end = cloud.aws.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(&id);
    end.should_decrement_desired_capacity(false).send().await.expect("an instance can be ended");
    until("another instance", async || {
        let other = cloud.aws.ec2.describe_instances().instance_ids(&id).send().await.expect("instances");
        other.reservations()[0].instances()[0]
            .state()
            .and_then(|it| it.name())
            .is_some_and(|it| it.as_str() == "terminated")
    })
    .await;
    let said = cloud.done(&project, &["logs", "web"]).await;
    assert!(said.stdout.contains(&prefix), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The instance's own programs send the lines, with a cursor that outlives them.
#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_service_arrive_in_its_log_once_and_in_order() {
    let project = stack();
    // Without the long grace period, the group would replace the instance: the log of the next one begins anew.
    project.edit(
        "    port: 8080\n",
        "    port: 8080\n    grace_period_s: 7200\n    log_retention_days: 7\n    environment: { LIFE: 1 }\n",
    );
    project.done(&["up", "--local", "--yes", "--no-wait"]);
    let lines = |least: usize| {
        let project = &project;
        eventually("all lines", async move || {
            let aws = connect(&project.endpoint(), KEYS).await;
            let call = aws.logs.filter_log_events().log_group_name("/deployer/s/web");
            let events = call.send().await.expect("a log group").events().to_vec();
            let listens = |text: &str| text.starts_with("tiny_service listens on");
            let count = events.iter().filter(|event| event.message().is_some_and(listens)).count();
            (count >= least).then_some(events)
        })
    };
    // The service exits every second and is started again.
    lines(2).await;
    project.done(&["local", "stop"]);
    project.done(&["local", "start"]);
    let events = lines(4).await;
    let mut stories: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for event in &events {
        let (stream, text) = (event.log_stream_name().expect("a stream"), event.message().expect("a text"));
        stories.entry(stream).or_default().push(text);
    }
    for (stream, texts) in stories {
        assert!(stream.starts_with("i-"), "a stream is an instance: {stream}");
        let kinds = ["tiny_service listens on", "it has lived long enough", "s-web.service: Main process exited"];
        let order: Vec<usize> =
            texts.iter().filter_map(|text| kinds.iter().position(|kind| text.starts_with(kind))).collect();
        // Between two lines, the server may have been stopped.
        let is_next = |pair: &[usize]| pair[1] == (pair[0] + 1) % 3 || pair[1] == 0;
        assert!(order.windows(2).all(is_next) && order.len() > 2, "{stream}: {texts:#?}");
    }
    // The exit report has the same lines: each is printed once.
    let said = project.done(&["logs", "web", "--local", "--json"]);
    let all = objects(&said);
    let is_log = |line: &&Value| line["source"] == "log";
    assert!(all.iter().filter(is_log).count() >= events.len(), "{}", said.all());
    let of_reports = all.iter().filter(|line| !is_log(line));
    let second = |line: &Value| line["time"].as_str().expect("a time")[..19].to_owned();
    let repeated: Vec<&Value> = of_reports
        .filter(|line| {
            let same = |other: &&Value| is_log(other) && other["text"] == line["text"] && second(other) == second(line);
            all.iter().any(|other| same(&other))
        })
        .collect();
    assert_eq!(repeated, [&Value::Null; 0], "{}", said.all());
    project.done(&["down", "--local", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_lines_are_followed_until_ctrl_c() {
    let (cloud, project) = deployed().await;
    print(&cloud, r#"{"n":1}"#).await;
    let mut follow = cloud.command(&project, &["logs", "f", "--follow", "--json"]).spawn().expect("it can be started");
    let mut lines = BufReader::new(follow.stdout.take().expect("it is piped")).lines();
    let mut seen = Vec::new();
    let mut see = async |text: &str| {
        loop {
            let line = lines.next_line().await.expect("it is UTF-8").expect("it goes on");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            seen.push(line.clone());
            if line["text"] == *text {
                return;
            }
        }
    };
    see(r#"event {"n":1}"#).await;
    print(&cloud, r#"{"n":2}"#).await;
    see(r#"event {"n":2}"#).await;
    // A line that arrives late, before others that have been printed.
    write(&cloud, "late", 1_000).await;
    see("late").await;
    print(&cloud, r#"{"n":3}"#).await;
    see(r#"event {"n":3}"#).await;
    let unique: std::collections::BTreeSet<String> = seen.iter().map(Value::to_string).collect();
    let events: Vec<&Value> = seen.iter().filter(|it| it["text"].as_str().is_some_and(|it| it.contains('{'))).collect();
    assert_eq!(events.len(), 3, "each line is printed once: {unique:?}");
    let id = i32::try_from(follow.id().expect("it runs")).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::INT).expect("it can be signalled");
    let ended = follow.wait_with_output().await.expect("it ends");
    let said = RunOutput::from(ended);
    assert_eq!(said.code, 130, "{}", said.all());
    assert!(!said.stderr.contains("error:"), "this is how it ends: {}", said.all());

    // On a terminal, with colours.
    let mut terminal = Terminal::of(&cloud.command(&project, &["logs", "f", "-f"]));
    terminal.see("m event {\"n\":3}".trim_start_matches('m')).await;
    print(&cloud, r#"{"n":4}"#).await;
    terminal.see(r#"event {"n":4}"#).await;
    terminal.press(CTRL_C).await;
    let said = terminal.end().await;
    assert_eq!(said.code, 130, "{}", said.all());
    assert!(said.stderr.contains("\u{1b}["), "the name is coloured: {}", said.all());

    // After `| head`, it ends by itself.
    let mut headed = cloud.command(&project, &["logs", "f", "-f"]).spawn().expect("it can be started");
    drop(headed.stdout.take());
    print(&cloud, r#"{"n":5}"#).await;
    assert_eq!(headed.wait().await.expect("it ends").code(), Some(0));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logged_text_controls_nothing() {
    let (cloud, project) = deployed().await;
    let evil = "a\u{1b}]0;title\u{7}\u{9b}2J\u{202e}b\rerror: forged\nhint: forged";
    write(&cloud, evil, 0).await;
    let said = cloud.done(&project, &["logs", "f", "--grep", "forged"]).await;
    let expected = "f | a\\u{1b}]0;title\\u{7}\\u{9b}2J\\u{202e}b\\rerror: forged\\nhint: forged\n";
    assert_eq!(said.stdout, expected);
    let said = cloud.done(&project, &["logs", "f", "--json", "--grep", "forged"]).await;
    assert!(said.stdout.trim_end().chars().all(|c| c.is_ascii_graphic() || c == ' '), "{:?}", said.stdout);
    assert_eq!(texts(&said), [evil]);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_read_is_named_and_hides_no_other() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    scene.proxy.reset();
    let denied =
        || InjectedFault::refused(400, "AccessDeniedException", "not authorized to perform: logs:FilterLogEvents");
    scene.proxy.inject(["FilterLogEvents"], denied(), usize::MAX);
    let said = eventually("the report", async || {
        let said = scene.run(&["logs"]).await;
        said.stdout.contains("boot report: ").then_some(said)
    })
    .await;
    assert_eq!(said.code, 1, "{}", said.all());
    for name in ["labeler", "web"] {
        let words = format!("could not read the log of {name}: denied (FilterLogEvents)");
        assert_eq!(said.stderr.matches(&words).count(), 1, "{}", said.all());
    }
    // Followed, it is named once; without anything to read, it ends.
    let said = scene.run(&["logs", "labeler", "-f"]).await;
    assert_eq!((said.code, said.stderr.matches("could not read").count()), (1, 1), "{}", said.all());
    scene.proxy.reset();
    scene.proxy.inject(["ListObjectsV2"], InjectedFault::refused(403, "AccessDenied", "Access Denied"), usize::MAX);
    let said = scene.run(&["logs"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("could not read the boot reports of web: denied (ListObjectsV2)"), "{}", said.all());
    // Credentials that have expired end it.
    scene.proxy.reset();
    let expired =
        InjectedFault::refused(400, "ExpiredTokenException", "The security token included in the request is expired");
    scene.proxy.inject(["FilterLogEvents"], expired, usize::MAX);
    assert_eq!(scene.run(&["logs", "-f"]).await.code, 77);
    scene.clear().await;
    // Before the first `up` there is nothing to read, and that is no error.
    let said = scene.run(&["logs"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{}", said.all());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_invoked_with_an_event() {
    let (cloud, project) = deployed().await;
    let file = |text: &str| {
        std::fs::write(project.path().join("event.json"), text).expect("the folder can be written to");
    };
    let invoke = async |more: &[&str]| cloud.run(&project, &[&["invoke", "f"], more].concat()).await;
    file("{ \"n\": 1 }\n");
    let said = invoke(&["--event", "event.json"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "{ \"n\": 1 }\n"), "{}", said.all());
    assert!(
        said.stderr.contains("event { \"n\": 1 }\n") && said.stderr.contains("START RequestId: "),
        "{}",
        said.all()
    );
    let said = invoke(&[]).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "{}\n"), "{}", said.all());
    let mut piped = cloud.command(&project, &["invoke", "functions.f", "--event", "-"]);
    let mut piped = piped.stdin(std::process::Stdio::piped()).spawn().expect("it can be started");
    let mut stdin = piped.stdin.take().expect("it is piped");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"[1,\n2]").await.expect("it reads");
    drop(stdin);
    let said = RunOutput::from(piped.wait_with_output().await.expect("it ends"));
    assert_eq!((said.code, said.stdout.as_str()), (0, "[1,\n2]\n"), "{}", said.all());

    // A function that fails.
    file("\"fail\"");
    let said = invoke(&["--event", "event.json"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stdout.contains("\"errorMessage\":\"as asked\""), "{}", said.all());
    assert!(said.stderr.contains("error: f fails: as asked (Sad)"), "{}", said.all());

    // The event of S3 about an object.
    let put = cloud.aws.s3.put_object().bucket(IMAGES).key("Zoé/a b.jpg").body(b"abc".to_vec().into());
    put.send().await.expect("an object can be put");
    let said = invoke(&["--sample", "images/Zoé/a b.jpg"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    let event: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let s3 = &event["Records"][0]["s3"];
    let object = (&s3["bucket"]["name"], &s3["object"]["key"], &s3["object"]["size"]);
    assert_eq!(object, (&IMAGES.into(), &"Zo%C3%A9/a+b.jpg".into(), &3.into()), "{event:#}");

    // Mistakes are named.
    file("{ n: 1 }");
    for (arguments, code, word) in [
        (&["--event", "event.json"][..], 64, "not JSON: key must be a string at line 1 column 3"),
        (&["--event", "missing.json"], 64, "missing.json"),
        (&["--event", "."], 64, "not a regular file"),
        (&["--sample", "images/missing"], 1, "no object \"missing\""),
        (&["--sample", "pictures/a"], 64, "buckets: images"),
        (&["--sample", "images"], 64, "a bucket and a key are needed"),
        (&["--sample", "images/a", "--event", "event.json"], 64, "cannot be used with"),
    ] {
        let said = invoke(arguments).await;
        assert!(said.code == code && said.stderr.contains(word), "{arguments:?}: {}", said.all());
    }
    let said = cloud.run(&project, &["invoke", "g"]).await;
    assert!(said.code == 64 && said.stderr.contains("available: f"), "{}", said.all());
    // A function of another owner is not invoked.
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:s-f";
    let tag = cloud.aws.lambda.tag_resource().resource(arn).tags("deployer:stack", "another");
    tag.send().await.expect("it can be tagged");
    let said = invoke(&[]).await;
    assert!(said.code == 1 && said.stderr.contains("belongs to stack \"another\""), "{}", said.all());
    let tag = cloud.aws.lambda.tag_resource().resource(arn).tags("deployer:stack", "s");
    tag.send().await.expect("it can be tagged");
    cloud.done(&project, &["down", "--yes"]).await;
    let said = invoke(&[]).await;
    assert!(said.code == 1 && said.stderr.contains("run `up` first"), "{}", said.all());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_whose_answer_is_lost_is_not_invoked_again() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    scene.proxy.reset();
    scene.proxy.inject(["Invoke"], InjectedFault::ResetAfter, usize::MAX);
    let said = scene.run(&["invoke", "labeler"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let logs = aws.logs.filter_log_events().log_group_name("/aws/lambda/postagram-labeler").filter_pattern("START");
    assert_eq!(logs.send().await.expect("a log").events().len(), 1, "{}", said.all());
    scene.clear().await;
    scene.end().await;
}

/// EC2 refuses the latest console of a type without the Nitro hypervisor (docs/aws.md §8.5): the output posted at the last
/// boot says why the instance does not serve.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_of_an_older_type_is_that_of_its_last_boot() {
    let (cloud, project) = (TestAws::start().await, stack());
    project.edit("instance_type: t3.micro", "instance_type: t2.micro");
    cloud.done(&project, &["up", "--yes"]).await;

    let first = instance(&cloud).await;
    let broken = BASE64_STANDARD.encode("#cloud-config\nwrite_files: [\n");
    let data = RequestLaunchTemplateData::builder().user_data(broken).build();
    let version = cloud.aws.ec2.create_launch_template_version().launch_template_name("s-web").source_version("1");
    version.launch_template_data(data).send().await.expect("a version can be made");
    let newest = LaunchTemplateSpecification::builder().launch_template_name("s-web").version("$Latest").build();
    let update = cloud.aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name("s-web-8080");
    update.launch_template(newest).send().await.expect("it can be chosen");
    let ended = cloud.aws.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(first);
    ended.should_decrement_desired_capacity(false).send().await.expect("an instance can be ended");

    let said = eventually("the console of the last boot", async || {
        let said = cloud.run(&project, &["why", "web"]).await;
        said.stdout.contains("web: cloud-init failed on the instance: ").then_some(said)
    })
    .await;
    assert!(!said.all().contains("UnsupportedOperation"), "{}", said.all());
    let journal = cloud.control().journal().await;
    let asked = journal.iter().filter(|call| call["operation"] == "GetConsoleOutput").map(|call| &call["status"]);
    let answers: Vec<&Value> = asked.collect();
    let last = answers.len().checked_sub(2).map(|at| &answers[at..]);
    assert_eq!(last, Some(&[&Value::from(400), &Value::from(200)][..]), "the latest console, then the posted one");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// A folder with this program in place of every browser.
fn browser(project: &Project, script: &str) -> String {
    let folder = project.path().join("bin");
    std::fs::create_dir_all(&folder).expect("the folder can be written to");
    for name in ["open", "xdg-open"] {
        let file = folder.join(name);
        std::fs::write(&file, script).expect("the folder can be written to");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    }
    folder.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_service_is_printed_and_opened() {
    let (cloud, project) = deployed().await;
    let others = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{others}", browser(&project, "#!/bin/sh\necho \"$@\" >opened\n"));
    let open = async |path: &str, arguments: &[&str]| {
        let mut command = cloud.command(&project, arguments);
        Terminal::of(command.env("PATH", path)).end().await
    };
    let said = open(&path, &["open"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    let opened = std::fs::read_to_string(project.path().join("opened")).expect("the browser was started");
    assert!(opened.starts_with("http://127.0.0.1:") && said.stderr.contains(opened.trim()), "{}", said.all());
    // A browser that fails, and none at all.
    browser(&project, "#!/bin/sh\nexit 4\n");
    let said = open(&path, &["open", "services.web"]).await;
    assert!(said.code == 1 && said.stderr.contains("exit status: 4"), "{}", said.all());
    assert!(said.stderr.contains(opened.trim()), "the address is printed all the same: {}", said.all());
    // Without a terminal.
    let said = cloud.run(&project, &["open", "web"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (1, opened.as_str()), "{}", said.all());
    assert!(said.stderr.contains("stdout is not a terminal"), "{}", said.all());
    let said = cloud.run(&project, &["open", "wob"]).await;
    assert!(said.code == 64 && said.stderr.contains("available: web"), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    let said = cloud.run(&project, &["open"]).await;
    assert!(said.code == 1 && said.stderr.contains("run `up` first"), "{}", said.all());
    cloud.end().await;
}
