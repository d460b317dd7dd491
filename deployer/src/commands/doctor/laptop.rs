//! The prerequisites of `--local`: a writable folder, and free ports.

use std::net::{Ipv4Addr, TcpListener};

use super::{CheckResult, Description};
use crate::{
    commands::{
        cli::{Global, PORT_VARIABLE},
        folder_or_here,
        local::port,
    },
    machine::{laptop::Laptop, platform::require_writable},
    output::exit::Failure,
};

pub fn check(global: &Global, description: Option<&Description>) -> Result<Vec<CheckResult>, Failure> {
    let folder = folder_or_here(global)?;
    let laptop = Laptop::beside(&folder);
    let mut results = Vec::new();
    if let Some(server) = laptop.running() {
        results.push(CheckResult::good("local AWS", format!("runs at {}", server.endpoint())));
        return Ok(results);
    }
    results.push(match require_writable(&folder) {
        Ok(()) => CheckResult::good("local state", format!("kept in {}", folder.join(".deployer").display())),
        Err(error) => CheckResult::bad("local state", format!("{} cannot be written to: {error}", folder.display()))
            .remedy("make the folder of stack.yaml writable"),
    });
    results.push(match port(None)? {
        Some(0) => CheckResult::good("local AWS", "uses a free port"),
        Some(port) if is_free(port) => CheckResult::good("local AWS", format!("port {port} is free")),
        Some(port) => CheckResult::bad("local AWS", format!("port {port} is taken ({PORT_VARIABLE})"))
            .remedy(format!("set {PORT_VARIABLE} to another port, or unset it to use a free one")),
        None => CheckResult::good("local AWS", preferred(laptop.preferred_port())),
    });
    if description.is_some_and(|(_, config)| !config.services.is_empty()) {
        results.push(CheckResult::good("load balancer", preferred(::local::compute::PREFERRED_PORT)));
    }
    Ok(results)
}

fn preferred(port: u16) -> String {
    let state = if is_free(port) { "is free" } else { "is taken: a free one is used instead" };
    format!("port {port} {state}")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
