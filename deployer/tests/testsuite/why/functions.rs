//! Functions that fail.

use aws_sdk_dynamodb::types::AttributeValue;
use testkit::{programs::program, small_programs::echo_function, until};

use super::cloud;
use super::timing::{Broken, all_explained, explained};
use crate::support::Project;

#[tokio::test(flavor = "multi_thread")]
async fn each_failing_function_is_explained() {
    let (echo, labeler) = (echo_function().display().to_string(), program("labeler").display().to_string());
    let of_bucket = |bucket: &str, uses: &str| {
        format!(
            "    binary: {labeler}\n    environment: {{ BUCKET: \"${{buckets.{bucket}.name}}\", DYNAMO_TABLE: \"${{tables.posts.name}}\" }}\n    uses: {{ {uses}tables: {{ posts: read_write }} }}\n"
        )
    };
    let text = format!(
        "name: s\nregion: us-east-1\nbuckets: {{ one: {{}}, two: {{}} }}\ntables:\n  posts: {{ partition_key: user, sort_key: id }}\nfunctions:\n  hungry: {{ binary: {echo}, memory_mb: 128 }}\n  late: {{ binary: {echo}, timeout_s: 1 }}\n  blind:\n{}  locked:\n{}",
        of_bucket("one", "buckets: { one: read_write }, "),
        of_bucket("two", ""),
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    cloud.done(&project, &["up", "--yes"]).await;
    let event = |name: &str, text: &str| {
        let file = project.path().join(name);
        std::fs::write(&file, format!("\"{text}\"")).expect("the folder can be written to");
        file.display().to_string()
    };
    let (too_much, too_long) = (event("hold", "hold 600"), event("sleep", "sleep"));
    let post = "018f0000-0000-7000-8000-000000000001";
    let key = format!("ada/{post}/018f0000-0000-7000-8000-000000000002a.jpg");
    let row = cloud.aws.dynamodb.put_item().table_name("s-posts");
    let row = row.item("user", AttributeValue::S("USER#ada".into()));
    row.item("id", AttributeValue::S(format!("POST#{post}"))).send().await.expect("a row can be put");
    for bucket in ["one", "two"] {
        let put = cloud.aws.s3.put_object().bucket(format!("s-{bucket}-000000000000-us-east-1")).key(&key);
        put.body(jpeg().into()).send().await.expect("an object can be put");
    }
    for arguments in [
        ["invoke", "hungry", "--event", &too_much],
        ["invoke", "late", "--event", &too_long],
        ["invoke", "blind", "--sample", &format!("one/{key}")],
        ["invoke", "locked", "--sample", &format!("two/{key}")],
    ] {
        let said = cloud.run(&project, &arguments).await;
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.all());
    }
    let row = |name, cause, says, remedy| Broken { name, cause, says, remedy };
    let broken = [
        row("hungry", "a function out of memory", &["it needs more memory than it has"], "raise `memory_mb`"),
        row("late", "a function that exceeds its time limit", &["it exceeds its time limit"], "raise `timeout_s`"),
        row("blind", "Rekognition refuses a call", &["Rekognition refused a call"], "`uses: { rekognition: true }`"),
        row("locked", "a function without permission on a bucket", &["it lacks a permission"], "add what it uses"),
    ];
    all_explained(&cloud, &project, &broken).await;

    // Cured functions are well as soon as they succeed.
    project.edit("memory_mb: 128", "memory_mb: 256");
    project.edit("timeout_s: 1", "timeout_s: 2");
    project.edit("uses: { buckets: { one: read_write },", "uses: { rekognition: true, buckets: { one: read_write },");
    project.edit("uses: { tables:", "uses: { rekognition: true, buckets: { two: read_write }, tables:");
    cloud.done(&project, &["up", "--yes"]).await;
    let harmless = event("harmless", "env NAME");
    for arguments in [
        ["invoke", "hungry", "--event", &harmless],
        ["invoke", "late", "--event", &harmless],
        ["invoke", "blind", "--sample", &format!("one/{key}")],
        ["invoke", "locked", "--sample", &format!("two/{key}")],
    ] {
        // A role is not in force everywhere at once.
        until("a success", async || cloud.run(&project, &arguments).await.code == 0).await;
    }
    let well = cloud.run(&project, &["why"]).await;
    let lines: String =
        ["blind", "hungry", "late", "locked"].map(|name| format!("{name}: no problem found\n")).concat();
    let mut said: Vec<&str> = well.stdout.lines().collect();
    said.sort_unstable();
    assert_eq!((well.code, said.join("\n") + "\n"), (0, lines), "{}", well.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_concurrency_for_its_invocations_is_explained() {
    let echo = echo_function().display().to_string();
    let text = format!(
        "name: s\nregion: us-east-1\nfunctions:\n  stopped:\n    binary: {echo}\n    concurrency: 0\n  narrow:\n    binary: {echo}\n    timeout_s: 60\n    concurrency: 1\n  changed:\n    binary: {echo}\n"
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    cloud.done(&project, &["up", "--yes"]).await;
    let lambda = &cloud.aws.lambda;
    let stop = lambda.put_function_concurrency().function_name("s-changed").reserved_concurrent_executions(0);
    stop.send().await.expect("it can be stopped");
    // Nothing has invoked them yet.
    let well = cloud.run(&project, &["why"]).await;
    assert_eq!(well.code, 0, "{}", well.all());
    for (name, event) in
        [("s-stopped", "env NAME"), ("s-narrow", "sleep"), ("s-narrow", "sleep"), ("s-changed", "env NAME")]
    {
        let event = aws_sdk_lambda::primitives::Blob::new(format!("\"{event}\""));
        let send = lambda.invoke().function_name(name).payload(event);
        send.invocation_type(aws_sdk_lambda::types::InvocationType::Event).send().await.expect("it is accepted");
    }
    let row = |name, cause, says, remedy| Broken { name, cause, says, remedy };
    let broken = [
        row(
            "stopped",
            "a function that is stopped",
            &["its reserved concurrency of 0 stops it: "],
            "raise `concurrency`",
        ),
        row(
            "narrow",
            "a function whose reserved concurrency is used up",
            &["its reserved concurrency of 1 is used up: "],
            "raise `concurrency`",
        ),
        row(
            "changed",
            "a function that was stopped by hand",
            &["its reserved concurrency of 0 stops it: "],
            "reverts the manual change",
        ),
    ];
    all_explained(&cloud, &project, &broken).await;
    let said = cloud.run(&project, &["why", "stopped", "narrow"]).await;
    for (line, evidence) in
        [("(stack.yaml:6)", "; reserved concurrency: 0"), ("(stack.yaml:10)", "; reserved concurrency: 1")]
    {
        assert!(said.stdout.contains(line) && said.stdout.contains(evidence), "{line} {evidence}: {}", said.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// A picture.
fn jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([20, 40, 200]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a picture can be encoded");
    bytes.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_function_is_explained() {
    let text = format!(
        "name: s\nregion: us-east-1\nbuckets:\n  images: {{ on_upload: {{ function: f }} }}\nfunctions:\n  f:\n    binary: {}\n    uses: {{ buckets: {{ images: read }} }}\n",
        echo_function().display()
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    cloud.done(&project, &["up", "--yes"]).await;
    let well = cloud.run(&project, &["why", "functions.f"]).await;
    assert_eq!((well.code, well.stdout.as_str()), (0, "f: no problem found\n"), "{}", well.all());
    let bucket = "s-images-000000000000-us-east-1";
    let none = aws_sdk_s3::types::NotificationConfiguration::builder().build();
    let put = cloud.aws.s3.put_bucket_notification_configuration().bucket(bucket).notification_configuration(none);
    put.send().await.expect("it can be removed");
    explained(&cloud, &project, "a notification removed by hand", "f", &["does not notify it of uploads"], "run `up`")
        .await;
    cloud.done(&project, &["up", "--yes"]).await;
    let remove = cloud.aws.lambda.remove_permission().function_name("s-f").statement_id("deployer-images");
    remove.send().await.expect("it can be removed");
    explained(
        &cloud,
        &project,
        "a bucket without permission to invoke",
        "f",
        &["is not allowed to invoke it"],
        "run `up`",
    )
    .await;
    let unknown = cloud.run(&project, &["why", "nothing"]).await;
    assert_eq!(unknown.code, 64, "{}", unknown.all());
    assert!(unknown.stderr.contains("functions.f"), "{}", unknown.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
