//! A project, the AWS that it is deployed to, and the proxy between the two.

mod phase;

use std::time::Duration;

use testkit::{
    Control, LocalAws,
    proxy::{Calls, InjectedFault, Proxy},
    until,
};

use super::{
    Project, RunOutput,
    cloud::{KEYS, connect, upload},
    domain::{self, DOMAIN},
    hands::Hands,
    inventory::{self, Inventory},
    moto::Moto,
    network, options, shared,
};

pub use phase::Phase;

/// The key of the object in the bucket that `down` has to empty.
pub const PICTURE: &str = "a + b%/é";

pub struct Scene {
    pub project: Project,
    pub proxy: Proxy,
    pub keys: (&'static str, &'static str),
    original: String,
    /// The inventory without the stack.
    others: Inventory,
    cloud: Cloud,
}

/// The AWS of a scene. Dropping it stops it.
enum Cloud {
    Local(Box<LocalAws>),
    Motos(Moto),
}

/// Lines of the service in the description.
const HEALTH_CHECK: &str = "    health_check: /health\n";
const BAKE: &str = "    bake: 3m\n";
const UNBAKED: &str = "    bake: 0\n";
const DIRECT: &str = "load_balancer: none";

/// Far more than any run needs, even one that gives up: only an endless run is cut off.
const PATIENCE: Duration = Duration::from_secs(300);

/// How many runs are observed to learn which calls every run makes.
pub const WATCHED: usize = 3;

/// The result and the calls of an undisturbed run.
#[derive(Debug, Clone)]
pub struct Undisturbed {
    /// The inventory at the end.
    pub goal: Inventory,
    /// Every call.
    pub calls: Calls,
    /// For each mutating operation, as many calls as have succeeded.
    pub mutating: Calls,
}

impl Scene {
    /// A scene on the local AWS.
    pub async fn local() -> Scene {
        let cloud = LocalAws::start().await;
        let proxy = Proxy::to(&cloud.endpoint()).await;
        Scene::of(Project::light(), proxy, Cloud::Local(Box::new(cloud)), KEYS)
    }

    /// A scene on the local AWS, whose service has a domain in a hosted zone that holds records of others.
    pub async fn domain() -> Scene {
        let cloud = LocalAws::start().await;
        let proxy = Proxy::to(&cloud.endpoint()).await;
        let project = Project::of_service(&domain_line());
        domain::make_zone(&connect(&cloud.endpoint(), KEYS).await).await;
        let mut scene = Scene::of(project, proxy, Cloud::Local(Box::new(cloud)), KEYS);
        scene.others = scene.inventory().await;
        scene
    }

    /// A scene on the local AWS, with a service without a load balancer.
    pub async fn direct() -> Scene {
        let cloud = LocalAws::start().await;
        let proxy = Proxy::to(&cloud.endpoint()).await;
        Scene::of(Project::direct(), proxy, Cloud::Local(Box::new(cloud)), KEYS)
    }

    /// A scene on the local AWS, in an account without a default network, for which the stack makes one.
    pub async fn network() -> Scene {
        let cloud = LocalAws::start_with(local::AccountKind::NoDefaultVpc).await;
        let proxy = Proxy::to(&cloud.endpoint()).await;
        Scene::of(network::project(), proxy, Cloud::Local(Box::new(cloud)), KEYS)
    }

    /// A scene on the local AWS, with services behind one load balancer.
    pub async fn shared() -> Scene {
        Scene::folder(shared::crowded()).await
    }

    /// A scene on the local AWS, with a service behind the load balancer of another one.
    pub async fn behind() -> Scene {
        Scene::folder(shared::project()).await
    }

    /// A scene on the local AWS with this project.
    pub async fn folder(project: Project) -> Scene {
        let cloud = LocalAws::start().await;
        let proxy = Proxy::to(&cloud.endpoint()).await;
        Scene::of(project, proxy, Cloud::Local(Box::new(cloud)), KEYS)
    }

    /// A scene on moto.
    pub async fn moto() -> Scene {
        let moto = Moto::start();
        let proxy = Proxy::to(&moto.endpoint).await;
        Scene::of(Project::light(), proxy, Cloud::Motos(moto), ("testing", "testing"))
    }

