//! `validate`: checks `stack.yaml` without credentials, network or build.

use std::path::Path;

use serde_json::{Value, json};

use super::{describe, offline_page, warn_of_exposed};
use crate::{
    commands::cli::{Global, Validate as Args},
    config::{Config, Errors, Problem},
    output::{
        counted::counted,
        exit::{Exit, Failure},
        report,
    },
};

/// Exit code 78 with the errors of `up` if there are any.
pub fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match describe(global) {
        Ok((file, config)) if args.json => print(true, &shown(&file), Some(count(&config)), Vec::new()),
        Ok((file, config)) => {
            warn_of_exposed(&config, &file);
            report::line(&format!("{}: {}, no problems", shown(&file), counted(count(&config), "resource")));
        }
        Err(failure) if args.json && failure.exit == Exit::Config => {
            let (file, problems) = problems(&failure);
            print(false, &file, None, problems);
            return Ok(failure.exit);
        }
        Err(failure) => return Err(failure),
    }
    Ok(Exit::Done)
}

fn count(config: &Config) -> usize {
    offline_page(config).stack.dependencies().len()
}

/// Relative to the working directory, if it is below it.
fn shown(file: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    file.strip_prefix(&here).unwrap_or(file).display().to_string()
}

fn print(is_valid: bool, file: &str, resources: Option<usize>, problems: Vec<Value>) {
    let result = json!({ "file": file, "valid": is_valid, "resources": resources, "problems": problems });
    report::answer(&format!("{result:#}\n"));
}

/// The file that a failure is about, and its problems. Line 0 stands for the file as a whole.
fn problems(failure: &Failure) -> (String, Vec<Value>) {
    match failure.error.downcast_ref::<Errors>() {
        Some(errors) => (errors.file.clone(), errors.problems.iter().map(problem).collect()),
        None => {
            let (message, help) = (failure.error.to_string(), failure.hint.clone());
            ("stack.yaml".into(), vec![problem(&Problem { place: Default::default(), message, help })])
        }
    }
}

fn problem(problem: &Problem) -> Value {
    json!({
        "line": problem.place.line, "column": problem.place.column, "message": problem.message, "help": problem.help,
    })
}
