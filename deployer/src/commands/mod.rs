//! One file per command, and what they share: reading the description, making the clients, laying out the page.

pub mod cli;
mod cost;
mod data;
mod doctor;
mod down;
mod export;
mod graph;
mod healthy;
mod held;
mod history;
mod https;
mod images;
mod init;
mod invoke;
mod lab;
#[cfg(feature = "local")]
mod local;
mod logs;
mod ls;
mod manual;
mod old_programs;
mod open;
mod outputs;
mod pause;
mod plan;
mod policy;
mod receipt;
mod rest;
mod rollback;
mod secret;
mod standing;
mod status;
mod turn;
mod up;
mod validate;
mod verify;
mod why;
pub mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    cloud::{
        aws::{Access, Aws},
        domains::Domain,
        health,
        lease::Lease,
        sign_in,
        site::{Network, Site},
        usual::Scale,
        why::{Verdict, denied_or_said},
    },
    commands::cli::{Cli, Command, Global},
    config::{Config, Exposed, Versions, did_you_mean},
    cost::difference::{self, Difference},
    engine::{self, AT_ONCE, Event, Fault, Outcome, Pace, Plan, Planned, Resource as _, Schedule, Span, Step, Task},
    kinds::{self, auto_scaling_group, certificate::Progress, load_balancer::LoadBalancer},
    machine::{
        pin::{Elsewhere, Home, Pin},
        signals,
    },
    output::{
        exit::{Exit, Failure},
        report::{self, Board},
    },
    package::{
        Building,
        programs::{Destination, Failed, Programs, Warning},
    },
    page::{Later, Page, lay_out, lay_out_until, usual_bake_minutes},
};

use standing::Standing;

/// Runs the command.
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
        .iter()
        .for_each(|warning| report::warning(warning));
    // From the start; the local AWS handles signals itself.
    if !matches!(cli.command, Command::Local(_)) {
        signals::watch();
    }
    match &cli.command {
        Command::Up(args) if args.json => report::events::turn_on("up"),
        Command::Down(args) if args.json => report::events::turn_on("down"),
        _ => (),
    }
    match cli.command {
        Command::Up(args) => up::run(global, &args).await,
        Command::Plan(args) => plan::run(global, &args).await,
        Command::Cost(args) => cost::run(global, &args),
        Command::Status(args) => status::run(global, &args).await,
        Command::Why(args) => why::run(global, &args).await,
        Command::History(args) => history::run(global, &args).await,
        Command::Rollback(args) => rollback::run(global, &args).await,
        Command::Pause(args) => pause::run(global, &args).await,
        Command::Resume(args) => up::resume(global, &args).await,
        Command::Logs(args) => logs::run(global, &args).await,
        Command::Invoke(args) => invoke::run(global, &args).await,
        Command::Open(args) => open::run(global, &args).await,
        Command::Verify(args) => verify::run(global, &args).await,
        Command::Down(args) => down::run(global, &args).await,
        Command::Secret(command) => secret::run(global, &command).await,
        Command::Outputs(args) => outputs::run(global, &args).await,
        Command::Export(command) => export::run(global, &command).await,
        Command::Ls(args) => ls::run(global, &args).await,
        Command::Policy(args) => policy::run(global, &args),
        Command::Schema => {
            report::answer(&crate::config::schema::schema());
            Ok(Exit::Done)
        }
        Command::Doctor => doctor::run(global).await,
        Command::Init(args) => init::run(global, &args),
        Command::Validate(args) => validate::run(global, &args),
        Command::Graph(args) => graph::run(global, &args),
        Command::Completions(args) => Ok(manual::completions(&args)),
        Command::Man(args) => manual::man(&args),
        #[cfg(feature = "local")]
        Command::Local(command) => local::run(global, &command).await,
        #[cfg(not(feature = "local"))]
        Command::Local(_) => Err(no_local_aws()),
    }
}

/// The environment variables that the deployer reads itself.
const VARIABLES: &[&str] = &[cli::PORT_VARIABLE];

