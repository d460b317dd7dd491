//! No crash can hurt a stack: the deployer is killed after every call that changes something, the line is cut before
//! and after every such call, and the same command makes good what is left. Against our own AWS and against moto.

mod support;

use std::path::Path;

use support::{
    Project, Said,
    line::{Cut, Line},
    moto::Moto,
    world::{self, Inventory},
};

/// A project, the cloud it is deployed to, and the line between the two.
struct Scene {
    project: Project,
    line: Line,
    cloud: Cloud,
    keys: (&'static str, &'static str),
}

/// Whose cloud it is. Dropping it ends it.
enum Cloud {
    Ours(Option<local::Cloud>, #[allow(dead_code)] tempfile::TempDir),
    Motos(Moto),
}

/// A command, and what it starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// From nothing.
    Up,
    /// From what is up to another description.
    Change,
    /// From what is up, with an object in a bucket.
    Down,
}

impl Scene {
    async fn ours() -> Scene {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let options = local::Options { dir: folder.path().to_owned(), port: 0, region: "us-east-1".into() };
        let cloud = local::Cloud::start(options).await.expect("the local AWS starts");
        let line = Line::to(&cloud.endpoint()).await;
        let keys = (local::ACCESS_KEY, local::SECRET_KEY);
        Scene { project: Project::light(), line, cloud: Cloud::Ours(Some(cloud), folder), keys }
    }

    async fn motos() -> Scene {
        let moto = Moto::start();
        let line = Line::to(&moto.endpoint).await;
        Scene { project: Project::light(), line, cloud: Cloud::Motos(moto), keys: ("testing", "testing") }
    }

