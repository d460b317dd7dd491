//! `graph`: prints the dependency graph of the stack.

use super::{describe, offline_page};
use crate::{
    commands::cli::{Global, Graph as Args},
    output::{
        exit::{Exit, Failure},
        graph, report,
    },
};

pub fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let (_, config) = describe(global)?;
    let page = offline_page(&config);
    report::answer(&graph::render(args.format, page.stack.name(), &page.stack.dependencies()));
    Ok(Exit::Done)
}