/// Warns about variables that look like ours and are not: a misspelt one would have no effect.
fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let unknown = names.filter(|name| name.starts_with("DEPLOYER_") && !VARIABLES.contains(&name.as_str()));
    let warning = |name: String| match did_you_mean(&name, VARIABLES.iter().copied()) {
        Some(meant) => format!("{name} has no effect: did you mean {meant}?"),
        None => format!("{name} has no effect: the deployer reads {}", VARIABLES.join(", ")),
    };
    let mut warnings: Vec<String> = unknown.map(warning).collect();
    warnings.sort();
    warnings
}

/// A description that has been read, with the clients of its cloud.
struct Session {
    config: Config,
    file: PathBuf,
    aws: Aws,
    site: Site,
    pin: Pin,
    network: Option<Network>,
    destination: Destination,
    begun: Instant,
    lease_term: Duration,
    /// How long the command waits for healthy targets.
    wait: health::Wait,
    /// When the services end, in the notation of RFC 3339.
    ends: Option<String>,
    /// The versions of the values that AWS keeps.
    versions: Mutex<Versions>,
    standing: Mutex<Standing>,
    /// How fast the cloud is.
    scale: Scale,
    /// When the resources of the run begin and end.
    schedule: Mutex<Option<Schedule>>,
    /// The times of all walks so far.
    walked: Mutex<Span>,
    /// The causes found for services that are not healthy, by their paths in `stack.yaml`.
    verdicts: Mutex<BTreeMap<String, Verdict>>,
}

/// Whether a command starts the local AWS, or accepts that it is not running.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Start,
    Only,
}

/// How far a command depends on the network of the services and on their domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reliance {
    /// It creates in the network: zones, routes and addresses are checked.
    Checks,
    /// It uses what exists: a network that `stack.yaml` names is taken as written.
    Trusts,
    /// It also finds resources by their tags: what cannot be looked up is a warning.
    Spares,
}

impl Session {
    /// Reads `stack.yaml`, connects, and identifies the account.
    ///
    /// Errors: nothing was changed.
    async fn open(global: &Global, wake: Wake, reliance: Reliance) -> Result<Option<Session>, Failure> {
        let opened = unless_stopped(Session::connect(global, wake, reliance)).await;
        opened.map_err(|failure| failure.leaving(|| Standing::default().lines()))
    }

    /// The same for commands that need an existing stack.
    ///
    /// Errors: there is no local AWS whose stack it could be.
    async fn open_existing(global: &Global) -> Result<Session, Failure> {
        Session::open(global, Wake::Only, Reliance::Trusts).await?.ok_or_else(no_local_aws_here)
    }

    async fn connect(global: &Global, wake: Wake, reliance: Reliance) -> Result<Option<Session>, Failure> {
        let Some(mut session) = Session::sign_in(global, wake).await? else { return Ok(None) };
        session.network = session.discover(reliance).await.map_err(|fault| session.unfit(fault))?;
        session.introduce();
        Ok(Some(session))
    }

    /// Opens a session for a command that only uses what exists and does not lay out services: without looking for
    /// their network, which takes permissions of its own.
    async fn open_without_network(global: &Global) -> Result<Session, Failure> {
        let session = unless_stopped(Session::sign_in(global, Wake::Only)).await?.ok_or_else(no_local_aws_here)?;
        session.introduce();
        Ok(session)
    }

    /// Names the stack, the account and the credentials.
    fn introduce(&self) {
        let Session { config, site, aws, .. } = self;
        report::heading(config.name.as_str(), &site.account, &site.region, aws.endpoint.as_deref());
        if let Some(provider) = &aws.provider {
            report::say(format!("signed in as {} with {}", site.caller_arn, provider.source().name()));
        }
        lab::introduction(config).iter().for_each(report::say);
    }

    /// Reads `stack.yaml`, connects, and identifies the account. Does not look for the network.
    async fn sign_in(global: &Global, wake: Wake) -> Result<Option<Session>, Failure> {
        let begun = Instant::now();
        let (file, config) = describe(global)?;
        let Some(local) = local_access(global, folder(&file), config.region.as_str(), wake)? else { return Ok(None) };
        let destination = if global.local { Destination::Laptop } else { Destination::Aws };
        let aws = Aws::connect(&access(global, config.region.as_str(), local)).await?;
        let identified = sign_in::identify(&aws).await;
        let site = identified.map_err(|failure| failure.at(place(&config, &file, "name")))?;
        let config = in_account(config, &site)?;
        let pin = check_place(&config, &site, &pin_file(&file, destination), global.region.is_some())?;
        let lease_term = Duration::from_secs(global.lease.into());
        let scale = scale(global, folder(&file));
        let (network, wait, ends, versions, standing, schedule, walked, verdicts) = Default::default();
        Ok(Some(Session {
            config,
            file,
            aws,
            site,
            pin,
            network,
            destination,
            begun,
            lease_term,
            wait,
            ends,
            versions,
            standing,
            scale,
            schedule,
            walked,
            verdicts,
        }))
    }

