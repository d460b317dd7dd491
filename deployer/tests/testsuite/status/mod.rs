//! `status` shows the state of a stack, and `ls` every stack of an account, with exactly the permissions that are
//! documented.

mod ls;
mod permissions;
mod state;
mod watch;

use serde_json::Value;
use testkit::small_programs::{echo_function, tiny_service};

use crate::support::{Project, RunOutput, cloud::TestAws};

const BUCKET: &str = "s-images-000000000000-us-east-1";

/// A stack with one of each kind.
fn stack() -> Project {
    Project::with(&format!(
        "name: s
region: us-east-1
tags: {{ owner: ada }}
buckets:
  images: {{ on_upload: {{ function: f }} }}
tables:
  posts: {{ partition_key: user }}
functions:
  f:
    binary: {}
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 2 }}
    health_check: /health
    bake: 3m
    load_balancer: {{ port: 80, allow: [\"0.0.0.0/0\"] }}
",
        echo_function().display(),
        tiny_service().display()
    ))
}

/// A stack with nothing but a table.
fn small(name: &str, region: &str) -> Project {
    Project::with(&format!("name: {name}\nregion: {region}\ntables:\n  posts: {{ partition_key: user }}\n"))
}

fn json_of(said: &RunOutput) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.all()))
}

/// Runs `status --json`, and checks that its exit code agrees with it.
async fn status(cloud: &TestAws, project: &Project) -> Value {
    let said = cloud.run(project, &["status", "--json"]).await;
    let status = json_of(&said);
    assert_eq!(status["healthy"], said.code == 0, "{}", said.all());
    status
}
