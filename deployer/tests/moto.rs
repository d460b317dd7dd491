//! The same commands against an AWS that nobody of us wrote: moto. Where it differs from AWS (aws-facts §17) the
//! faults are moto's; what it does not know, instance refreshes, is not asked of it here.

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use support::{Project, Said, root};

/// A moto server of this test's own. Dropping it ends it.
struct Moto {
    server: Child,
    endpoint: String,
}

impl Moto {
    fn start() -> Moto {
        let program = root().join(".venv/bin/moto_server");
        assert!(program.is_file(), "moto is not there: run .ci/setup");
        let mut server = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto can be started");
        let mut lines = BufReader::new(server.stderr.take().expect("it is piped")).lines();
        let endpoint = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()))
            .expect("moto says where it is");
        // Its log must be read, or it stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Moto { server, endpoint }
    }

    fn run(&self, project: &Project, arguments: &[&str]) -> Said {
        project.run_with(
            arguments,
            &[
                ("AWS_ENDPOINT_URL", &self.endpoint),
                ("AWS_ACCESS_KEY_ID", "testing"),
                ("AWS_SECRET_ACCESS_KEY", "testing"),
            ],
        )
    }

    fn done(&self, project: &Project, arguments: &[&str]) -> Said {
        let said = self.run(project, arguments);
        assert_eq!(said.code, 0, "deployer {arguments:?}: {}", said.all());
        said
    }

    /// What moto itself answers to a question in EC2's way of asking, as text.
    async fn ask(&self, service: &str, question: &str) -> String {
        let scope = format!("Credential=testing/20260101/us-east-1/{service}/aws4_request");
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let ask = reqwest::Client::new().post(&self.endpoint).header("Authorization", authorization);
        let ask = ask.header("Content-Type", "application/x-www-form-urlencoded").body(question.to_owned());
        ask.send().await.expect("an answer").text().await.expect("a text")
    }

    /// How many load balancers, target groups and groups moto itself says there are.
    async fn fleet(&self) -> [usize; 3] {
        let balancers = self.ask("elasticloadbalancing", "Action=DescribeLoadBalancers&Version=2015-12-01").await;
        let targets = self.ask("elasticloadbalancing", "Action=DescribeTargetGroups&Version=2015-12-01").await;
        let groups = self.ask("autoscaling", "Action=DescribeAutoScalingGroups&Version=2011-01-01").await;
        [
            balancers.matches("<LoadBalancerArn>").count(),
            targets.matches("<TargetGroupArn>").count(),
            groups.matches("<AutoScalingGroupARN>").count(),
        ]
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_up_again_change_and_down() {
    let moto = Moto::start();
    let project = Project::postagram();

    let plan = moto.run(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{}", plan.all());
    assert!(plan.stderr.contains("+ auto_scaling_group.web"), "{}", plan.all());
    assert_eq!(moto.fleet().await, [0, 0, 0], "a plan makes nothing");

    let up = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(up.stdout.contains("BUCKET=postagram-images-123456789012-us-east-1\n"), "{}", up.all());
    assert!(up.stdout.contains("URL=http://postagram-web-"), "{}", up.all());
    assert!(tally(&up).0 < 60, "fewer than sixty calls: {}", up.all());
    assert_eq!(moto.fleet().await, [1, 1, 1]);

    let again = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(again.stderr.contains("nothing to do"), "{}", again.all());
    assert_eq!(tally(&again).1, 0, "no mutating call: {}", again.all());

    project.edit("max: 4", "max: 6");
    project.edit("memory_mb: 256", "memory_mb: 512");
    project.edit("  posts: {", "  likes: { partition_key: post }\n  posts: {");
    let changed = moto.done(&project, &["up", "--yes"]);
    for line in ["max: 4 → 6", "memory_mb: 256 → 512", "+ table.likes", "1 to create, 2 to change"] {
        assert!(changed.stderr.contains(line), "{line:?} is not in the plan: {}", changed.all());
    }
    assert_eq!(moto.run(&project, &["plan", "--detailed-exitcode"]).code, 0);

    project.edit("  likes: { partition_key: post }\n", "");
    let removed = moto.done(&project, &["up", "--yes"]);
    assert!(removed.stderr.contains("- table.postagram-likes"), "{}", removed.all());

    let down = moto.done(&project, &["down", "--yes"]);
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    assert_eq!(moto.fleet().await, [0, 0, 0]);
    assert!(moto.done(&project, &["down", "--yes"]).stderr.contains("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_existing_roles_nothing_is_written_to_iam() {
    let moto = Moto::start();
    let project = Project::with(
        "name: lab\nregion: us-east-1\nroles: { existing: LabRole, instance_profile: LabInstanceProfile }\n\
         tables:\n  posts: { partition_key: user }\n",
    );
    let up = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(!up.stderr.contains("CreateRole") && !up.stderr.contains("CreateInstanceProfile"), "{}", up.all());
    moto.done(&project, &["down", "--yes"]);
}

/// All calls and the mutating ones, as `-v` tells them.
fn tally(said: &Said) -> (usize, usize) {
    let line = said.stderr.lines().find(|line| line.contains(" calls, ")).expect("-v says how many calls");
    let numbers: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}