    /// Finds the network and the domains of the services, if there are any.
    async fn discover(&self, reliance: Reliance) -> Result<Option<Network>, Fault> {
        if self.config.services.is_empty() {
            return Ok(None);
        }
        let types = instance_types(&self.config);
        let network = async {
            match (&self.config.network, reliance) {
                (Some(named), Reliance::Trusts | Reliance::Spares) => Ok(Network::written(named)),
                (named, _) => match Network::discover(&self.aws, &types, named.as_ref()).await {
                    Err(fault) if reliance == Reliance::Spares => Ok(unknown_network(&fault)),
                    network => network,
                },
            }
        };
        let (network, domains) = futures::try_join!(network, domains(&self.aws, &self.config, reliance))?;
        Ok(Some(Network { domains, ..network }))
    }

    /// The number of zones of a load balancer, for prices.
    fn zones(&self) -> usize {
        self.network.as_ref().map_or(crate::cost::ZONES, |network| network.subnets.len())
    }

    /// What a plan adds to the cost of a month.
    fn difference(&self, page: &Page, plan: &Plan) -> Difference {
        difference::of_plan(&self.config, page, plan, self.zones(), usual_bake_minutes(&self.site))
    }

    fn folder(&self) -> &Path {
        folder(&self.file)
    }

    /// Builds the programs of the chosen targets, or of all if there are none.
    async fn programs(&self, targets: &[String]) -> Result<Programs, Failure> {
        let wanted = |entry: &str| self.is_needed(entry, targets);
        warn_of_exposed(&self.config, &self.file);
        self.check_images(wanted).await?;
        held::refuse(self.find_held(wanted).await?)?;
        let mut build = report::Build::default();
        let show = |building: Building<'_>| build.show(building);
        let built = Programs::build(&self.config, self.folder(), self.destination, wanted, show);
        let built = unless_stopped(async { built.await.map_err(|failed| self.unbuilt(failed)) }).await?;
        for Warning { path, unfit } in &built.warnings {
            let place = place(&self.config, &self.file, path).unwrap_or_default();
            report::warning(&format!("{place}: this program runs here and would not start on AWS: {unfit}"));
        }
        Ok(built)
    }

    /// The error for a program, with the line that names it.
    fn unbuilt(&self, Failed { path, error }: Failed) -> Failure {
        let exit = if error.is_about_the_description() { Exit::Config } else { Exit::Failed };
        let place = path.and_then(|path| place(&self.config, &self.file, &path));
        Failure { hint: error.hint(), ..Failure::new(exit, error) }.at(place)
    }

    /// Whether a target needs this entry. Other entries keep their current program.
    fn is_needed(&self, entry: &str, targets: &[String]) -> bool {
        if targets.is_empty() {
            return true;
        }
        let page = self.page(&Programs::none());
        page.stack.select(targets).is_ok_and(|chosen| page.stack.sections(&chosen).contains(entry))
    }

    fn page(&self, programs: &Programs) -> Page {
        let Session { config, site, network, wait, .. } = self;
        lay_out_until(config, site, network.as_ref(), programs, *wait, self.later())
    }

    /// What is known of the stack besides its description.
    fn later(&self) -> Later {
        Later { ends: self.ends.clone(), versions: self.versions.lock().clone() }
    }

    /// The page, with all orphans of this stack.
    async fn page_with_orphans(&self, programs: &Programs) -> Result<Page, Failure> {
        let mut page = self.page(programs);
        let looked = kinds::doom_orphans(&mut page.stack, &self.aws).await;
        looked.map_err(|fault| self.failed("look for what this stack has", fault))?;
        Ok(page)
    }

    fn chosen(&self, page: &Page, targets: &[String]) -> Result<Option<BTreeSet<usize>>, Failure> {
        if targets.is_empty() {
            return Ok(None);
        }
        page.stack.select(targets).map(Some).map_err(|target| self.unknown(page, &target))
    }