    fn endpoint(&self) -> String {
        match &self.cloud {
            Cloud::Ours(cloud, _) => cloud.as_ref().expect("it runs until the end").endpoint(),
            Cloud::Motos(moto) => moto.endpoint.clone(),
        }
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
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

    async fn run(&self, phase: Phase) -> Said {
        self.command(phase.arguments()).output().await.expect("the deployer can be started").into()
    }

    async fn done(&self, phase: Phase) {
        let said = self.run(phase).await;
        assert_eq!(said.code, 0, "{phase:?}: {}", said.all());
    }

    /// Kills the deployer as soon as its `nth` mutating call has taken effect. Returns whether there was such a call.
    async fn kill_at(&self, phase: Phase, nth: usize) -> bool {
        self.line.cut_at(nth, Cut::ForGood);
        let mut child = self.command(phase.arguments()).spawn().expect("the deployer can be started");
        let killed = tokio::select! {
            () = self.line.broken() => true,
            status = child.wait() => {
                assert!(status.expect("it ends").success(), "{phase:?} undisturbed up to call {nth}");
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

    async fn inventory(&self) -> Inventory {
        world::inventory(&self.endpoint(), self.keys).await
    }

    /// Makes the state a phase starts from, out of nothing.
    async fn prepare(&self, phase: Phase) {
        self.line.mend();
        if phase == Phase::Up {
            return;
        }
        self.done(Phase::Up).await;
        match phase {
            Phase::Change => self.describe_change(),
            _ => world::upload(&self.endpoint(), self.keys, "a + b%/é").await,
        }
    }

    fn describe_change(&self) {
        self.project.edit("max: 4", "max: 6");
        self.project.edit("memory_mb: 256", "memory_mb: 512");
        self.project.edit("  posts: {", "  likes: { partition_key: post }\n  posts: {");
        self.project.edit("allow: [\"0.0.0.0/0\"]", "allow: [\"10.0.0.0/8\", \"192.168.0.0/16\"]");
        self.project.edit("methods: [GET, HEAD, PUT]", "methods: [GET, PUT]");
        self.project.edit("    health_check: /health\n", "    health_check: /ready\n    disk_gb: 12\n");
    }

    /// Removes everything, and sees that nothing is left.
    async fn clear(&self, original: &str) {
        self.line.mend();
        self.done(Phase::Down).await;
        assert_eq!(self.inventory().await, Inventory::new(), "something is left after `down`");
        self.project.describe(original);
    }

    async fn end(mut self) {
        if let Cloud::Ours(cloud, _) = &mut self.cloud {
            cloud.take().expect("it runs until the end").stop().await;
        }
    }
}

impl Phase {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Phase::Up | Phase::Change => &["up", "--yes", "--no-wait"],
            Phase::Down => &["down", "--yes"],
        }
    }
}

/// Kills at every call; the same command must then make of it what an undisturbed run makes.
async fn killed_anywhere_it_converges(scene: Scene, phase: Phase) {
    let original = scene.project.description();
    let (goal, calls) = undisturbed(&scene, phase, &original).await;
    let mut points = 0;
    for nth in 1.. {
        scene.prepare(phase).await;
        let killed = scene.kill_at(phase, nth).await;
        if killed {
            points += 1;
            scene.done(phase).await;
        }
        assert_eq!(scene.inventory().await, goal, "{phase:?}, killed at call {nth}");
        settled(&scene, phase).await;
        scene.clear(&original).await;
        if !killed {
            break;
        }
    }
    // Calls that take turns may differ from run to run by one that was refused and repeated.
    assert!(points >= calls, "{phase:?}: killed at {points} points of {calls} calls");
    report(&scene, phase, "killed", points);
    scene.end().await;
}

/// Cuts the line once, before or after the effect of every call: the run itself must get over it.
async fn cut_anywhere_it_completes(scene: Scene, phase: Phase, cut: Cut) {
    let original = scene.project.description();
    let (goal, calls) = undisturbed(&scene, phase, &original).await;
    for nth in 1..=calls {
        scene.prepare(phase).await;
        scene.line.cut_at(nth, cut);
        scene.done(phase).await;
        assert_eq!(scene.inventory().await, goal, "{phase:?}, cut {cut:?} call {nth}");
        settled(&scene, phase).await;
        scene.clear(&original).await;
    }
    let how = if cut == Cut::Before { "cut before" } else { "cut after" };
    report(&scene, phase, how, calls);
    scene.end().await;
}

/// What a run makes that nobody disturbs, and with how many mutating calls.
async fn undisturbed(scene: &Scene, phase: Phase, original: &str) -> (Inventory, usize) {
    scene.prepare(phase).await;
    scene.line.mend();
    scene.done(phase).await;
    let calls = scene.line.mutating().len();
    let goal = scene.inventory().await;
    scene.clear(original).await;
    (goal, calls)
}

/// Every managed field is as wanted, and asking changes nothing.
async fn settled(scene: &Scene, phase: Phase) {
    scene.line.mend();
    if phase == Phase::Down {
        return;
    }
    let plan = scene.command(&["plan", "--detailed-exitcode"]).output().await.expect("the deployer can be started");
    let plan = Said::from(plan);
    assert_eq!(plan.code, 0, "{}", plan.all());
    assert_eq!(scene.line.mutating(), Vec::<String>::new(), "a plan changes nothing");
}

/// Adds a row to the table that the README shows; every test writes its own file.
fn report(scene: &Scene, phase: Phase, how: &str, points: usize) {
    let cloud = if matches!(scene.cloud, Cloud::Motos(_)) { "moto" } else { "local AWS" };
    let row = format!("| `{}` | {how} | {cloud} | {points} | {points} |\n", name(phase));
    let file = format!("crashes-{}-{how}-{cloud}.md", name(phase)).replace(' ', "-");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
    print!("{row}");
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Up => "up",
        Phase::Change => "up after a change",
        Phase::Down => "down",
    }
}

macro_rules! proofs {
    ($($test:ident: $scene:ident, $phase:ident, $how:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            proofs!(@ $how, Scene::$scene().await, Phase::$phase)
        })*
    };
    (@ Kill, $scene:expr, $phase:expr) => { killed_anywhere_it_converges($scene, $phase).await };
    (@ $cut:ident, $scene:expr, $phase:expr) => { cut_anywhere_it_completes($scene, $phase, Cut::$cut).await };
}

proofs! {
    up_killed_after_any_call_is_completed_by_the_next: ours, Up, Kill;
    a_change_killed_after_any_call_is_completed_by_the_next: ours, Change, Kill;
    down_killed_after_any_call_is_completed_by_the_next: ours, Down, Kill;
    up_gets_over_a_line_cut_before_any_call: ours, Up, Before;
    up_gets_over_a_line_cut_after_any_call: ours, Up, After;
    a_change_gets_over_a_line_cut_before_any_call: ours, Change, Before;
    a_change_gets_over_a_line_cut_after_any_call: ours, Change, After;
    down_gets_over_a_line_cut_before_any_call: ours, Down, Before;
    down_gets_over_a_line_cut_after_any_call: ours, Down, After;
    on_moto_up_killed_after_any_call_is_completed_by_the_next: motos, Up, Kill;
    on_moto_down_killed_after_any_call_is_completed_by_the_next: motos, Down, Kill;
}
