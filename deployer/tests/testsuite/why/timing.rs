//! When a cause is certain, and how long its explanation takes.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::group::target_group;
use super::{BUCKET, SPEED};
use crate::support::{Project, RunOutput, cloud::TestAws};
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};

/// Something broken: its name in `stack.yaml`, the cause, and parts of the sentence and of the remedy.
#[derive(Clone, Copy)]
pub(super) struct Broken<'a> {
    pub(super) name: &'a str,
    pub(super) cause: &'a str,
    pub(super) says: &'a [&'a str],
    pub(super) remedy: &'a str,
}

/// The evidence that AWS must show before a cause is certain.
#[derive(Clone, Copy)]
enum Sign {
    /// An exit of the service, after this many restarts, in a report.
    Exit(u32),
    /// A report on whether the service answers, and an unhealthy target.
    Answer,
    /// An unhealthy target.
    Ill,
    /// An instance that the group has replaced, because it was unhealthy after its grace period.
    Replaced,
    /// A launch that failed with one of the texts.
    Refused,
    /// A throttled invocation of a function, in its metrics.
    Throttled,
}

/// The signs of causes. Every other cause is certain as soon as something is broken.
const SIGNS: &[(&str, Sign)] = &[
    ("a missing variable", Sign::Exit(0)),
    ("a crash at start", Sign::Exit(0)),
    ("a crash later", Sign::Exit(3)),
    ("another port", Sign::Answer),
    ("a wrong health check path", Sign::Ill),
    ("an error in the health check", Sign::Ill),
    ("a start longer than the grace period", Sign::Replaced),
    ("a missing permission of the service", Sign::Exit(0)),
    ("too little memory", Sign::Exit(0)),
    ("a security group changed by hand", Sign::Ill),
    ("a program missing in the bucket", Sign::Exit(0)),
    ("a role without permission to download the program", Sign::Ill),
    ("the vCPU quota, by too many instances", Sign::Refused),
    ("a program for another architecture", Sign::Exit(0)),
    ("a machine image that does not exist", Sign::Refused),
    ("a machine image for another architecture", Sign::Refused),
    ("an instance type that the zone does not offer", Sign::Refused),
    ("a zone without capacity", Sign::Refused),
    ("the free plan", Sign::Refused),
    ("the vCPU quota of a new account", Sign::Refused),
    ("a program for a newer C library", Sign::Exit(0)),
    ("user data that cloud-init refuses", Sign::Ill),
    ("a full disk", Sign::Exit(0)),
    ("a function that is stopped", Sign::Throttled),
    ("a function whose reserved concurrency is used up", Sign::Throttled),
    ("a function that was stopped by hand", Sign::Throttled),
];

/// Every cause is explained within this time of AWS after it is certain.
const WITHIN: Duration = Duration::from_secs(120);

/// The time by the clock of the local AWS, which is that of this machine, in seconds since 1970.
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64()
}

/// Since when a cause is certain, according to AWS; `None` if it is not yet.
async fn certain_s(cloud: &TestAws, broken: &Broken<'_>, begun_s: f64) -> Option<f64> {
    let Broken { name, cause, says, .. } = broken;
    let Some((_, sign)) = SIGNS.iter().find(|(known, _)| known == cause) else { return Some(begun_s) };
    let group = format!("s-{name}-8080");
    let reports = async |stage: &str| {
        let listed = cloud.aws.s3.list_objects_v2().bucket(BUCKET).prefix(format!("boot/{name}/"));
        let listed = listed.send().await.expect("a list").contents.unwrap_or_default();
        // Whole seconds: one of the second in which it was broken may be older.
        let is_new = |at: f64| at > begun_s;
        let new = listed.into_iter().filter_map(|it| Some((it.last_modified()?.secs() as f64, it.key?)));
        new.filter(|(at, key)| key.ends_with(stage) && is_new(*at)).collect::<Vec<_>>()
    };
    let is_ill = async || {
        let arn = target_group(cloud, &group).await;
        let health = cloud.aws.elb.describe_target_health().target_group_arn(arn).send().await.expect("targets");
        let state =
            |it: &aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription| it.target_health()?.state().cloned();
        health.target_health_descriptions().iter().filter_map(state).any(|state| state.as_str() == "unhealthy")
    };
    let activities = async || {
        let call = cloud.aws.autoscaling.describe_scaling_activities().auto_scaling_group_name(&group);
        call.send().await.expect("activities").activities.unwrap_or_default()
    };
    let began = |it: &aws_sdk_autoscaling::types::Activity| it.start_time().map(|at| at.as_secs_f64());
    match *sign {
        Sign::Exit(restarts) => {
            for (at, key) in reports("/exit").await {
                let report = cloud.aws.s3.get_object().bucket(BUCKET).key(key).send().await.expect("a report");
                let report = report.body.collect().await.expect("its text").into_bytes();
                let report = String::from_utf8_lossy(&report).into_owned();
                let count = report.lines().find_map(|line| line.strip_prefix("NRestarts=")?.parse::<u32>().ok());
                if count.is_some_and(|count| count >= restarts) {
                    return Some(at);
                }
            }
            None
        }
        Sign::Answer => (!reports("/answers").await.is_empty() && is_ill().await).then(now_s),
        Sign::Ill => is_ill().await.then(now_s),
        Sign::Replaced => {
            let is_replaced = |cause: &str| cause.contains("ELB system health check failure");
            activities().await.iter().filter(|it| is_replaced(it.cause().unwrap_or_default())).find_map(began)
        }
        Sign::Refused => {
            let is_meant = |text: &str| says.iter().any(|it| text.contains(it));
            activities().await.iter().rfind(|it| is_meant(it.status_message().unwrap_or_default())).and_then(began)
        }
        Sign::Throttled => {
            let function = Dimension::builder().name("FunctionName").value(format!("s-{name}")).build();
            let metric =
                Metric::builder().namespace("AWS/Lambda").metric_name("Throttles").dimensions(function).build();
            let stat = MetricStat::builder().metric(metric).period(60).stat("Sum").build();
            let query = MetricDataQuery::builder().id("throttles").metric_stat(stat).build();
            let moment = |at_s: f64| aws_sdk_cloudwatch::primitives::DateTime::from_secs(at_s as i64);
            let call = cloud.aws.cloudwatch.get_metric_data().metric_data_queries(query);
            let call = call.start_time(moment(begun_s - 60.0)).end_time(moment(now_s() + 60.0));
            let answer = call.send().await.expect("metrics");
            let is_throttled = answer.metric_data_results().iter().any(|it| it.values().iter().any(|it| *it > 0.0));
            is_throttled.then(now_s)
        }
    }
}

