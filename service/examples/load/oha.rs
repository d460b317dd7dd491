//! The load: oha, told what to fire and asked how it went.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How long, over how many connections, and at which rate if not as fast as it goes.
pub type Manner = &'static [&'static str];

pub const WARM_UP: Manner = &["-z", "1s", "-c", "16"];
pub const MEASURED: Manner = &["-z", "5s", "-c", "16"];
pub const CALM: Manner = &["-z", "3s", "-c", "4", "-q", "200"];

/// One request, fired again and again.
pub struct Target<'a> {
    pub url: String,
    pub method: &'a str,
    pub headers: &'a [&'a str],
    pub body: Option<&'a str>,
}

/// How it went.
pub struct Fired {
    pub answers: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Says early that oha is not there.
pub fn look() -> Result<()> {
    let found = Command::new("oha").arg("--version").stdout(Stdio::null()).status();
    ensure!(found.is_ok_and(|status| status.success()), "oha is not there: cargo install --locked oha@1.16.0");
    Ok(())
}

/// Fires, and fails if anything was answered with an error.
pub fn fire(target: &Target<'_>, manner: Manner) -> Result<Fired> {
    let mut oha = Command::new("oha");
    // What is under way when the time is over is waited for: it has cost as much as the rest.
    oha.args(manner).args(["--no-tui", "--output-format", "json", "--wait-ongoing-requests-after-deadline"]);
    oha.args(["--disable-compression", "-m", target.method]);
    oha.args(target.headers.iter().flat_map(|header| ["-H", header]));
    oha.args(target.body.iter().flat_map(|body| ["-d", body]));
    let output = oha.arg(&target.url).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "oha failed");
    let told: Value = serde_json::from_slice(&output.stdout).context("what oha prints is no JSON")?;
    let statuses = told["statusCodeDistribution"].as_object().context("oha tells no statuses")?;
    let errors = &told["errorDistribution"];
    let well = statuses.keys().all(|status| status.starts_with('2')) && errors.as_object().is_none_or(|e| e.is_empty());
    ensure!(well && !statuses.is_empty(), "{} {}: {statuses:?} {errors}", target.method, target.url);
    let percentile = |name| told["latencyPercentiles"][name].as_f64().context("oha tells no percentiles");
    Ok(Fired {
        answers: statuses.values().filter_map(Value::as_u64).sum(),
        p50_ms: percentile("p50")? * 1000.0,
        p99_ms: percentile("p99")? * 1000.0,
    })
}
