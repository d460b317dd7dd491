//! Under AWS's adverse conditions, `up` and `down` reach the same end, or report in AWS's words why they do not.

use serde_json::Value;

use crate::support::Project;

/// A small Postagram stack with a local AWS under this kind of chaos.
fn project(chaos: &str, seed: &str) -> Project {
    let project = Project::light();
    project.done(&["local", "start", "--chaos", chaos, "--seed", seed]);
    project
}

/// The number of instances launched so far.
fn instances(project: &Project) -> usize {
    let status: Value = serde_json::from_str(&project.done(&["local", "status"]).stdout).expect("the status is JSON");
    status["instances"].as_array().map_or(0, Vec::len)
}

#[test]
fn up_and_down_survive_a_full_zone_a_failed_boot_and_lingering_network_interfaces() {
    let project = project("capacity,boot-fail,eni-linger", "22");
    project.done(&["up", "--local", "--yes"]);
    assert!(instances(&project) > 1, "the first one did not come up");
    let settled = project.run(&["plan", "--local", "--detailed-exitcode"]);
    assert_eq!(settled.code, 0, "{}", settled.all());
    project.done(&["down", "--local", "--yes"]);
}

#[test]
fn up_survives_an_instance_whose_service_dies_at_every_start() {
    let project = project("crash-loop", "9");
    project.done(&["up", "--local", "--yes"]);
    assert!(instances(&project) > 1, "the first one did not come up");
    project.done(&["down", "--local", "--yes"]);
}

#[test]
fn up_shows_the_message_of_aws_for_a_type_that_the_account_may_not_launch() {
    let project = project("free-plan", "0");
    project.edit("instance_type: t3.micro", "instance_type: t3.large");
    let said = project.run(&["up", "--local", "--yes"]);
    assert_eq!(said.code, 1, "{}", said.all());
    for words in ["The specified instance type is not eligible for Free Tier.", "set `instance_type: t3.micro`"] {
        assert!(said.stderr.contains(words), "{words:?} is missing in {}", said.stderr);
    }
    project.edit("instance_type: t3.large", "instance_type: t3.micro");
    project.done(&["up", "--local", "--yes"]);
    project.done(&["down", "--local", "--yes"]);
}

#[test]
fn up_ends_at_the_vcpu_quota_with_the_message_of_aws() {
    let project = project("vcpu-limit", "0");
    let said = project.run(&["up", "--local", "--yes"]);
    assert_eq!(said.code, 1, "{}", said.all());
    for words in ["your current vCPU limit of 1 allows", "Service Quotas, L-1216C47A"] {
        assert!(said.stderr.contains(words), "{words:?} is missing in {}", said.stderr);
    }
    project.done(&["down", "--local", "--yes"]);
}

#[test]
fn chaos_is_turned_on_and_off_while_the_local_aws_runs() {
    let project = Project::light();
    let names: Vec<&str> = local::ChaosKind::ALL.iter().map(|(_, name, _)| *name).collect();
    let shown = |said: &str| -> Vec<(bool, String)> {
        let line = |line: &str| Some((line.starts_with('*'), line[2..].split_whitespace().next()?.to_owned()));
        said.lines().filter_map(line).collect()
    };
    let on =
        |said: &str| -> Vec<String> { shown(said).into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect() };
    let all: Vec<String> =
        shown(&project.done(&["local", "faults"]).stdout).into_iter().map(|(_, name)| name).collect();
    assert_eq!(all, names);

    let said = project.run(&["local", "chaos", "slow"]);
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("not running"), "{}", said.stderr);
    project.done(&["local", "start"]);
    let said = project.run(&["local", "chaos", "slow,hail"]);
    assert_eq!(said.code, 64, "{}", said.all());
    assert!(said.stderr.contains("hail"), "{}", said.stderr);
    assert!(on(&project.done(&["local", "faults"]).stdout).is_empty());
    assert_eq!(on(&project.done(&["local", "chaos", "slow,rates", "--seed", "7"]).stdout), ["slow", "rates"]);
    assert_eq!(on(&project.done(&["local", "chaos", "free-plan"]).stdout), ["free-plan"]);
    assert!(on(&project.done(&["local", "chaos", "none"]).stdout).is_empty());
}

#[test]
fn the_speed_is_kept_and_shown_and_an_invalid_one_is_refused() {
    let project = Project::light();
    let said = project.run(&["local", "start", "--speed", "slow"]);
    assert_eq!(said.code, 64, "{}", said.all());
    assert!(said.stderr.contains("real, fast, or how many times faster than AWS"), "{}", said.stderr);
    project.done(&["local", "start", "--speed", "60"]);
    let status: Value = serde_json::from_str(&project.done(&["local", "status"]).stdout).expect("the status is JSON");
    assert_eq!(status["speed"], "60");
}
