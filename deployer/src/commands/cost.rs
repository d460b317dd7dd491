//! `cost`: what the stack costs a month, without credentials or network.

use super::describe;
use crate::{
    commands::cli::{Cost as Args, Global},
    cost::estimate,
    output::{
        exit::{Exit, Failure},
        report,
    },
};

pub fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let (_, config) = describe(global)?;
    let estimate = estimate(&config, None);
    match args.json {
        true => report::answer(&report::cost_json(&estimate)),
        false => report::cost(&estimate),
    }
    Ok(Exit::Done)
}
