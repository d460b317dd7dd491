//! `export`: writes the stack as a configuration of another tool.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};

use super::{Session, paused, stored_values, unless_stopped};
use crate::{
    cloud::status,
    commands::cli::{ExportCommand, ExportTerraform, Global},
    engine::{Address, Fault, Plan},
    export::terraform::{ALL, FILES, Sheet, VERSIONS, Written, is_marked, is_of_export, written},
    kinds,
    machine::{files::read_text_file, pin::Home, platform},
    output::{
        counted::counted,
        exit::{Exit, Failure},
        report,
    },
    package::programs::Programs,
    page,
};

/// Exit code 64 if the folder is not empty: nothing is overwritten unasked, and nothing that no export wrote.
pub async fn run(global: &Global, command: &ExportCommand) -> Result<Exit, Failure> {
    let ExportCommand::Terraform(args) = command;
    check(args)?;
    let session = Session::open_existing(global).await?;
    let sheet = unless_stopped(read(&session)).await?;
    let (count, left_out) = (sheet.resources(), sheet.left_out().to_vec());
    let site = &session.site;
    let home =
        Home { stack: session.config.name.to_string(), account: site.account.clone(), region: site.region.clone() };
    write(args, &written(sheet, &home)).map_err(|error| {
        Failure::new(Exit::Failed, error).hint("name a folder that can be written to, with --overwrite if it has files")
    })?;
    session.tally(global);
    report::say(format!("wrote {}: {} with their import blocks", args.dir.display(), counted(count, "resource")));
    left_out.iter().for_each(|what| report::say(format!("left out: {what}")));
    report::hint(&format!("next, in {}: `terraform init`, then `terraform plan`", args.dir.display()));
    Ok(Exit::Done)
}

/// The largest file that can be marked.
const LARGEST_MARKED: u64 = 64 * 1024;
/// The most files in the way that are named.
const NAMED: usize = 5;

/// Errors: the path is not a folder, or the folder has files that must not be replaced.
fn check(args: &ExportTerraform) -> Result<(), Failure> {
    let shown = args.dir.display();
    let mut names = match names(&args.dir) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(Failure::usage(format!("{shown} is not a folder")).hint("name a new or an empty folder"));
        }
        Err(error) => {
            let error = anyhow::Error::new(error).context(format!("cannot read {shown}"));
            return Err(Failure::new(Exit::Failed, error).hint("name a folder that can be read"));
        }
    };
    if names.is_empty() {
        return Ok(());
    }
    if !args.overwrite {
        return Err(Failure::usage(format!("{shown} is not empty"))
            .hint("name another folder, or replace the files of an earlier export with --overwrite"));
    }
    if read_text_file(&args.dir.join(VERSIONS), LARGEST_MARKED).is_ok_and(|text| is_marked(&text)) {
        return Ok(());
    }
    // First those that would be replaced.
    names.sort_by_cached_key(|name| (!ALL.contains(&name.as_str()) && name != FILES, name.clone()));
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Err(Failure::usage(format!("{shown} is not the folder of an earlier export: it has {}", names.join(", ")))
        .hint("name a new or an empty folder: --overwrite replaces the files of an earlier export only"))
}

/// The names in a folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Reads the stack.
///
/// Errors: it is not as `stack.yaml` describes it, so that another tool would take over something unfinished.
async fn read(session: &Session) -> Result<Sheet, Failure> {
    let failed = |fault| session.failed("read the stack", fault);
    stored_values::refuse(session.find_stored_values(|_| true).await?)?;
    let programs = deployed(session).await.map_err(failed)?;
    let mut page = session.page(&programs);
    kinds::doom_orphans(&mut page.stack, &session.aws).await.map_err(failed)?;
    let plan = page.stack.plan(&session.aws, Some(&page.stack.all())).await.map_err(|error| session.located(error))?;
    session.note(plan.span);
    if let Some(since) = paused::paused_since(&page, &plan) {
        return Err(paused::refuse_paused(&since, session.local_option()));
    }
    refuse_unfinished(&plan, &page.stack.orphans(), session.local_option())?;
    let mut sheet = Sheet::default();
    for line in &plan.lines {
        let written = kinds::write(line, &session.aws, &mut sheet).await;
        written.map_err(|fault| session.failed(&format!("read {}", line.address), fault))?;
    }
    kinds::write_stored_values(page.stack.name(), &session.aws, &mut sheet).await.map_err(failed)?;
    Ok(sheet)
}

/// The programs that functions and services have now: they are exported, whatever would be built here.
async fn deployed(session: &Session) -> Result<Programs, Fault> {
    let names = page::resource_names(&session.config, &session.site);
    let (functions, services) = (names.functions.iter().collect::<Vec<_>>(), names.services.iter().collect::<Vec<_>>());
    let deployed = status::deployed(&session.aws, &functions, &services).await?;
    let mut programs = Programs::none();
    deployed.functions.into_iter().for_each(|(entry, sha256)| programs.keep_function(&entry, sha256));
    deployed.services.into_iter().for_each(|(entry, sha256)| programs.keep_service(&entry, sha256));
    Ok(programs)
}

/// Errors: something differs from `stack.yaml`, or is no longer described.
fn refuse_unfinished(plan: &Plan, superfluous: &[&Address], local: &str) -> Result<(), Failure> {
    if plan.is_first() {
        return Err(Failure::new(Exit::Failed, anyhow!("the stack does not exist"))
            .hint(format!("run `deployer up{local}` first")));
    }
    let different = plan.lines.iter().filter(|line| line.step.is_work()).map(|line| &line.address);
    let different: Vec<String> = different.chain(superfluous.iter().copied()).map(ToString::to_string).collect();
    match different.is_empty() {
        true => Ok(()),
        false => {
            Err(Failure::new(Exit::Failed, anyhow!("the stack differs from stack.yaml in {}", different.join(", ")))
                .hint(format!("`deployer plan{local}` shows how; run `deployer up{local}` first")))
        }
    }
}

/// Writes all files, in their order. Those of an earlier export that are not written any more are removed: Terraform would
/// read them, and old user data may hold secrets.
fn write(args: &ExportTerraform, files: &[Written]) -> anyhow::Result<()> {
    let cannot = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
    let all = args.dir.join(FILES);
    fs::create_dir_all(&all).with_context(|| cannot("make", &all))?;
    let beside = names(&all).with_context(|| cannot("read", &all))?;
    let beside = beside
        .iter()
        .filter(|name| is_of_export(name) && !all.join(name).is_dir())
        .map(|name| Path::new(FILES).join(name));
    let earlier = ALL.iter().map(PathBuf::from).chain(beside);
    for stale in earlier.filter(|path| files.iter().all(|file| file.path != *path)) {
        let path = args.dir.join(stale);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| cannot("remove", &path));
            }
            _ => (),
        }
    }
    for file in files {
        let path = args.dir.join(&file.path);
        // One of an earlier export may be readable for others.
        let _ = fs::remove_file(&path);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if file.is_secret {
            platform::for_us_alone(&mut options);
        }
        let written = options.open(&path).and_then(|mut open| open.write_all(&file.contents));
        written.with_context(|| cannot("write", &path))?;
    }
    Ok(())
}
