//! `outputs`: prints the stack's outputs, or writes them to a `.env` file.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Session, https};
use crate::{
    commands::cli::{Global, Outputs as Args},
    engine::{Inputs, Outputs},
    output::{
        env_file::{self, Format},
        exit::{Exit, Failure},
        report,
    },
    package::programs::Programs,
    page::Page,
};

pub async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let session = Session::open_existing(global).await?;
    let page = session.page(&Programs::none());
    let asked = page.needed_by_outputs();
    let plan = page.stack.plan(&session.aws, Some(&asked)).await?;
    let values = values(&page, plan.outputs());
    https::say_pending(&page, plan.outputs(), |_| true);
    for front in page.services.iter().filter(|front| front.is_internal) {
        report::say(format!("{}: its address is reachable from its VPC only", front.name));
    }
    session.tally(global);
    match (&args.name, &args.write) {
        (Some(name), _) => {
            let value = values.get(name).ok_or_else(|| unknown(&page, name))?;
            report::answer(&format!("{value}\n"));
        }
        (None, Some(path)) => {
            let changed = env_file::write(path, &values).map_err(|error| Failure::new(Exit::Failed, error))?;
            let what = if changed { "updated" } else { "already up to date" };
            report::say(format!("{} {what}", path.display()));
        }
        (None, None) => {
            if page.outputs.is_empty() {
                let local = session.local_option();
                report::say(format!(
                    "stack.yaml has no `outputs`; `deployer status{local}` shows the addresses of services"
                ));
            }
            report::answer(&env_file::render(args.format, &values));
        }
    }
    Ok(Exit::Done)
}

/// Prints the outputs as the answer of `up`.
pub fn show(page: &Page, outputs: &Outputs) {
    let values = values(page, outputs);
    report::events::outputs(|| json!(values));
    if !report::events::are_on() {
        report::answer(&env_file::render(Format::Env, &values));
    }
}

/// The outputs whose resources exist.
fn values(page: &Page, outputs: &Outputs) -> BTreeMap<String, String> {
    page.outputs.iter().filter_map(|(name, text)| Some((name.clone(), text.get(outputs)?))).collect()
}

fn unknown(page: &Page, name: &str) -> Failure {
    let known: Vec<&str> = page.outputs.iter().map(|(name, _)| name.as_str()).collect();
    if known.contains(&name) {
        return Failure::new(Exit::Failed, anyhow::anyhow!("output {name} is not there yet")).hint("run `up` first");
    }
    let hint = match known.is_empty() {
        true => "add it to stack.yaml, such as `outputs: { URL: \"${services.web.url}\" }`".to_owned(),
        false => format!("choose from: {}", known.join(", ")),
    };
    Failure::usage(format!("stack.yaml has no output {name:?}")).hint(hint)
}
