//! The same commands with an independent AWS, moto. Where it differs from AWS (docs/aws.md §17), moto is wrong;
//! instance refreshes and alarms, which it does not support, are not tested here.

mod support;

use support::{Project, Said, moto::Moto};

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_on_moto_is_planned_created_changed_and_removed() {
    let moto = Moto::start();
    let project = Project::postagram();

    let plan = moto.run(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{}", plan.all());
    assert!(plan.stderr.contains("+ auto_scaling_group.web"), "{}", plan.all());
    assert_eq!(moto.fleet().await, [0, 0, 0], "a plan creates nothing");

    let up = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(up.stdout.contains("BUCKET=postagram-images-123456789012-us-east-1\n"), "{}", up.all());
    assert!(up.stdout.contains("URL=http://postagram-web-"), "{}", up.all());
    assert!(tally(&up).0 < 80, "less than two thirds of what Terraform needs, 123: {}", up.all());
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
    let removed = moto.done(&project, &["up", "--yes", "--delete", "table.postagram-likes"]);
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

/// The numbers of all calls and of mutating ones, as `-v` prints them.
fn tally(said: &Said) -> (usize, usize) {
    let line = said.stderr.lines().find(|line| line.contains(" calls, ")).expect("-v prints the number of calls");
    let numbers: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}