/// The part of the output of `why` about a service or function, if its first line has these texts and a line of
/// `stack.yaml`.
pub(super) fn about(said: &RunOutput, broken: &Broken) -> Option<Vec<String>> {
    let Broken { name, says, .. } = broken;
    let has = |line: &str| says.iter().chain(&["(stack.yaml:"]).all(|it| line.contains(it));
    let is_first = |line: &&str| line.starts_with(&format!("{name}: ")) && has(line);
    let mut lines = said.stdout.lines().skip_while(|line| !is_first(line));
    let first = lines.next()?.to_owned();
    let rest = lines.take_while(|line| line.starts_with("  ") || line.starts_with("hint: "));
    Some([first].into_iter().chain(rest.map(str::to_owned)).collect())
}

/// Runs `why` until it explains all of these, which are broken now, checks the remedies, and writes the rows of the table of
/// docs/proofs.md: the cause, the sentence, and the time of AWS since the cause was certain. Every run that begins more than
/// [`WITHIN`] after that has to explain it, however slow this machine is.
pub(super) async fn all_explained(cloud: &TestAws, project: &Project, broken: &[Broken<'_>]) {
    let names: Vec<&str> = ["why"].into_iter().chain(broken.iter().map(|it| it.name)).collect();
    let (mut left, mut last, begun_s) = (broken.to_vec(), String::new(), now_s());
    let mut certain: HashMap<&str, f64> = HashMap::new();
    let explained = tokio::time::timeout(Duration::from_secs(240), async {
        while !left.is_empty() {
            for broken in left.iter().filter(|it| !certain.contains_key(it.name)).collect::<Vec<_>>() {
                if let Some(since_s) = certain_s(cloud, broken, begun_s).await {
                    certain.insert(broken.name, since_s);
                }
            }
            let run_s = now_s();
            let said = cloud.run(project, &names).await;
            left.retain(|broken| {
                let Broken { name, cause, remedy, .. } = broken;
                let since = |at_s: f64| certain.get(name).map(|since_s| (at_s - since_s).max(0.0) * f64::from(SPEED));
                let Some(lines) = about(&said, broken) else {
                    let is_late = since(run_s).is_some_and(|late| late > WITHIN.as_secs_f64());
                    assert!(!is_late, "{cause} has been certain for {:?} s: {}", since(run_s), said.all());
                    return true;
                };
                assert_eq!(said.code, 1, "{}", said.all());
                let hint = lines.iter().find(|line| line.starts_with("hint: ")).cloned().unwrap_or_default();
                assert!(hint.contains(remedy), "{name}: {remedy:?} is not in {}", lines.join("\n"));
                report(cause, &lines[0], Duration::from_secs_f64(since(now_s()).unwrap_or_default()));
                false
            });
            last = said.all();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    let left: Vec<&str> = left.iter().map(|broken| broken.cause).collect();
    assert!(explained.is_ok(), "{left:?} are not explained: {last}");
}

/// The same for one, broken now.
pub(super) async fn explained(
    cloud: &TestAws,
    project: &Project,
    cause: &str,
    name: &str,
    says: &[&str],
    remedy: &str,
) {
    all_explained(cloud, project, &[Broken { name, cause, says, remedy }]).await;
}

/// The most characters of a sentence in the table.
const LONGEST: usize = 140;

/// Writes a row of the table of docs/proofs.md into a file of its own. `took` is in time of AWS.
fn report(cause: &str, sentence: &str, took: Duration) {
    let seconds = took.as_secs();
    // Messages of AWS and programs may be long.
    let (words, rest) = sentence.split_at(sentence.char_indices().nth(LONGEST).map_or(sentence.len(), |(at, _)| at));
    let sentence = words.replace('|', "\\|") + if rest.is_empty() { "" } else { "…" };
    let row = format!("| {cause} | {sentence} | {} min {} s |\n", seconds / 60, seconds % 60);
    let file = format!("causes-{}.md", cause.replace([' ', '/', '`'], "-"));
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
    print!("{row}");
}
