//! `history`: lists the releases of services and functions.

use std::collections::BTreeSet;

use futures::future::{try_join, try_join_all};
use serde_json::{Map, Value as Json, json};

use super::{Session, unless_stopped, why};
use crate::{
    cloud::why::FunctionNames,
    commands::cli::{Global, History},
    engine::{Address, Error, Fault, Resource as _, look},
    kinds::{function::Function, launch_template::LaunchTemplate},
    output::{
        exit::{Exit, Failure},
        report::{self, ReleaseMark, ReleaseRow},
        utc::timestamp,
    },
    package::programs::Programs,
    page::Front,
    releases::{
        Release, Releases, State, changes,
        functions::{FunctionRelease, FunctionReleases},
    },
};

/// The most releases listed for people, newest first.
const SHOWN: usize = 20;

/// The history of a service or function.
struct Listing {
    /// Its path in `stack.yaml`.
    section: String,
    releases: Vec<Entry>,
}

/// A release, for people and as JSON.
struct Entry {
    row: ReleaseRow,
    json: Json,
}

pub async fn run(global: &Global, args: &History) -> Result<Exit, Failure> {
    let session = Session::open_existing(global).await?;
    let chosen = why::chosen(&session, &args.names)?;
    let listings = unless_stopped(read(&session, &chosen)).await?;
    session.tally(global);
    match args.json {
        true => report::answer(&document(&listings)),
        false => listings.iter().for_each(show),
    }
    Ok(Exit::Done)
}

async fn read(session: &Session, chosen: &[String]) -> Result<Vec<Listing>, Failure> {
    let page = session.page(&Programs::none());
    let section = |kind: &str, name: &str| Some(format!("{kind}.{name}")).filter(|it| chosen.contains(it));
    let services = page.services.iter().filter_map(|front| Some((section("services", &front.name)?, front)));
    let services = services.map(|(section, front)| async move {
        let releases = of_service(session, front).await?;
        Ok(Listing { section, releases })
    });
    let functions = page.functions.iter().filter_map(|names| Some((section("functions", &names.entry)?, names)));
    let functions = functions.map(|(section, names)| async move {
        let read = look(|| of_function(session, names)).await;
        let releases = read.map_err(|fault| refused(session, &section, fault))?;
        Ok::<_, Failure>(Listing { section, releases })
    });
    let (mut listings, functions) = try_join(try_join_all(services), try_join_all(functions)).await?;
    listings.extend(functions);
    Ok(listings)
}

async fn of_service(session: &Session, front: &Front) -> Result<Vec<Entry>, Failure> {
    let Some(releases) = session.releases(front).await? else { return Ok(Vec::new()) };
    let keys = look(|| front.programs.keys(&session.aws)).await;
    let keys = keys.map_err(|fault| refused(session, &format!("services.{}", front.name), fault))?;
    Ok(releases.all.iter().map(|release| entry(&releases, release, &keys)).collect())
}

impl Session {
    /// Reads the releases of a service; `None` if it has never been deployed.
    ///
    /// Errors: a refused call, or a launch template of another owner.
    pub(super) async fn releases(&self, front: &Front) -> Result<Option<Releases>, Failure> {
        let template = LaunchTemplate::named(&front.template);
        let section = format!("services.{}", front.name);
        let releases = look(|| Releases::read(&self.aws, &template, &front.names.group)).await;
        let releases = releases.map_err(|fault| refused(self, &section, fault))?;
        let stack = self.config.name.as_str();
        match releases.as_ref().and_then(|releases| Some((releases.owner.foreign_to(stack)?, &releases.owner))) {
            Some((owner, tags)) => {
                let what = Address { kind: LaunchTemplate::KIND, key: front.name.clone(), section };
                let (name, is_free) = (template.name.clone(), tags.is_unowned());
                Err(self.located(Error::Foreign { what, name, owner, is_free }))
            }
            None => Ok(releases),
        }
    }
}

fn refused(session: &Session, section: &str, fault: Fault) -> Failure {
    let name = section.split_once('.').map_or(section, |(_, name)| name);
    Failure::to(&format!("read the releases of {name}"), fault).at(session.place(section))
}

