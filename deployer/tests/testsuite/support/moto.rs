//! moto: an independent implementation of AWS.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use testkit::programs::tool;

use super::{Project, RunOutput};

/// A test's own moto server. Dropping it stops it.
pub struct Moto {
    server: Child,
    pub endpoint: String,
}

impl Moto {
    pub fn start() -> Moto {
        let mut server = Command::new(tool("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            // Until it issues a certificate, in seconds (docs/aws.md §17).
            .env("MOTO_ACM_VALIDATION_WAIT", "2")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto can be started");
        let mut lines = BufReader::new(server.stderr.take().expect("it is piped")).lines();
        let endpoint = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()))
            .expect("moto prints its address");
        // Its log must be read, or it blocks when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Moto { server, endpoint }
    }

    pub fn run(&self, project: &Project, arguments: &[&str]) -> RunOutput {
        project.run_with(
            arguments,
            &[
                ("AWS_ENDPOINT_URL", &self.endpoint),
                ("AWS_ACCESS_KEY_ID", "testing"),
                ("AWS_SECRET_ACCESS_KEY", "testing"),
            ],
        )
    }

    pub fn done(&self, project: &Project, arguments: &[&str]) -> RunOutput {
        let said = self.run(project, arguments);
        assert_eq!(said.code, 0, "deployer {arguments:?}: {}", said.all());
        said
    }

    /// Sends a request to moto in EC2's query protocol and returns the answer as text.
    pub async fn ask(&self, service: &str, question: &str) -> String {
        let scope = format!("Credential=testing/20260101/us-east-1/{service}/aws4_request");
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let ask = reqwest::Client::new().post(&self.endpoint).header("Authorization", authorization);
        let ask = ask.header("Content-Type", "application/x-www-form-urlencoded").body(question.to_owned());
        ask.send().await.expect("an answer").text().await.expect("a text")
    }

    /// The numbers of load balancers, target groups and Auto Scaling groups in moto.
    pub async fn fleet(&self) -> [usize; 3] {
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
