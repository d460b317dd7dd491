//! Writes to a full disk.

use aws_config::SdkConfig;
use aws_sdk_lambda::types::{FunctionCode, Runtime};
use aws_sdk_s3::primitives::Blob;

use super::acknowledgement::outcome;
use super::kinds::{BUCKET, Clients, Kind, TRUST, found, new_table, table, zip_of};
use crate::support::process::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_does_not_fit_on_the_disk_is_refused_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path()).stop();
    // No file may become larger than half a megabyte, as if the disk were full at that point.
    let server = Server::start_after("trap '' XFSZ; ulimit -f 1024;", dir.path()).unwrap();
    let world = Clients::new(&server.config().await, "");
    table(&world.dynamodb).await;
    world.s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    world.write(Kind::Object, "picture", Some("small")).await.unwrap();
    let large = "x".repeat(1 << 20);
    assert!(world.write(Kind::Object, "picture", Some(&large)).await.is_err());
    assert_eq!(world.read(Kind::Object, "picture").await.unwrap().as_deref(), Some("small"));
    world.write(Kind::Object, "another", Some("small as well")).await.unwrap();

    let mut kept = Vec::new();
    for number in 0..100 {
        let name = format!("item {number}");
        match world.write(Kind::Item, &name, Some(&large[..30_000])).await {
            Ok(()) => kept.push(name),
            Err(_) => break,
        }
    }
    assert!((5..100).contains(&kept.len()), "{} items of 30 KB were kept in half a megabyte", kept.len());
    let refused = world.write(Kind::Item, "one more", Some(&large[..30_000])).await.unwrap_err();
    assert!(format!("{refused:?}").contains("the local AWS cannot write its tables"), "{refused:?}");
    assert_eq!(world.read(Kind::Item, "one more").await.unwrap(), None);
    server.kill();

    let server = Server::start(dir.path());
    let world = Clients::new(&server.config().await, "");
    assert_eq!(world.read(Kind::Object, "picture").await.unwrap().as_deref(), Some("small"));
    assert_eq!(world.read(Kind::Object, "another").await.unwrap().as_deref(), Some("small as well"));
    for name in &kept {
        assert_eq!(world.read(Kind::Item, name).await.unwrap().map(|text| text.len()), Some(30_000), "{name}");
    }
    world.write(Kind::Item, "one more", Some("there is room again")).await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_refused_by_a_full_disk_has_no_effect_before_or_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let iam = aws_sdk_iam::Client::new(&server.config().await);
    let role = iam.create_role().role_name("kept").assume_role_policy_document(TRUST).send().await.unwrap();
    let role = role.role().unwrap().arn().to_owned();
    server.stop();

    // A file of more than half a kilobyte does not fit; a script of two lines does.
    let server = Server::start_after("trap '' XFSZ; ulimit -f 1;", dir.path()).unwrap();
    let world = OneOfEach::new(&server.config().await);
    for (what, refused) in world.create(&role).await {
        let refused = refused.expect_err(what);
        assert!(refused.contains("the local AWS cannot write its "), "{what}: {refused}");
    }
    assert_eq!(world.existing().await, Vec::<&str>::new());
    server.kill();

    let server = Server::start(dir.path());
    let world = OneOfEach::new(&server.config().await);
    assert_eq!(world.existing().await, Vec::<&str>::new());
    for (what, created) in world.create(&role).await {
        assert_eq!(created, Ok(()), "{what} on a disk with room");
    }
    assert_eq!(world.existing().await, ["role", "function", "log group", "table"]);
    server.stop();
}

/// A client that creates one resource of each kind, and looks for them.
struct OneOfEach {
    clients: Clients,
    /// So long that a file containing it is larger than half a kilobyte.
    name: String,
}

impl OneOfEach {
    pub(super) fn new(config: &SdkConfig) -> OneOfEach {
        OneOfEach { clients: Clients::new(config, ""), name: "x".repeat(64) }
    }

    async fn create(&self, role: &str) -> [(&'static str, Result<(), String>); 4] {
        let OneOfEach { clients: Clients { dynamodb, logs, iam, lambda, .. }, name } = self;
        let role_made = iam.create_role().role_name(name).assume_role_policy_document(TRUST).send().await;
        let code = FunctionCode::builder().zip_file(Blob::new(zip_of(b"#!/bin/sh\nexit 1"))).build();
        let create = lambda.create_function().function_name(name).runtime(Runtime::Providedal2023).handler("bootstrap");
        let made = create.role(role).description("x".repeat(256)).code(code).send().await;
        let group = logs.create_log_group().log_group_name(name.repeat(8)).send().await;
        let table = new_table(dynamodb, name).deletion_protection_enabled(true).send().await;
        [
            ("role", outcome(role_made)),
            ("function", outcome(made)),
            ("log group", outcome(group)),
            ("table", outcome(table)),
        ]
    }

    /// Returns the kinds that exist; panics on an error other than "not found".
    async fn existing(&self) -> Vec<&'static str> {
        let OneOfEach { clients: Clients { dynamodb, logs, iam, lambda, .. }, name } = self;
        let absent = "ResourceNotFoundException";
        let role = found(iam.get_role().role_name(name).send().await, "NoSuchEntity").unwrap().is_some();
        let function = found(lambda.get_function().function_name(name).send().await, absent).unwrap().is_some();
        let groups = logs.describe_log_groups().log_group_name_prefix(name).send().await.unwrap();
        let table = found(dynamodb.describe_table().table_name(name).send().await, absent).unwrap().is_some();
        let there = [("role", role), ("function", function), ("log group", !groups.log_groups().is_empty())];
        there.into_iter().chain([("table", table)]).filter(|(_, there)| *there).map(|(what, _)| what).collect()
    }
}
