//! The layout of a session's stack: its programs, its page and its plan.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;

use super::{Session, place, stored_values, unless_stopped, warn_of_exposed};
use crate::{
    cloud::{
        health,
        site::{Network, Site},
    },
    config::{Balancer, Config},
    cost::difference::{self, Difference},
    engine::{self, Owner, Plan, Planned, Resource as _, Step},
    kinds::{
        self, auto_scaling_group::AutoScalingGroup, elastic_address::ElasticAddress, load_balancer::LoadBalancer,
        rule::foreign, target_group::TargetGroup, vpc::Vpc,
    },
    output::{
        exit::{Exit, Failure},
        report,
    },
    package::{
        Building,
        programs::{Programs, Warning},
    },
    page::{Front, Later, Page, lay_out, lay_out_until, names::StackNames, usual_bake_minutes},
};

impl Session {
    /// Builds the programs of the chosen targets, or of all if there are none.
    pub(super) async fn programs(&self, targets: &[String]) -> Result<Programs, Failure> {
        let wanted = |entry: &str| self.is_needed(entry, targets);
        warn_of_exposed(&self.config, &self.file);
        self.warn_of_keys();
        self.check_web_acls()?;
        self.check_images(wanted).await?;
        stored_values::refuse(self.find_stored_values(wanted).await?)?;
        let mut build = report::Build::default();
        let show = |building: Building<'_>| build.show(building);
        let built = Programs::build(&self.config, &self.file, self.destination, wanted, show);
        let built = unless_stopped(async { built.await.map_err(|failed| self.unbuilt(failed)) }).await?;
        for Warning { path, unfit } in &built.warnings {
            let place = place(&self.config, &self.file, path).unwrap_or_default();
            report::warning(&format!("{place}: this program runs here and would not start on AWS: {unfit}"));
        }
        Ok(built)
    }

    /// The local AWS cannot know which keys exist.
    fn warn_of_keys(&self) {
        let keys = self.config.keys();
        if let Some((path, _)) = keys.first().filter(|_| self.site.account == kinds::bucket::LOCAL_ACCOUNT) {
            let place = place(&self.config, &self.file, path).unwrap_or_default();
            report::warning(&format!("{place}: there is no KMS here, so every key counts as existing"));
        }
    }

    /// Whether a target needs this entry. Other entries keep their current program.
    pub(super) fn is_needed(&self, entry: &str, targets: &[String]) -> bool {
        if targets.is_empty() {
            return true;
        }
        let page = self.page(&Programs::none());
        page.stack.select(targets).is_ok_and(|chosen| page.stack.sections(&chosen).contains(entry))
    }

    pub(super) fn page(&self, programs: &Programs) -> Page {
        self.page_in(self.network.as_ref(), programs)
    }

    fn page_in(&self, network: Option<&Network>, programs: &Programs) -> Page {
        lay_out_until(&self.config, &self.site, network, programs, self.wait, self.later())
    }

    /// Facts about the stack that are not in its description.
    pub(super) fn later(&self) -> Later {
        Later { ends: self.ends.clone(), versions: self.versions.lock().clone() }
    }

    /// The page, with all orphans of this stack.
    pub(super) async fn page_with_orphans(&self, programs: &Programs) -> Result<Page, Failure> {
        let network = self.network_now().await?;
        let mut page = self.page_in(network.as_ref(), programs);
        let looked = kinds::doom_orphans(&mut page.stack, &self.aws).await;
        looked.map_err(|fault| self.failed("look for what this stack has", fault))?;
        Ok(page)
    }

    pub(super) fn chosen(&self, page: &Page, targets: &[String]) -> Result<Option<BTreeSet<usize>>, Failure> {
        if targets.is_empty() {
            return Ok(None);
        }
        page.stack.select(targets).map(Some).map_err(|target| self.unknown(page, &target))
    }