    fn unknown(&self, page: &Page, target: &str) -> Failure {
        let sections = page.stack.all_sections();
        Failure::usage(format!("stack.yaml has nothing called {target:?}"))
            .hint(format!("there are: {}", sections.into_iter().collect::<Vec<_>>().join(", ")))
    }

    /// The plan for the chosen targets, with its page. Resources to adopt count as ours.
    async fn plan(&self, programs: &Programs, targets: &[String], adopt: &[String]) -> Result<(Page, Plan), Failure> {
        unless_stopped(self.look(programs, targets, adopt)).await
    }

    async fn look(&self, programs: &Programs, targets: &[String], adopt: &[String]) -> Result<(Page, Plan), Failure> {
        let mut page = match targets.is_empty() {
            true => self.page_with_orphans(programs).await?,
            false => self.page(programs),
        };
        if let Some(stranger) = adopt.iter().find(|name| !page.stack.adopt(name) && !page.stack.adopt(&singular(name)))
        {
            return Err(Failure::usage(format!("--adopt {stranger}: stack.yaml describes no such resource"))
                .hint("name it as the plan does, such as `bucket.images`"));
        }
        let chosen = self.chosen(&page, targets)?;
        let plan = page.stack.plan(&self.aws, chosen.as_ref()).await.map_err(|error| self.located(error))?;
        self.note(plan.span);
        self.see(&plan);
        self.check_addresses(&plan)?;
        Ok((page, plan))
    }

    /// Rejects a plan that would create a load balancer in a full subnet, before anything is created.
    fn check_addresses(&self, plan: &Plan) -> Result<(), Failure> {
        let is_new = |line: &Planned| line.address.kind == LoadBalancer::KIND && matches!(line.step, Step::Create);
        match &self.network {
            Some(network) if plan.lines.iter().any(is_new) => {
                network.check_addresses().map_err(|fault| self.unfit(fault))
            }
            _ => Ok(()),
        }
    }

    /// The error for a network in which the services cannot be.
    fn unfit(&self, fault: Fault) -> Failure {
        let path = if self.config.network.is_some() { "network" } else { "services" };
        let place = place(&self.config, &self.file, path);
        Failure::to("look for the network and the domains of the services", fault).at(place)
    }

    /// Rejects a plan that would have to replace something, before anything is changed.
    fn refuse_replacements(&self, plan: &Plan) -> Result<(), Failure> {
        let mut errors = plan.lines.iter().filter_map(Planned::must_replace).peekable();
        if errors.peek().is_none() {
            return Ok(());
        }
        errors.for_each(|error| report::failure(&self.located(error)));
        Err(Failure::new(Exit::Failed, anyhow!("nothing was changed")))
    }