    fn of(project: Project, proxy: Proxy, cloud: Cloud, keys: (&'static str, &'static str)) -> Scene {
        // With alarms, whose calls are then part of every phase. moto has none (docs/aws.md §17), and neither has a service
        // without a load balancer.
        let bake = match cloud {
            _ if project.description().contains(DIRECT) => "",
            Cloud::Local(_) => BAKE,
            Cloud::Motos(_) => UNBAKED,
        };
        project.edit(HEALTH_CHECK, &format!("{HEALTH_CHECK}{bake}"));
        Scene { original: project.description(), others: Inventory::new(), project, proxy, cloud, keys }
    }

    /// The endpoint of the cloud itself, without the proxy.
    pub fn endpoint(&self) -> String {
        match &self.cloud {
            Cloud::Local(cloud) => cloud.endpoint(),
            Cloud::Motos(moto) => moto.endpoint.clone(),
        }
    }

    /// The name of the cloud in tables.
    pub fn cloud(&self) -> &'static str {
        if matches!(self.cloud, Cloud::Motos(_)) { "moto" } else { "local AWS" }
    }

    /// The deployer's command, with the proxy as its AWS.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let endpoint = self.proxy.endpoint();
        let environment = [
            ("AWS_ENDPOINT_URL", &*endpoint),
            ("AWS_ACCESS_KEY_ID", self.keys.0),
            ("AWS_SECRET_ACCESS_KEY", self.keys.1),
        ];
        let mut command = tokio::process::Command::from(self.project.command(arguments, &environment));
        command.kill_on_drop(true).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> RunOutput {
        let output = tokio::time::timeout(PATIENCE, self.command(arguments).output()).await;
        let output = output.unwrap_or_else(|_| panic!("deployer {arguments:?} does not end"));
        output.expect("the deployer can be started").into()
    }

    pub async fn done(&self, phase: Phase) -> RunOutput {
        let said = self.run(phase.arguments()).await;
        assert_eq!(said.code, 0, "{phase:?}: {}", said.all());
        said
    }

    /// Kills the deployer as soon as this call has taken effect. Returns whether the call was made.
    pub async fn kill_at(&self, phase: Phase, call: &str) -> bool {
        self.proxy.reset();
        self.proxy.inject([call], InjectedFault::CutAfter, 1);
        let mut child = self.command(phase.arguments()).spawn().expect("the deployer can be started");
        let killed = tokio::select! {
            () = self.proxy.cut() => true,
            status = child.wait() => {
                assert!(status.expect("it ends").success(), "{phase:?} undisturbed, without {call}");
                false
            }
        };
        if killed {
            child.kill().await.expect("it can be killed");
        }
        self.proxy.idle().await;
        self.proxy.reset();
        killed
    }

    /// The inventory, requested without the proxy.
    pub async fn inventory(&self) -> Inventory {
        inventory::inventory(&self.endpoint(), self.keys).await
    }

    /// Creates the state from which a phase starts.
    pub async fn prepare(&self, phase: Phase) {
        self.proxy.reset();
        let first = match phase {
            Phase::Up | Phase::Guard | Phase::Serve | Phase::Settle | Phase::Share | Phase::Direct => {
                return self.begin(phase).await;
            }
            Phase::Plain | Phase::Close => Phase::Serve,
            Phase::Leave => Phase::Settle,
            Phase::Undirect => Phase::Direct,
            Phase::Shrink => Phase::Guard,
            Phase::Soften => Phase::Harden,
            Phase::Reroute | Phase::Swap | Phase::Part | Phase::Withdraw | Phase::Unshare => Phase::Share,
            Phase::Publish => Phase::Withdraw,
            _ => Phase::Up,
        };
        self.begin(first).await;
        self.done(first).await;
        if phase == Phase::Resume {
            self.done(Phase::Pause).await;
        }
        self.begin(phase).await;
    }

    /// Changes the description to that of a phase. A rollback before it leaves the description of the later release.
    pub async fn begin(&self, phase: Phase) {
        match phase {
            Phase::Up
            | Phase::Serve
            | Phase::Close
            | Phase::Settle
            | Phase::Leave
            | Phase::Share
            | Phase::Unshare
            | Phase::Direct
            | Phase::Undirect
            | Phase::Pause
            | Phase::Resume => {}
            Phase::Reroute => shared::reroute(&self.project),
            Phase::Swap => shared::swap(&self.project),
            Phase::Part => shared::without_api(&self.project),
            Phase::Withdraw => self.project.edit("  web:\n", "  web:\n    load_balancer: internal\n"),
            Phase::Publish => self.project.edit("    load_balancer: internal\n", ""),
            Phase::Guard => self.describe_guarded(),
            Phase::Plain => self.project.edit(&domain_line(), ""),
            Phase::Change => {
                self.restore();
                self.describe_change();
            }
            Phase::Move => self.project.edit("port: 8080", "port: 8081"),
            Phase::Inside => {
                self.project.edit("load_balancer: { port: 80, allow: [\"0.0.0.0/0\"] }", "load_balancer: internal");
            }
            Phase::Harden => options::add(&self.project),
            Phase::Soften => options::remove(&self.project),
            Phase::Shrink => self.describe_shrunk(),
            Phase::Rollback => {
                self.project.edit(HEALTH_CHECK, &format!("{HEALTH_CHECK}    disk_gb: 12\n"));
                self.done(Phase::Up).await;
            }
            Phase::RollbackFunction => {
                self.restore();
                self.project.change_function();
                self.project.edit("memory_mb: 256", "memory_mb: 512");
                self.done(Phase::Up).await;
            }
            Phase::Adopt => Hands::of(&connect(&self.endpoint(), self.keys).await).disown_all().await,
            Phase::Down => upload(&self.endpoint(), self.keys, PICTURE).await,
        }
        self.proxy.reset();
    }

    /// Changes the description in every section. A roll-out without a bake time is faster.
    pub fn describe_change(&self) {
        if matches!(self.cloud, Cloud::Local(_)) {
            self.project.edit(BAKE, UNBAKED);
        }
        self.project.edit("max: 4", "max: 6");
        self.project.edit("memory_mb: 256", "memory_mb: 512");
        self.project.edit("  posts: {", "  likes: { partition_key: post }\n  posts: {");
        self.project.edit("allow: [\"0.0.0.0/0\"]", "allow: [\"10.0.0.0/8\", \"192.168.0.0/16\"]");
        self.project.edit("methods: [GET, HEAD, PUT]", "methods: [GET, PUT]");
        self.project.edit(HEALTH_CHECK, "    health_check: /ready\n    disk_gb: 12\n");
    }

    /// Protects the data in the description.
    fn describe_guarded(&self) {
        self.project.edit("sort_key: id }", "sort_key: id, protect: true }");
        self.project.edit("    on_upload:", "    protect: true\n    on_upload:");
    }

    /// Removes everything that runs from the protected description.
    fn describe_shrunk(&self) {
        let text = self.project.description();
        let (data, rest) = text.split_once("functions:").expect("there are functions");
        let (_, outputs) = rest.split_once("outputs:").expect("there are outputs");
        // Its requests are made to a service.
        let (outputs, _) = outputs.split_once("verify:").expect("there is `verify`");
        self.project.describe(&format!("{data}outputs:{outputs}"));
        self.project.edit("    on_upload: { function: labeler }\n", "");
        self.project.edit("  URL: ${services.web.url}\n", "");
        self.project.edit("    protect: true\n", "");
        self.project.edit("protect: true }", "point_in_time_recovery: true }");
    }

    /// Restores the original description.
    pub fn restore(&self) {
        self.project.describe(&self.original);
    }

    /// Turns on this kind of chaos in the local AWS, or none if it is empty.
    pub async fn put_chaos(&self, kind: &str) {
        let kinds: Vec<&str> = [kind].into_iter().filter(|kind| !kind.is_empty()).collect();
        Control::of(&self.endpoint()).set_chaos(&kinds).await;
    }

    /// Removes everything, and checks that nothing is left.
    pub async fn clear(&self) {
        self.proxy.reset();
        self.done(Phase::Down).await;
        self.assert_empty().await;
        self.restore();
    }

    /// Asserts that nothing of the stack is left.
    pub async fn assert_empty(&self) {
        assert_eq!(self.inventory().await, self.others, "`down` leaves what was there before");
    }

    /// Returns the result and the calls of an undisturbed run. Everything is removed again.
    pub async fn undisturbed(&self, phase: Phase) -> Undisturbed {
        self.prepare(phase).await;
        let undisturbed = self.watch(phase).await;
        self.clear().await;
        undisturbed
    }

    /// Runs a command undisturbed.
    pub async fn watch(&self, phase: Phase) -> Undisturbed {
        self.proxy.reset();
        self.done(phase).await;
        let calls = self.proxy.calls().into_iter().collect();
        let mutating = self.proxy.effective();
        Undisturbed { goal: self.inventory().await, calls, mutating }
    }

    /// Returns the result of undisturbed runs and the calls that all of them make: the number of polls and of retried
    /// calls differs between runs.
    pub async fn steady(&self, phase: Phase) -> Undisturbed {
        let mut steady = self.undisturbed(phase).await;
        for _ in 1..WATCHED {
            steady = steady.and(&self.undisturbed(phase).await);
        }
        steady
    }

    /// Asserts that a service behind a load balancer is served, however far a run that replaces it came.
    pub async fn assert_served(&self, phase: Phase) {
        if matches!(phase, Phase::Withdraw | Phase::Publish) {
            let aws = connect(&self.endpoint(), self.keys).await;
            until("a rule that serves the service", async || shared::serves_api(&aws).await).await;
        }
    }

    /// Asserts that the inventory is as expected, that every managed field is as desired, and that checking this
    /// changes nothing.
    pub async fn assert_settled(&self, phase: Phase, goal: &Inventory, after: &str) {
        self.proxy.reset();
        assert_eq!(self.inventory().await, *goal, "{phase:?}, {after}");
        match phase {
            Phase::Down | Phase::Close | Phase::Undirect | Phase::Leave | Phase::Unshare => (),
            Phase::Rollback | Phase::RollbackFunction => self.assert_rolled_back(phase, after).await,
            Phase::Pause => self.assert_paused(after).await,
            _ => self.assert_nothing_to_do(after).await,
        }
    }

    /// Asserts that every field is as desired, and that checking this changes nothing.
    pub async fn assert_nothing_to_do(&self, after: &str) {
        self.proxy.reset();
        let plan = self.run(&["plan", "--detailed-exitcode"]).await;
        assert_eq!(plan.code, 0, "{after}: {}", plan.all());
        assert_eq!(self.proxy.mutating(), Vec::<String>::new(), "a plan changes nothing");
    }

    /// Asserts that the first release is in service, and that rolling back to it again changes nothing.
    async fn assert_rolled_back(&self, phase: Phase, after: &str) {
        let again = self.done(phase).await;
        let there = format!("nothing to do: release 1 of {} is in service", phase.arguments()[1]);
        assert!(again.stderr.contains(&there), "{after}: {}", again.all());
        assert_eq!(self.proxy.mutating(), Vec::<String>::new(), "nothing is left to roll back");
    }

    /// Asserts that the services are off, that pausing them again changes nothing, and that a plan finds nothing else to
    /// do.
    async fn assert_paused(&self, after: &str) {
        let again = self.done(Phase::Pause).await;
        assert!(again.stderr.contains("nothing to do: paused since"), "{after}: {}", again.all());
        assert_eq!(self.proxy.mutating(), Vec::<String>::new(), "nothing is left to pause");
        self.assert_nothing_to_do(after).await;
    }

    pub async fn end(self) {
        if let Cloud::Local(cloud) = self.cloud {
            cloud.stop().await;
        }
    }
}

/// The line of the description that gives the service its domain.
fn domain_line() -> String {
    format!("    domain: {DOMAIN}\n")
}

impl Undisturbed {
    /// Returns what this run and another one of the same phase have in common.
    pub fn and(self, other: &Undisturbed) -> Undisturbed {
        assert_eq!(self.goal, other.goal, "two undisturbed runs have different results");
        let (calls, mutating) = (&self.calls & &other.calls, &self.mutating & &other.mutating);
        Undisturbed { goal: self.goal, calls, mutating }
    }
}