fn entry(releases: &Releases, release: &Release, keys: &BTreeSet<String>) -> Entry {
    let program = release.program();
    let is_kept = program.is_some_and(|program| keys.contains(program.key));
    let (state, before) = (releases.state(release.number), releases.before(release.number));
    let changed = before.map(|before| changes::changes(before, release));
    let phrase = changed.as_deref().map_or("first release".to_owned(), changes::phrase);
    let mark = match state {
        Some(State::InService) => Some(ReleaseMark::InService),
        Some(State::RollingOut) => Some(ReleaseMark::RollingOut),
        Some(State::RollingBack) => Some(ReleaseMark::RollingBack),
        None => (!is_kept).then_some(ReleaseMark::Gone),
    };
    let (who, commit) = (&release.origin.who, &release.origin.commit);
    let row = ReleaseRow {
        number: release.number.to_string(),
        when: report::minute(release.made_s),
        who: who.clone().unwrap_or_else(|| UNKNOWN.into()),
        commit: commit.as_ref().map_or(UNKNOWN.into(), |commit| commit.short()),
        program: program.map_or(UNKNOWN.into(), |program| changes::short(program.sha256)),
        changed: phrase.clone(),
        mark,
    };
    let json = json!({
        "release": release.number,
        "made": timestamp(release.made_s),
        "who": who,
        "commit": commit.as_ref().map(|commit| json!({ "hash": commit.hash, "dirty": commit.is_dirty })),
        "program": program.map(|it| json!({ "sha256": it.sha256, "key": it.key, "kept": is_kept })),
        "changed": phrase,
        "fields": changed.iter().flatten().map(|change| change.path.as_str()).collect::<Vec<_>>(),
        "state": state.map(State::name),
    });
    Entry { row, json }
}

/// The placeholder for an unknown value.
const UNKNOWN: &str = "-";

/// The published versions of a function, or its present code if it has none.
async fn of_function(session: &Session, names: &FunctionNames) -> Result<Vec<Entry>, Fault> {
    let Some(releases) = FunctionReleases::read(&session.aws, &Function::named(&names.name)).await? else {
        return Ok(Vec::new());
    };
    let listed: Vec<Entry> = releases.all.iter().map(|release| entry_of_function(&releases, release)).collect();
    Ok(if listed.is_empty() { vec![unpublished(&releases)] } else { listed })
}

fn entry_of_function(releases: &FunctionReleases, release: &FunctionRelease) -> Entry {
    let state = (releases.in_service == Some(release.number)).then_some(State::InService);
    let before = releases.before(release.number);
    let changed = before.map(|before| changes::of_functions(&before.settings, &release.settings));
    let phrase = changed.as_deref().map_or("first release".to_owned(), changes::phrase);
    let sha256 = changes::hex(&release.settings.code_sha256);
    let (who, commit) = (&release.origin.who, &release.origin.commit);
    let row = ReleaseRow {
        number: release.number.to_string(),
        when: minute(&release.made),
        who: who.clone().unwrap_or_else(|| UNKNOWN.into()),
        commit: commit.as_ref().map_or(UNKNOWN.into(), |commit| commit.short()),
        program: changes::short(&sha256),
        changed: phrase.clone(),
        mark: state.map(|_| ReleaseMark::InService),
    };
    let json = json!({
        "release": release.number,
        "made": release.made,
        "who": who,
        "commit": commit.as_ref().map(|commit| json!({ "hash": commit.hash, "dirty": commit.is_dirty })),
        "program": { "sha256": sha256, "kept": true },
        "changed": phrase,
        "fields": changed.iter().flatten().map(|change| change.path.as_str()).collect::<Vec<_>>(),
        "state": state.map(State::name),
    });
    Entry { row, json }
}

/// A function that an earlier deployer made, and that has no version yet.
fn unpublished(releases: &FunctionReleases) -> Entry {
    let sha256 = changes::hex(&releases.present.code_sha256);
    let row = ReleaseRow {
        number: UNKNOWN.into(),
        when: UNKNOWN.into(),
        who: UNKNOWN.into(),
        commit: UNKNOWN.into(),
        program: changes::short(&sha256),
        changed: "not published yet: run `up`".into(),
        mark: Some(ReleaseMark::InService),
    };
    let json = json!({
        "release": Json::Null,
        "made": Json::Null,
        "who": Json::Null,
        "commit": Json::Null,
        "program": { "sha256": sha256 },
        "changed": Json::Null,
        "fields": [],
        "state": State::InService.name(),
    });
    Entry { row, json }
}

/// A time as Lambda writes it, `2026-01-31T12:34:56.789+0000`, to the minute.
pub(super) fn minute(made: &str) -> String {
    made.get(..16).unwrap_or_default().replace('T', " ")
}

fn show(listing: &Listing) {
    let name = listing.section.split_once('.').map_or(&*listing.section, |(_, name)| name);
    if listing.releases.is_empty() {
        report::line(&format!("{name}: not deployed"));
        return;
    }
    let rows: Vec<ReleaseRow> = listing.releases.iter().take(SHOWN).map(|entry| entry.row.clone()).collect();
    report::releases(name, &rows);
    if let more @ 1.. = listing.releases.len() - rows.len() {
        report::line(&format!("  and {more} older (--json lists all)"));
    }
}

/// All listings as one JSON document, by section and name.
fn document(listings: &[Listing]) -> String {
    let mut sections = Map::new();
    for Listing { section, releases } in listings {
        let (section, name) = section.split_once('.').unwrap_or(("", section));
        let releases: Vec<&Json> = releases.iter().map(|entry| &entry.json).collect();
        sections.entry(section).or_insert_with(|| json!({}))[name] = json!(releases);
    }
    format!("{:#}\n", Json::Object(sections))
}