    /// Reports what was not done, and returns the result of the command.
    fn conclude(&self, outcomes: Vec<Outcome>) -> Exit {
        let (postponed, outcomes): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::is_postponed);
        postponed.into_iter().filter_map(|outcome| outcome.result?.err()).for_each(report::say);
        if outcomes.iter().all(Outcome::is_done) {
            return Exit::Done;
        }
        let mut exit = Exit::Failed;
        for error in outcomes.into_iter().filter_map(|outcome| outcome.result?.err()) {
            let failure = self.located(error);
            match failure.exit {
                Exit::Interrupted => exit = Exit::Interrupted,
                Exit::Credentials if exit == Exit::Failed => exit = Exit::Credentials,
                _ => (),
            }
            if failure.exit != Exit::Interrupted {
                report::failure(&failure);
            }
        }
        let standing = self.standing();
        let lines = if exit == Exit::Interrupted { standing.brief() } else { standing.lines() };
        lines.iter().for_each(report::say);
        exit
    }

    /// The state of the stack, as far as it is known.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock()
    }

    /// Records the state of the stack from a plan.
    fn see(&self, plan: &Plan) {
        *self.standing() = Standing::of(plan);
    }

    /// A failure with the state of the stack.
    fn ended(&self, failure: Failure) -> Failure {
        let is_brief = matches!(failure.exit, Exit::Interrupted | Exit::Busy);
        failure.leaving(|| if is_brief { self.standing().brief() } else { self.standing().lines() })
    }

    /// Reports the stacks of this folder that a plan does not touch, when `stack.yaml` names a new stack.
    fn tell_left_behind(&self, plan: &Plan) {
        if !plan.is_first() {
            return;
        }
        let local = if self.destination == Destination::Laptop { " --local" } else { "" };
        for Home { stack, account, region } in self.pin.others(self.config.name.as_str()) {
            let name = &self.config.name;
            report::say(format!(
                "this is a new stack: {stack}, which this folder deployed to account {account}, region {region}, is not changed"
            ));
            report::hint(&format!(
                "to continue with it, set `name: {stack}` in stack.yaml; to remove it, do so and run `deployer \
                 down{local} --region {region}`, then set `name: {name}` again"
            ));
        }
    }

    /// Records where this stack is deployed. Failing to do so only disables a check.
    fn remember_home(&mut self) {
        let home = self.home();
        if let Err(error) = self.pin.remember(&home) {
            report::say(format!("cannot record where this stack is deployed: {error:#}"));
        }
    }

    /// Removes that record, because the stack is gone.
    fn forget_home(&mut self) {
        let home = self.home();
        if let Err(error) = self.pin.forget(&home) {
            report::say(format!("cannot remove the record of where this stack was deployed: {error:#}"));
        }
    }

    /// Where this stack is deployed.
    fn home(&self) -> Home {
        home(&self.config, &self.site)
    }

    /// An error with the line of stack.yaml that its resource comes from.
    fn located(&self, error: engine::Error) -> Failure {
        let what = error.what().clone();
        // The artifact bucket and orphans belong to the stack as a whole.
        let line = error.sources().into_iter().chain(["name"]).find_map(|path| self.place(path));
        let code = error.code().unwrap_or_default().to_owned();
        let failure = Failure::from(error);
        let failure = match (self.verdicts.lock().get(&what.section), code.as_str()) {
            (Some(verdict), health::NOT_HEALTHY) => {
                failure.hint(format!("{}, or raise --healthy-within", verdict.remedy))
            }
            (Some(verdict), auto_scaling_group::FAILED) => failure.hint(&verdict.remedy),
            _ => failure,
        };
        failure.at(line.map(|line| format!("{line} ({what})")))
    }

    /// The place of a value of `stack.yaml`, as `stack.yaml:LINE`; the place of its mapping if the value is left out.
    fn place(&self, path: &str) -> Option<String> {
        let written = std::iter::successors(Some(path), |path| path.rsplit_once('.').map(|(above, _)| above));
        written
            .filter(|path| path.contains('.') || *path == "name")
            .find_map(|path| place(&self.config, &self.file, path))
    }

    /// Remembers why a service is not healthy.
    fn remember_cause(&self, service: &str, verdict: Verdict) {
        self.verdicts.lock().insert(format!("services.{service}"), verdict);
    }

    /// The sentence that names a cause, with the line of `stack.yaml` that decides it.
    fn sentence(&self, section: &str, verdict: &Verdict) -> String {
        let (_, name) = section.split_once('.').unwrap_or(("", section));
        let path = if verdict.field.is_empty() { section.to_owned() } else { format!("{section}.{}", verdict.field) };
        match self.place(&path) {
            Some(place) => format!("{name}: {} ({place})", verdict.words),
            None => format!("{name}: {}", verdict.words),
        }
    }

    /// The sentences of all causes found so far.
    fn sentences(&self) -> Vec<String> {
        self.verdicts.lock().iter().map(|(section, verdict)| self.sentence(section, verdict)).collect()
    }

    /// A refused call that was made for the stack as a whole.
    fn failed(&self, verb: &str, fault: Fault) -> Failure {
        Failure::to(verb, fault).at(place(&self.config, &self.file, "name"))
    }

    /// Records the tasks of the run: those of the plan that is about to be carried out.
    fn follow(&self, tasks: Vec<Task>) -> Schedule {
        let mut schedule = self.schedule.lock();
        let next = match &*schedule {
            Some(before) => before.replanned(tasks),
            None => Schedule::new(tasks),
        };
        schedule.insert(next).clone()
    }

    /// With `-v`: when each resource was worked on.
    fn waterfall(&self, global: &Global) {
        if let Some(schedule) = self.schedule.lock().as_ref().filter(|_| global.verbose > 0) {
            report::waterfall(&schedule.timed());
        }
    }

    /// Adds the times of a walk.
    fn note(&self, span: Span) {
        *self.walked.lock() += span;
    }

    /// With `-v`: how long it took, and three lower bounds.
    fn timing(&self, global: &Global) {
        if global.verbose == 0 {
            return;
        }
        let (took, walked) = (report::worked_since(self.begun), *self.walked.lock());
        let besides = took.saturating_sub(walked.took);
        let rates = self.aws.rates.least();
        let [took, chain, share, rates] =
            [took, besides + walked.chain, besides + walked.share, rates].map(|time| time.as_secs_f64());
        report::say(format!(
            "{took:.2} s; the longest chain {chain:.2} s, all by {AT_ONCE} at once {share:.2} s, AWS's rates {rates:.2} s"
        ));
    }

    /// With `-v`: the number of calls, by operation.
    fn tally(&self, global: &Global) {
        tally(&self.aws, global);
    }
}

