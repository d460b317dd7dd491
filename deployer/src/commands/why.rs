//! `why`: explains why a service or function is not healthy, with the evidence and the remedy.

use futures::future::join_all;

use super::{Session, https, unless_stopped};
use crate::{
    cloud::why::{self, Evidence, Verdict},
    commands::cli::{Global, Why},
    output::{
        exit::{Exit, Failure},
        report,
    },
    package::programs::Programs,
};

/// The diagnosis of one service or function.
struct Diagnosis {
    name: String,
    /// Its path in `stack.yaml`.
    section: String,
    is_well: bool,
    verdict: Option<Verdict>,
    evidence: Vec<String>,
    /// The reason why it is off on purpose.
    downtime: Option<String>,
}

/// Exit code 1 if something is not healthy.
pub async fn run(global: &Global, args: &Why) -> Result<Exit, Failure> {
    let session = Session::open_existing(global).await?;
    let chosen = chosen(&session, &args.names)?;
    let chosen_services = chosen.clone();
    let diagnoses = unless_stopped(async { Ok(diagnose(&session, chosen).await) }).await?;
    session.tally(global);
    for diagnosis in &diagnoses {
        print(&session, diagnosis);
    }
    https::explain(&session, &chosen_services);
    Ok(if diagnoses.iter().all(|one| one.is_well) { Exit::Done } else { Exit::Failed })
}

/// The chosen services and functions, by their paths in `stack.yaml`.
pub(super) fn chosen(session: &Session, names: &[String]) -> Result<Vec<String>, Failure> {
    let services = session.config.services.keys().map(|name| format!("services.{name}"));
    let all: Vec<String> =
        services.chain(session.config.functions.keys().map(|name| format!("functions.{name}"))).collect();
    if names.is_empty() {
        return Ok(all);
    }
    let mut chosen = Vec::new();
    for name in names {
        let is_meant = |section: &&String| {
            let (kind, entry) = section.split_once('.').unwrap_or_default();
            *name == **section || name == entry || *name == format!("{}.{entry}", kind.trim_end_matches('s'))
        };
        let found: Vec<String> = all.iter().filter(is_meant).cloned().collect();
        if found.is_empty() {
            return Err(Failure::usage(format!("stack.yaml has no service or function {name:?}"))
                .hint(format!("available: {}", all.join(", "))));
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

async fn diagnose(session: &Session, chosen: Vec<String>) -> Vec<Diagnosis> {
    let page = session.page(&Programs::none());
    let section = |kind: &str, name: &str| Some(format!("{kind}.{name}")).filter(|it| chosen.contains(it));
    let services = page.services.iter().filter_map(|front| Some((section("services", &front.name)?, &front.names)));
    let services = services.map(|(section, names)| async move {
        let evidence = why::collect(&session.aws, names).await;
        let downtime = downtime(&evidence);
        let is_well = evidence.is_well() || downtime.is_some();
        // A healthy service may owe its health to a rollback.
        let needs_verdict = !is_well || downtime.is_none() && evidence.is_rolled_back();
        let verdict = if needs_verdict { why::verdict(&evidence) } else { None };
        let evidence = if is_well { evidence.unread.clone() } else { evidence.summary() };
        Diagnosis { name: names.service.clone(), section, is_well, verdict, evidence, downtime }
    });
    let functions = page.functions.iter().filter_map(|names| Some((section("functions", &names.entry)?, names)));
    let functions = functions.map(|(section, names)| async move {
        let evidence = why::collect_function(&session.aws, names).await;
        let verdict = why::function_verdict(&evidence);
        let evidence = evidence.summary(verdict.is_some());
        Diagnosis { name: names.entry.clone(), section, is_well: verdict.is_none(), verdict, evidence, downtime: None }
    });
    let (mut diagnoses, functions) = futures::join!(join_all(services), join_all(functions));
    diagnoses.extend(functions);
    diagnoses
}

/// The reason why a service is off on purpose, and the command that brings it back.
fn downtime(evidence: &Evidence) -> Option<String> {
    let downtime = &evidence.group.as_ref()?.as_ref()?.downtime;
    match (&downtime.paused, &downtime.ends) {
        (Some(since), _) if downtime.is_paused() => {
            Some(format!("paused since {since}: `deployer resume` brings it back"))
        }
        (_, Some(time)) if downtime.has_ended() => Some(format!("ended at {time}: `deployer up` brings it back")),
        _ => None,
    }
}

fn print(session: &Session, diagnosis: &Diagnosis) {
    let Diagnosis { name, section, is_well, verdict, evidence, downtime } = diagnosis;
    let first = match verdict {
        Some(verdict) => session.sentence(section, verdict),
        None if downtime.is_some() => format!("{name}: {}", downtime.as_deref().unwrap_or_default()),
        None if *is_well => format!("{name}: no problem found"),
        None => format!("{name}: not healthy, and AWS shows no reason"),
    };
    let remedy = verdict.iter().map(|verdict| format!("hint: {}", verdict.remedy));
    let evidence = evidence.iter().map(|line| format!("  {line}"));
    for line in std::iter::once(first).chain(evidence).chain(remedy) {
        report::line(&line);
    }
}
