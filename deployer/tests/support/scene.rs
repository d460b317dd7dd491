//! A project, the cloud it is deployed to, and the line between the two.

use super::{
    Project, Said,
    line::{Calls, Line, Trouble},
    moto::Moto,
    world::{self, Inventory},
};

pub struct Scene {
    pub project: Project,
    pub line: Line,
    pub keys: (&'static str, &'static str),
    original: String,
    cloud: Cloud,
}

/// Whose cloud it is. Dropping it ends it.
enum Cloud {
    Ours(Option<local::Cloud>, #[allow(dead_code)] tempfile::TempDir),
    Motos(Moto),
}

/// A command, and what it starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From nothing.
    Up,
    /// From what is up to another description.
    Change,
    /// From what is up to another port of the service, at which everything behind the load balancer is new.
    Move,
    /// From what is up, with an object in a bucket.
    Down,
}

/// How a run goes that nobody disturbs.
pub struct Undisturbed {
    /// What there is at the end.
    pub goal: Inventory,
    /// Every call.
    pub calls: Calls,
    /// Every call that changes something.
    pub mutating: Calls,
}

impl Scene {
    /// On our own local AWS.
    pub async fn ours() -> Scene {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let options = local::Options { dir: folder.path().to_owned(), port: 0, region: "us-east-1".into() };
        let cloud = local::Cloud::start(options).await.expect("the local AWS starts");
        let line = Line::to(&cloud.endpoint()).await;
        Scene::of(line, Cloud::Ours(Some(cloud), folder), (local::ACCESS_KEY, local::SECRET_KEY))
    }

    /// On moto.
    pub async fn motos() -> Scene {
        let moto = Moto::start();
        let line = Line::to(&moto.endpoint).await;
        Scene::of(line, Cloud::Motos(moto), ("testing", "testing"))
    }

    fn of(line: Line, cloud: Cloud, keys: (&'static str, &'static str)) -> Scene {
        let project = Project::light();
        Scene { original: project.description(), project, line, cloud, keys }
    }

    /// The cloud itself, past the line.
    pub fn endpoint(&self) -> String {
        match &self.cloud {
            Cloud::Ours(cloud, _) => cloud.as_ref().expect("it runs until the end").endpoint(),
            Cloud::Motos(moto) => moto.endpoint.clone(),
        }
    }