/// The domains of the services that have one, by service.
async fn domains(aws: &Aws, config: &Config, reliance: Reliance) -> Result<BTreeMap<String, Domain>, Fault> {
    let mut domains = BTreeMap::new();
    for (entry, service) in &config.services {
        if let Some(domain) = &service.domain {
            let (stack, has_own) = (config.name.as_str(), service.certificate.is_some());
            let found = match engine::look(|| Domain::discover(aws, stack, domain, has_own)).await {
                Err(fault) if reliance == Reliance::Spares => unseen_domain(domain, &fault),
                found => found?,
            };
            domains.insert(entry.to_string(), found);
        }
    }
    Ok(domains)
}

/// Warns that the network could not be looked up. Without it, security groups are found by their tags alone.
fn unknown_network(fault: &Fault) -> Network {
    report::warning(&format!(
        "the network of the services is unknown, so their security groups are found by tags: {}",
        denied_or_said(fault)
    ));
    Network::unknown()
}

/// Warns that a domain could not be looked up. Its records carry no tags by which they could be found.
fn unseen_domain(name: &str, fault: &Fault) -> Domain {
    report::warning(&format!("DNS records of {name}, if there are any, stay: {}", denied_or_said(fault)));
    Domain { zone: None, certificate: Progress::Absent, ..Domain::unknown(name) }
}

/// With `-v`: the number of calls, by operation.
fn tally(aws: &Aws, global: &Global) {
    if global.verbose == 0 {
        return;
    }
    let tally = aws.journal.tally();
    report::say(format!("{} calls, {} of them mutating", tally.calls, tally.mutating));
    for (operation, count) in aws.journal.by_operation() {
        report::say(format!("  {count:4} {operation}"));
    }
}

/// `buckets.images` as it is in plans: `bucket.images`.
fn singular(name: &str) -> String {
    match name.split_once("s.") {
        Some((kind, key)) if !kind.contains('.') => format!("{kind}.{key}"),
        _ => name.to_owned(),
    }
}

/// How fast the cloud of a command is.
fn scale(global: &Global, folder: &Path) -> Scale {
    #[cfg(feature = "local")]
    if global.local
        && let Some(speed) = crate::machine::laptop::Laptop::beside(folder).speed()
    {
        return Scale::Local(speed);
    }
    let _ = (global, folder);
    Scale::Aws
}

/// Handles signals and draws progress while `work` runs.
///
/// A lost lease stops the work like a signal.
async fn watched<F>(board: Board, lease: Option<&Lease>, work: impl FnOnce(Pace, Board) -> F) -> F::Output
where
    F: Future,
{
    let pace = Pace { stop: signals::watch().child_token(), ..Pace::default() };
    let stop = pace.stop.clone();
    let lost = async {
        match lease {
            Some(lease) => lease.lost().cancelled().await,
            None => std::future::pending().await,
        }
        stop.cancel();
        std::future::pending().await
    };
    let output = tokio::select! {
        output = work(pace, board.clone()) => output,
        never = lost => never,
    };
    board.close();
    output
}

/// `stack.yaml:LINE`, with the path relative to the working directory.
fn place(config: &Config, file: &Path, path: &str) -> Option<String> {
    let here = std::env::current_dir().ok();
    let file = here.and_then(|here| file.strip_prefix(here).ok()).unwrap_or(file);
    config.place_of(path).map(|place| format!("{}:{}", file.display(), place.line))
}

