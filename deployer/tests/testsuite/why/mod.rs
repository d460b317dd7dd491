//! Every way to break a deployment is explained in one sentence, with its remedy.

mod by_hand;
mod functions;
mod group;
mod launches;
mod releases;
mod services;
mod timing;

use crate::support::cloud::TestAws;

/// How much faster than AWS the local AWS is here in all its delays, so that times can be converted to those of AWS.
const SPEED: u32 = 20;

/// A local AWS at that speed.
async fn cloud() -> TestAws {
    TestAws::start_at(SPEED.to_string().parse().expect("a speed")).await
}

const BUCKET: &str = "s-artifacts-000000000000-us-east-1";
const GROUP: &str = "s-web-8080";
