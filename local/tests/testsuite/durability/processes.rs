//! The processes of functions and instances, before and after a kill.

use aws_sdk_autoscaling::types::LifecycleState;
use aws_sdk_lambda::types::{FunctionCode, InvocationType, Runtime};
use aws_sdk_s3::primitives::Blob;
use base64::Engine;
use testkit::small_programs::echo_function;
use testkit::{clients, until};

use super::kinds::{Clients, TRUST, zip_of};
use crate::support::process::{Server, files_below};

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_no_process_behind_and_forgets_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let config = server.config().await;
    let iam = aws_sdk_iam::Client::new(&config);
    let role = iam.create_role().role_name("echo").assume_role_policy_document(TRUST).send().await.unwrap();
    let logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    iam.attach_role_policy().role_name("echo").policy_arn(logs).send().await.unwrap();
    let lambda = aws_sdk_lambda::Client::new(&config);
    let create = lambda.create_function().function_name("echo").runtime(Runtime::Providedal2023).handler("bootstrap");
    let code = FunctionCode::builder().zip_file(aws_sdk_lambda::primitives::Blob::new(zipped())).build();
    create.role(role.role().unwrap().arn()).code(code).send().await.unwrap();
    clients::function_is_active(&lambda, "echo").await;
    let called = lambda.invoke().function_name("echo").payload(Blob::new("\"pid\"")).send().await.unwrap();
    let pid: i32 = std::str::from_utf8(called.payload().unwrap().as_ref()).unwrap().parse().unwrap();
    // The function's only other processes are sleeping, so this event waits for one of them or for the next server.
    for _ in 0..10 {
        let sleep = lambda.invoke().function_name("echo").invocation_type(InvocationType::Event);
        sleep.payload(Blob::new("\"sleep\"")).send().await.unwrap();
    }
    let event = lambda.invoke().function_name("echo").invocation_type(InvocationType::Event);
    event.payload(Blob::new(r#"{"remember":"me"}"#)).send().await.unwrap();
    server.kill();
    until("the function's process is gone", async || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_err()
    })
    .await;

    // Otherwise the sleep events would be handled first again.
    let events = dir.path().join("functions/events");
    assert!(events.is_dir(), "events are stored");
    for file in files_below(&events) {
        if std::fs::read_to_string(&file).unwrap().contains("sleep") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let server = Server::start(dir.path());
    let logs = aws_sdk_cloudwatchlogs::Client::new(&server.config().await);
    until("the event is handled", async || {
        let found = logs.filter_log_events().log_group_name("/aws/lambda/echo").filter_pattern("remember").send().await;
        found.is_ok_and(|found| !found.events().is_empty())
    })
    .await;
    until("the event is forgotten", async || files_below(&events).is_empty()).await;
    server.stop();
}

fn zipped() -> Vec<u8> {
    zip_of(&std::fs::read(echo_function()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_instance_is_one_process_before_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let world = Clients::new(&server.config().await, "");
    // A duration for which no other process sleeps: it contains the id of this process and a random number.
    let sleep = format!("sleep 1000000.{}{:04}", std::process::id(), fastrand::u16(..9999));
    group_of_one(&world, &sleep).await;
    until("the instance serves", async || serving(&world).await.len() == 1 && processes(&sleep).len() == 1).await;
    let (instance, process) = (serving(&world).await, processes(&sleep));
    server.kill();
    until("the killed server's process is gone", async || processes(&sleep).is_empty()).await;

    let server = Server::start(dir.path());
    let world = Clients::new(&server.config().await, "");
    until("an instance serves again", async || serving(&world).await.len() == 1 && !processes(&sleep).is_empty()).await;
    let again = processes(&sleep);
    assert_eq!(again.len(), 1, "{instance:?} of {process:?} became {again:?}");
    assert_ne!(again, process);
    server.stop();
    until("no process is left", async || processes(&sleep).is_empty()).await;
}

/// A group with one instance that runs this command.
async fn group_of_one(world: &Clients, command: &str) {
    let user_data = format!(
        "#cloud-config
write_files:
- path: /opt/web
  permissions: '0755'
  content: |
    #!/bin/sh
    exec {command}
- path: /etc/systemd/system/web.service
  content: |
    [Service]
    ExecStart=/opt/web
    Restart=always
    [Install]
    WantedBy=multi-user.target
runcmd:
- [systemctl, enable, --now, web.service]
"
    );
    let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder()
        .image_id(world.image().await.unwrap())
        .instance_type(aws_sdk_ec2::types::InstanceType::T3Micro)
        .user_data(base64::prelude::BASE64_STANDARD.encode(user_data))
        .build();
    let template = world.ec2.create_launch_template().launch_template_name("web").launch_template_data(data);
    template.send().await.unwrap();
    let template = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder();
    let template = template.launch_template_name("web").version("1").build();
    let create = world.groups.create_auto_scaling_group().auto_scaling_group_name("web").launch_template(template);
    create.min_size(1).max_size(1).availability_zones("us-east-1a").send().await.unwrap();
}

/// The ids of the instances in service.
async fn serving(world: &Clients) -> Vec<String> {
    let found = world.groups.describe_auto_scaling_instances().send().await.unwrap();
    let serving = found.auto_scaling_instances().iter();
    let serving = serving.filter(|one| one.lifecycle_state.as_deref() == Some(LifecycleState::InService.as_str()));
    serving
        .filter(|one| one.health_status.as_deref() == Some("HEALTHY"))
        .filter_map(|one| one.instance_id.clone())
        .collect()
}

/// The ids of this machine's processes that run this command.
fn processes(command: &str) -> Vec<String> {
    let all = std::process::Command::new("ps").args(["-A", "-o", "pid=,args="]).output().unwrap();
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    let ours = all.lines().map(str::trim).filter_map(|line| line.split_once(' '));
    ours.filter(|(_, args)| args.trim() == command).map(|(pid, _)| pid.to_owned()).collect()
}