/// Reads or asks until the user interrupts. Reading can be abandoned anywhere.
async fn unless_stopped<T>(look: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let stop = signals::watch();
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(interrupted()),
        looked = look => looked,
    }
}

/// `--file` as a shell reads it.
fn file_option(file: Option<&Path>) -> String {
    file.map(|file| option("file", &file.display().to_string())).unwrap_or_default()
}

/// An option with its value as a shell reads it, after a space.
fn option(name: &str, value: &str) -> String {
    format!(" --{name} '{}'", value.replace('\'', "'\\''"))
}

/// The error for a command that needs a local AWS and does not start one.
fn no_local_aws_here() -> Failure {
    Failure::new(Exit::Failed, anyhow!("there is no local AWS here")).hint("run `deployer up --local` first")
}

/// The error for an interruption when nothing was in progress.
fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, anyhow!("interrupted"))
}

fn observer(board: &Board) -> impl Fn(Event) + Send + Sync + use<> {
    let board = board.clone();
    move |event: Event| board.show(event)
}

fn find(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(file) = &global.file {
        return std::path::absolute(file).map_err(Failure::from);
    }
    let here = std::env::current_dir()?;
    here.ancestors().map(|folder| folder.join("stack.yaml")).find(|file| file.is_file()).ok_or_else(|| {
        Failure::new(Exit::Config, anyhow!("there is no stack.yaml in {} or above", here.display()))
            .hint("go to your project's folder, or name the file with --file PATH")
    })
}

/// Finds and reads `stack.yaml`, with the region of the command line if there is one.
fn describe(global: &Global) -> Result<(PathBuf, Config), Failure> {
    let file = find(global)?;
    let config = read(&file)?;
    let Some(region) = &global.region else { return Ok((file, config)) };
    let config = config.in_region(region.parse().map_err(Failure::usage)?);
    Ok((file, config.map_err(|errors| Failure::new(Exit::Config, errors))?))
}

/// The description with the roles and the limits of its account.
///
/// Errors: what the account does not allow.
fn in_account(config: Config, site: &Site) -> Result<Config, Failure> {
    match site.is_lab() {
        true => config.in_lab().map_err(|errors| Failure::new(Exit::Config, errors)),
        false => Ok(config),
    }
}

/// Warns of variables that look like secrets, each with its line.
fn warn_of_exposed(config: &Config, file: &Path) {
    for Exposed { path, what, remedy } in config.exposed() {
        let name = path.rsplit('.').next().unwrap_or_default();
        let place = place(config, file, &path).unwrap_or_default();
        report::warning(&format!("{place}: {name} looks like {what}: {remedy}"));
    }
}

/// How many resources there are, in words.
fn resources(count: usize) -> String {
    format!("{count} resource{}", if count == 1 { "" } else { "s" })
}

/// The page as far as it is known without asking AWS: its resources and their inputs, but not their settings.
fn offline_page(config: &Config) -> Page {
    let site = Site::unknown(config.account.as_deref(), config.region.as_str());
    lay_out(config, &site, Some(&Network::unknown()), &Programs::none(), health::Wait::default())
}

fn read(file: &Path) -> Result<Config, Failure> {
    Config::read(file).map_err(|errors| Failure::new(Exit::Config, errors))
}

