//! What instances report: their consoles, journals and exits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::stack::{Stack, TestCompute};

/// Changes the user data of the launch template, and waits until the console or the journal of the group's first
/// instance contains `expected`.
async fn instance_says(test: &TestCompute, stack: &Stack, changes: &[(&str, &str)], expected: &str) {
    let mut data = test.template_data(&stack.group_id, "GREETING=\"hello\"\nPORT=\"8080\"").await;
    for (name, value) in &mut data {
        for (from, to) in changes {
            if name.ends_with("UserData") {
                let text = String::from_utf8(STANDARD.decode(&*value).unwrap()).unwrap();
                *value = STANDARD.encode(text.replace(from, to));
            } else if name.ends_with(from) {
                *value = (*to).to_owned();
            }
        }
    }
    test.new_version(data).await;
    test.set_desired(1).await;
    test.until(&format!("the instance says {expected:?}"), async || match test.instance_ids().await.first() {
        Some(id) => (test.console(id).await + &test.journal(id).await).contains(expected),
        None => false,
    })
    .await;
    test.set_desired(0).await;
    test.until("the instance is gone", async || test.instance_ids().await.is_empty()).await;
}

#[tokio::test]
async fn the_console_has_the_output_sent_there_and_by_default_that_of_the_last_state_change() {
    let test = TestCompute::start().await;
    let empty = [("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &empty).await;
    let silent = test.changed_data(&stack.group_id, "    StandardOutput=journal+console\n", "").await;
    test.new_version(silent).await;
    test.set_desired(1).await;
    test.until("the service listens", async || match test.instance_ids().await.first() {
        Some(id) => {
            let journal = test.journal(id).await;
            journal.contains("service[") && journal.contains("tiny_service listens on")
        }
        None => false,
    })
    .await;
    let id = test.instance_ids().await.remove(0);
    let console = test.console(&id).await;
    assert!(console.contains("cloud-init: wrote /etc/web.env") && !console.contains("tiny_service"), "{console}");
    test.set_desired(0).await;
    test.until("the instance is gone", async || test.instance_ids().await.is_empty()).await;

    let loud = test.template_data(&stack.group_id, "GREETING=\"hello\"\nPORT=\"8080\"").await;
    test.new_version(loud).await;
    test.set_desired(1).await;
    test.until("the console has the output", async || match test.instance_ids().await.first() {
        Some(id) => test.console(id).await.contains("tiny_service listens on"),
        None => false,
    })
    .await;
    let id = test.instance_ids().await.remove(0);
    let posted = async || {
        let answer = test.ok("ec2", "GetConsoleOutput", &[("InstanceId", &id)]).await;
        String::from_utf8(STANDARD.decode(answer.field("output")).unwrap()).unwrap()
    };
    assert!(posted().await.contains("cloud-init: wrote") && !posted().await.contains("tiny_service"));
    test.set_desired(0).await;
    test.until("the termination posts the rest", async || posted().await.contains("tiny_service listens on")).await;

    let old = [("InstanceType", "t2.micro")];
    let mut data = test.template_data(&stack.group_id, "PORT=\"8080\"").await;
    data.iter_mut().filter(|(name, _)| name.ends_with(old[0].0)).for_each(|(_, value)| *value = old[0].1.to_owned());
    test.new_version(data).await;
    test.set_desired(1).await;
    test.until("there is an instance", async || test.instance_ids().await.len() == 1).await;
    let id = test.instance_ids().await.remove(0);
    let refused = test.call("ec2", "GetConsoleOutput", &[("InstanceId", &id), ("Latest", "true")]).await;
    assert_eq!((refused.status, refused.field("Code").as_str()), (400, "UnsupportedOperation"));
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_units_reports_of_its_exits_outlive_the_instance() {
    let test = TestCompute::start().await;
    let empty = [("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &empty).await;
    let script = "- path: /opt/web/report
  content: |
    id=$(cat /var/lib/cloud/data/instance-id)
    {
      echo stage=$1 result=$SERVICE_RESULT code=$EXIT_CODE status=$EXIT_STATUS
      systemctl show web --property=NRestarts
      journalctl --unit=web --lines=20 --no-pager --quiet --output=short-iso
    } 2>&1 | aws s3 cp --only-show-errors - s3://artifacts/boot/web/$id/$1
- path: /etc/systemd/system/web.service
";
    let mut data = test.changed_data(&stack.group_id, "- path: /etc/systemd/system/web.service\n", script).await;
    for (name, value) in &mut data {
        if name.ends_with("UserData") {
            let text = String::from_utf8(STANDARD.decode(&*value).unwrap()).unwrap();
            let text = text.replace("GREETING=\"hello\"", "DIE=\"1\"");
            let after = "    ExecStopPost=+-/usr/bin/bash /opt/web/report exit\n    Restart=always\n";
            *value = STANDARD.encode(text.replace("    Restart=always\n", after));
        }
    }
    test.new_version(data).await;
    test.set_desired(1).await;
    let report = || {
        let written = test.written.lock().unwrap();
        written.values().last().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    };
    test.until("the second exit is reported", async || report().contains("NRestarts=1")).await;
    let id = test.instance_ids().await.remove(0);
    let text = report();
    assert!(text.starts_with("stage=exit result=exit-code code=exited status=1\nNRestarts="), "{text}");
    assert!(text.contains("tiny_service exits because DIE is set"), "{text}");
    assert!(text.contains("web.service: Main process exited, code=exited, status=1/FAILURE"), "{text}");
    let keys: Vec<String> = test.written.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys, [format!("artifacts/boot/web/{id}/exit")]);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn what_does_not_run_on_an_ec2_instance_does_not_run_here() {
    let test = TestCompute::start().await;
    let no_instances = [("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &no_instances).await;
    let text = "+/usr/bin/chmod 0755 /etc/web.env\n    ExecStart=/etc/web.env";
    let is_text = [("+/usr/bin/chmod 0755 /opt/web/service\n    ExecStart=/opt/web/service", text)];
    instance_says(&test, &stack, &is_text, "Failed at step EXEC spawning /etc/web.env: Exec format error").await;
    instance_says(&test, &stack, &is_text, "code=exited, status=203/EXEC").await;

    let arm = [("Filter.1.Name", "architecture"), ("Filter.1.Value.1", "arm64")];
    let arm = test.ok("ec2", "DescribeImages", &arm).await.field("imageId");
    let is_arm = [("ImageId", arm.as_str()), ("InstanceType", "t4g.micro")];
    if cfg!(target_arch = "x86_64") {
        let expected =
            "Failed at step EXEC spawning /opt/web/service: Exec format error (os error 8) (t4g.micro is arm64)";
        instance_says(&test, &stack, &is_arm, expected).await;
    }

    let low = [("PORT=\"8080\"", "PORT=\"80\"")];
    instance_says(&test, &stack, &low, "/opt/web/service: cannot listen on port 80: Permission denied").await;
    let bind = "DynamicUser=yes\n    AmbientCapabilities=CAP_NET_BIND_SERVICE";
    instance_says(&test, &stack, &[low[0], ("DynamicUser=yes", bind)], "tiny_service listens on").await;
    instance_says(&test, &stack, &[low[0], ("DynamicUser=yes", "User=root")], "tiny_service listens on").await;
    test.down(&stack).await;
    test.stop().await;
}