    /// For tables.
    pub fn cloud(&self) -> &'static str {
        if matches!(self.cloud, Cloud::Motos(_)) { "moto" } else { "local AWS" }
    }

    /// The deployer, over the line.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let endpoint = self.line.endpoint();
        let environment = [
            ("AWS_ENDPOINT_URL", &*endpoint),
            ("AWS_ACCESS_KEY_ID", self.keys.0),
            ("AWS_SECRET_ACCESS_KEY", self.keys.1),
        ];
        let mut command = tokio::process::Command::from(self.project.command(arguments, &environment));
        command.kill_on_drop(true).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().await.expect("the deployer can be started").into()
    }

    pub async fn done(&self, phase: Phase) -> Said {
        let said = self.run(phase.arguments()).await;
        assert_eq!(said.code, 0, "{phase:?}: {}", said.all());
        said
    }

    /// Kills the deployer as soon as this call has taken effect. Returns whether it was made at all.
    pub async fn kill_at(&self, phase: Phase, call: &str) -> bool {
        self.line.mend();
        self.line.spoil([call], Trouble::ForGood, 1);
        let mut child = self.command(phase.arguments()).spawn().expect("the deployer can be started");
        let killed = tokio::select! {
            () = self.line.broken() => true,
            status = child.wait() => {
                assert!(status.expect("it ends").success(), "{phase:?} undisturbed, without {call}");
                false
            }
        };
        if killed {
            child.kill().await.expect("it can be killed");
        }
        self.line.quiet().await;
        self.line.mend();
        killed
    }

    /// All there is, asking the cloud itself.
    pub async fn inventory(&self) -> Inventory {
        world::inventory(&self.endpoint(), self.keys).await
    }

    /// Makes the state a phase starts from, out of nothing.
    pub async fn prepare(&self, phase: Phase) {
        self.line.mend();
        if phase == Phase::Up {
            return;
        }
        self.done(Phase::Up).await;
        match phase {
            Phase::Change => self.describe_change(),
            Phase::Move => self.project.edit("port: 8080", "port: 8081"),
            _ => world::upload(&self.endpoint(), self.keys, "a + b%/é").await,
        }
        self.line.mend();
    }

    /// Changes the description in every section.
    pub fn describe_change(&self) {
        self.project.edit("max: 4", "max: 6");
        self.project.edit("memory_mb: 256", "memory_mb: 512");
        self.project.edit("  posts: {", "  likes: { partition_key: post }\n  posts: {");
        self.project.edit("allow: [\"0.0.0.0/0\"]", "allow: [\"10.0.0.0/8\", \"192.168.0.0/16\"]");
        self.project.edit("methods: [GET, HEAD, PUT]", "methods: [GET, PUT]");
        self.project.edit("    health_check: /health\n", "    health_check: /ready\n    disk_gb: 12\n");
    }

    /// Goes back to the description it began with.
    pub fn restore(&self) {
        self.project.describe(&self.original);
    }

    /// From now on our own cloud shows this bad side, or none.
    pub async fn put_chaos(&self, kind: &str) {
        let kinds: Vec<&str> = [kind].into_iter().filter(|kind| !kind.is_empty()).collect();
        let chaos = serde_json::json!({ "kinds": kinds }).to_string();
        let put = reqwest::Client::new().put(format!("{}/_local/chaos", self.endpoint())).body(chaos).send().await;
        assert!(put.expect("the cloud answers").status().is_success());
    }

    /// Removes everything, and sees that nothing is left.
    pub async fn clear(&self) {
        self.line.mend();
        self.done(Phase::Down).await;
        assert_eq!(self.inventory().await, Inventory::new(), "something is left after `down`");
        self.restore();
    }

    /// What a run makes that nobody disturbs, and by which calls. Nothing is left of it.
    pub async fn undisturbed(&self, phase: Phase) -> Undisturbed {
        self.prepare(phase).await;
        self.done(phase).await;
        let calls = self.line.calls().into_iter().collect();
        let mutating = self.line.mutating().into_iter().collect();
        let goal = self.inventory().await;
        self.clear().await;
        Undisturbed { goal, calls, mutating }
    }

    /// Everything is there as it should be, every managed field is as wanted, and asking changes nothing.
    pub async fn assert_settled(&self, phase: Phase, goal: &Inventory, after: &str) {
        self.line.mend();
        assert_eq!(self.inventory().await, *goal, "{phase:?}, {after}");
        if phase != Phase::Down {
            self.assert_nothing_to_do(after).await;
        }
    }

    /// Everything is as wanted, and asking changes nothing.
    pub async fn assert_nothing_to_do(&self, after: &str) {
        self.line.mend();
        let plan = self.run(&["plan", "--detailed-exitcode"]).await;
        assert_eq!(plan.code, 0, "{after}: {}", plan.all());
        assert_eq!(self.line.mutating(), Vec::<String>::new(), "a plan changes nothing");
    }

    pub async fn end(mut self) {
        if let Cloud::Ours(cloud, _) = &mut self.cloud {
            cloud.take().expect("it runs until the end").stop().await;
        }
    }
}

impl Phase {
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Phase::Up | Phase::Change | Phase::Move => &["up", "--yes", "--no-wait"],
            Phase::Down => &["down", "--yes"],
        }
    }

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Up => "up",
            Phase::Change => "up after a change",
            Phase::Move => "up to another port",
            Phase::Down => "down",
        }
    }
}
