//! The permissions of commands on stacks with domains.

use aws_sdk_acm::types::Tag;

use super::roles::Roles;
use crate::support::{Project, cloud::TestAws};

/// Actions that a domain adds, to those of the services of a load balancer.
fn is_of_domains(action: &str) -> bool {
    action.starts_with("acm:") || action.starts_with("route53:")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_stack_with_a_domain_run_with_their_printed_policies() {
    let (cloud, project) = (TestAws::start().await, Project::of_service("    domain: app.example.org\n"));
    let zone = cloud.aws.route53.create_hosted_zone().name("example.org").caller_reference("1").send().await;
    zone.expect("a zone can be made");
    let roles = Roles::new(&cloud, &project).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "--yes"]).await;
    for command in [&["plan"][..], &["adopt"], &["status"], &["why"], &["outputs"], &["history"], &["ls"]] {
        roles.done(command).await;
    }
    roles.ends_with(1, &["doctor"]).await;
    roles.done(&["export", "terraform", "tf"]).await;
    // The tags of the certificate.
    let listed = cloud.aws.acm.list_certificates().send().await.expect("certificates");
    let arn = listed.certificate_summary_list()[0].certificate_arn().expect("an ARN");
    let resource = Tag::builder().key("deployer:resource").build().expect("complete");
    let untag = cloud.aws.acm.remove_tags_from_certificate().certificate_arn(arn).tags(resource);
    untag.send().await.expect("it can be untagged");
    roles.done(&["up", "--yes"]).await;
    roles.done(&["pause", "--yes"]).await;
    roles.done(&["resume", "--yes"]).await;
    let described = project.description();
    project.edit("domain: app.example.org", "domain: www.example.org");
    roles.done(&["up", "--yes"]).await;
    project.describe(&described);
    roles.done(&["up", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    let commands =
        ["plan", "adopt", "up", "status", "why", "outputs", "history", "doctor", "ls", "pause", "down", "export"];
    for command in commands {
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_domains(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
    }
    cloud.end().await;
}

/// The policy is printed before it is known whether there is a zone.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_to_enter_by_hand_is_printed_with_the_policy_of_outputs_without_any() {
    let (cloud, project) = (TestAws::start().await, Project::of_service("    domain: app.example.org\n"));
    cloud.done(&project, &["up", "--yes"]).await;
    project.edit("outputs:\n  URL: ${services.web.url}\n", "");
    let roles = Roles::of(&cloud, &project, ["outputs"]).await;
    let outputs = roles.done(&["outputs"]).await;
    assert!(outputs.stderr.contains("    app.example.org  CNAME  "), "{}", outputs.all());
    assert_eq!(roles.denied("outputs").await, Vec::<String>::new());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_was_taken_out_is_removed_with_the_policies_of_a_stack_without_one() {
    let domain = "    domain: app.example.org\n";
    let (cloud, project) = (TestAws::start().await, Project::of_service(domain));
    let zone = cloud.aws.route53.create_hosted_zone().name("example.org").caller_reference("1").send().await;
    zone.expect("a zone can be made");
    let described = project.description();
    project.edit(domain, "");
    let roles = Roles::of(&cloud, &project, ["plan", "status", "up", "pause", "down"]).await;
    let with_domain = async || {
        project.describe(&described);
        cloud.done(&project, &["up", "--yes"]).await;
        project.edit(domain, "");
    };
    with_domain().await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.run(&["status"]).await;
    roles.done(&["up", "--yes"]).await;
    roles.done(&["plan", "--detailed-exitcode"]).await;
    with_domain().await;
    roles.done(&["pause", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    for command in ["plan", "status", "up", "pause", "down"] {
        assert_eq!(roles.denied(command).await, Vec::<String>::new(), "{command}");
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_domains(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
    }
    cloud.end().await;
}
