//! Rehearsals: what the fuzzers run of this crate.

use std::path::Path;
use std::sync::Arc;

use super::{Compute, balancer, cloud_init, commands, imds, systemd};

/// Processes user data as an instance does, and parses the units it starts without running their programs.
pub async fn rehearse(root: &Path, user_data: &str) {
    let tools = commands::NoTools;
    for unit in cloud_init::run(root, &tools, "i-0", user_data, |line| tracing::trace!("{line}")).await {
        let unit = cloud_init::unit_file(root, &unit).and_then(|text| systemd::Unit::parse(&text));
        let words = unit.and_then(|unit| Ok(unit.main.expanded(&unit.whole_environment(root)?)));
        tracing::trace!(?words);
    }
}

/// Processes the head of a request as a load balancer does, without forwarding it.
pub fn rehearse_balancer(head: http::request::Parts) -> http::StatusCode {
    balancer::rehearse(head)
}

/// Processes a request for an instance's metadata; the metadata service accepts this token.
pub async fn rehearse_metadata(
    compute: Arc<Compute>,
    token: &str,
    method: &http::Method,
    path: &str,
    headers: &http::HeaderMap,
) -> http::StatusCode {
    imds::rehearse(compute, token, method, path, headers).await
}