    pub(super) fn unknown(&self, page: &Page, target: &str) -> Failure {
        let sections = page.stack.all_sections();
        Failure::usage(format!("stack.yaml has no entry {target:?}"))
            .hint(format!("choose from: {}", sections.into_iter().collect::<Vec<_>>().join(", ")))
    }

    /// The plan for the chosen targets, with its page. Resources to adopt count as ours.
    pub(super) async fn plan(
        &self,
        programs: &Programs,
        targets: &[String],
        adopt: &[String],
    ) -> Result<(Page, Plan), Failure> {
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
        self.refuse_move(&plan)?;
        self.check_rules(&page, &plan, adopt).await?;
        Ok((page, plan))
    }

    /// The plan for everything that `stack.yaml` describes, with the owner of each resource, and its page. Does not search
    /// for orphans, since nothing is removed.
    pub(super) async fn list_owners(&self, programs: &Programs) -> Result<(Page, Plan), Failure> {
        unless_stopped(self.read_owners(programs)).await
    }

    async fn read_owners(&self, programs: &Programs) -> Result<(Page, Plan), Failure> {
        let network = self.network_now().await?;
        let mut page = self.page_in(network.as_ref(), programs);
        page.stack.list_owners();
        let plan = page.stack.plan(&self.aws, None).await.map_err(|error| self.located(error))?;
        self.note(plan.span);
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

    /// Rejects a plan with a rule whose priority a rule of another owner has, before anything is changed. A rule that is
    /// adopted counts as ours.
    async fn check_rules(&self, page: &Page, plan: &Plan, adopt: &[String]) -> Result<(), Failure> {
        let mut known: BTreeMap<String, BTreeMap<i32, Owner>> = BTreeMap::new();
        for rule in &page.rules {
            let Some(listener) = plan.outputs().get(rule.listener) else { continue };
            if !known.contains_key(&listener.arn) {
                let foreign = engine::look(|| foreign(&self.aws, &listener.arn, page.stack.name())).await;
                let foreign = foreign.map_err(|fault| self.failed("read the rules of a listener", fault))?;
                known.insert(listener.arn.clone(), foreign);
            }
            let Some(owner) = known[&listener.arn].get(&rule.priority) else { continue };
            let (what, is_free) = (rule.address.clone(), owner.is_unowned());
            let is_adopted = adopt.iter().any(|name| [name.clone(), singular(name)].contains(&what.to_string()));
            if let Some(owner) = owner.foreign_to(page.stack.name()).filter(|_| !(is_free && is_adopted)) {
                return Err(self.located(engine::Error::Foreign { what, name: rule.name.clone(), owner, is_free }));
            }
        }
        Ok(())
    }

    /// Rejects a plan for services that are in another network than they should be, before anything is changed. A plan
    /// alone does not show it while something else that they use is still to be made.
    fn refuse_move(&self, plan: &Plan) -> Result<(), Failure> {
        let Some(network) = &self.network else { return Ok(()) };
        let own = plan.lines.iter().find(|line| line.address.kind == Vpc::KIND && !line.address.section.is_empty());
        let wanted = match own {
            Some(line) => line.found::<Vpc>().map(|(_, live)| live.output.id.as_str()),
            None if network.vpc.is_empty() => return Ok(()),
            None => Some(network.vpc.as_str()),
        };
        let moves = |line: &&Planned| vpc_of(line).is_some_and(|there| Some(there) != wanted);
        match plan.lines.iter().find(moves) {
            Some(line) => Err(Failure::new(
                Exit::Failed,
                anyhow!(
                    "{} ({}) is in another network, and AWS cannot move it: nothing was changed",
                    line.address,
                    line.name
                ),
            )
            .hint("choose the network that it is in, or remove the stack with `down` and bring it up again with `up`")
            .at(place(&self.config, &self.file, "network"))),
            None => Ok(()),
        }
    }

    /// Rejects a plan that would have to replace something, before anything is changed.
    pub(super) fn refuse_replacements(&self, plan: &Plan) -> Result<(), Failure> {
        let mut errors = plan.lines.iter().filter_map(Planned::must_replace).peekable();
        if errors.peek().is_none() {
            return Ok(());
        }
        errors.for_each(|error| report::failure(&self.located(error)));
        Err(Failure::new(Exit::Failed, anyhow!("nothing was changed")))
    }

    /// Reports the services whose address changes, because a load balancer of another scheme replaces theirs.
    pub(super) fn report_new_addresses(&self, page: &Page, plan: &Plan) {
        let names = StackNames::of(&self.config, &self.site);
        let is_new = |kind: &str, key: &str| {
            let mut lines = plan.lines.iter().filter(|line| line.address.kind == kind && line.address.key == key);
            lines.any(|line| !line.address.section.is_empty() && line.step == Step::Create)
        };
        let leaves = |kind: &str, name: &str| {
            let mut lines = plan.lines.iter().filter(|line| line.address.kind == kind && line.name == name);
            lines.any(|line| line.address.section.is_empty())
        };
        for Front { name, is_internal, address, .. } in &page.services {
            let schemes = [false, true].map(|internal| names.plain(&Balancer::entry_of(internal, name)));
            let why = match address {
                Some(_) if is_new(ElasticAddress::KIND, name) => {
                    let left = schemes.iter().any(|balancer| leaves(LoadBalancer::KIND, balancer));
                    left.then_some("an elastic IP address replaces its load balancer")
                }
                None if is_new(LoadBalancer::KIND, name) => match &schemes[usize::from(!is_internal)] {
                    other if leaves(LoadBalancer::KIND, other) => {
                        Some("AWS cannot change the scheme of a load balancer, so another one replaces it")
                    }
                    _ => leaves(ElasticAddress::KIND, &names.plain(name))
                        .then_some("a load balancer replaces its elastic IP address"),
                },
                _ => None,
            };
            why.iter().for_each(|why| report::say(format!("{name}: {why}: its address changes")));
        }
    }

    /// Reports the services that are not reachable for a while: their only instance ends before another one is launched.
    pub(super) fn report_outages(&self, page: &Page, plan: &Plan) {
        let is_rolled_out = |step: &Step| match step {
            Step::Update(changes) => changes.iter().any(|change| change.path.starts_with("template")),
            Step::Pending(_) => true,
            _ => false,
        };
        let rolls_out = |line: &Planned| line.address.kind == AutoScalingGroup::KIND && is_rolled_out(&line.step);
        for front in page.services.iter().filter(|front| front.address.is_some()) {
            let mut lines = plan.lines.iter().filter(|line| line.address.key == front.name);
            if lines.any(rolls_out) {
                report::say(format!(
                    "{}: another instance replaces it, so it is not reachable for some minutes",
                    front.name
                ));
            }
        }
    }

    /// Returns the change in monthly cost that a plan makes.
    pub(super) fn difference(&self, page: &Page, plan: &Plan) -> Difference {
        difference::of_plan(&self.config, page, plan, self.zones(), usual_bake_minutes(&self.site))
    }
}

/// The id of the VPC that a load balancer or a target group is in.
fn vpc_of(line: &Planned) -> Option<&str> {
    let balancer = line.found::<LoadBalancer>().map(|(_, live)| live.settings.vpc.as_str());
    balancer.or_else(|| line.found::<TargetGroup>().map(|(_, live)| live.settings.vpc.as_str()))
}

/// `buckets.images` as it is in plans: `bucket.images`.
fn singular(name: &str) -> String {
    match name.split_once("s.") {
        Some((kind, key)) if !kind.contains('.') => format!("{kind}.{key}"),
        _ => name.to_owned(),
    }
}

/// The page without calls to AWS: its resources and their inputs, but not their settings.
pub(super) fn offline_page(config: &Config) -> Page {
    let site = Site::unknown(config.account.as_deref(), config.region.as_str());
    let network = Network::unread(config.network.as_ref(), config.region.as_str());
    lay_out(config, &site, Some(&network), &Programs::none(), health::Wait::default())
}