/// The folder of `stack.yaml`, or the working directory if there is none.
fn folder_or_here(global: &Global) -> Result<PathBuf, Failure> {
    match find(global) {
        Ok(file) => Ok(folder(&file).to_owned()),
        Err(_) if global.file.is_none() => Ok(std::env::current_dir()?),
        Err(failure) => Err(failure),
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

/// How to connect in this region.
fn access(global: &Global, region: &str, local: Option<crate::cloud::aws::Local>) -> Access {
    Access {
        region: region.into(),
        profile: global.profile.clone(),
        local,
        answer_within: Duration::from_secs(global.timeout.into()),
        paced: global.paced,
    }
}

fn instance_types(config: &Config) -> BTreeSet<String> {
    config.services.values().map(|service| service.instance_type.to_string()).collect()
}

fn home(config: &Config, site: &Site) -> Home {
    Home { stack: config.name.to_string(), account: site.account.clone(), region: site.region.clone() }
}

/// The local AWS's record is kept beside its state, and deleted with it.
fn pin_file(file: &Path, destination: Destination) -> PathBuf {
    let folder = folder(file).join(".deployer");
    match destination {
        Destination::Aws => folder.join("pin"),
        Destination::Laptop => folder.join("local").join("pin"),
    }
}

/// Rejects accounts other than the one that `stack.yaml` names, and places other than the one where the stack is known
/// to be.
fn check_place(config: &Config, site: &Site, file: &Path, region_is_meant: bool) -> Result<Pin, Failure> {
    check_account(config, site)?;
    let pin = Pin::read(file.to_owned()).map_err(|error| {
        Failure::new(Exit::Failed, error)
            .hint("remove the file if the account and region of these credentials are right")
    })?;
    let (name, file, here) = (&config.name, pin.file().display(), home(config, site));
    let refusal = match pin.contradicts(&here, region_is_meant) {
        None => None,
        Some(Elsewhere::Account(_)) if config.account.is_some() => None,
        Some(Elsewhere::Account(there)) => Some(
            Failure::usage(format!(
                "{name} lives in account {there} ({file}), but these credentials are of account {}",
                here.account
            ))
            .hint(format!("use the other account's profile, or say `account: \"{}\"` in stack.yaml", here.account)),
        ),
        Some(Elsewhere::Regions(there)) => Some(
            Failure::usage(format!(
                "{name} lives in {} ({file}), but stack.yaml says {}",
                there.join(", "),
                here.region
            ))
            .hint(format!(
                "stacks cannot move to another region: deploy a second stack there with `--region {}`, take over by \
                     hand what you need, then remove the first with `down --region {}`",
                here.region, there[0]
            )),
        ),
    };
    refusal.map_or(Ok(pin), Err)
}

fn check_account(config: &Config, site: &Site) -> Result<(), Failure> {
    match &config.account {
        Some(account) if *account != site.account => Err(Failure::usage(format!(
            "stack.yaml names account {account}, but these credentials are of account {}",
            site.account
        ))
        .hint("use the other account's profile, or change `account` in stack.yaml")),
        _ => Ok(()),
    }
}

/// The local AWS beside this folder to connect to; `None` when it is not running and need not be.
fn local_access(
    global: &Global,
    folder: &Path,
    region: &str,
    wake: Wake,
) -> Result<Option<Option<crate::cloud::aws::Local>>, Failure> {
    if !global.local {
        return Ok(Some(None));
    }
    #[cfg(not(feature = "local"))]
    {
        let _ = (folder, region, wake);
        Err(no_local_aws())
    }
    #[cfg(feature = "local")]
    {
        check_local_region(region)?;
        let laptop = crate::machine::laptop::Laptop::beside(folder);
        let port = local::port(None)?;
        let server = match (laptop.running(), wake) {
            (Some(server), _) => server,
            (None, Wake::Only) if !laptop.has_state() => return Ok(None),
            (None, _) => laptop.start(port, region, &::local::Conditions::default())?,
        };
        Ok(Some(Some(server.access())))
    }
}

/// Rejects regions that the local AWS does not have.
#[cfg(feature = "local")]
fn check_local_region(region: &str) -> Result<(), Failure> {
    match ::local::REGIONS.contains(&region) {
        true => Ok(()),
        false => {
            Err(Failure::usage(format!("the local AWS has no region {region}: it is of the commercial partition"))
                .hint("choose another one for it with --region us-east-1"))
        }
    }
}

#[cfg(not(feature = "local"))]
fn no_local_aws() -> Failure {
    Failure::usage("this build has no local AWS (cargo feature `local`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_with_our_prefix_is_named() {
        let warnings = |names: &[&str]| unknown_variables(names.iter().map(|name| (*name).to_owned()));
        assert_eq!(warnings(&["DEPLOYER_LOCAL_PORT", "PATH", "AWS_PROFILE"]), [""; 0]);
        let meant = "DEPLOYER_LOCAL_PROT has no effect: did you mean DEPLOYER_LOCAL_PORT?";
        let other = "DEPLOYER_STACK has no effect: the deployer reads DEPLOYER_LOCAL_PORT";
        assert_eq!(warnings(&["DEPLOYER_STACK", "DEPLOYER_LOCAL_PROT"]), [meant, other]);
    }
}
