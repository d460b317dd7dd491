//! Web ACLs of load balancers: associated, changed and disassociated as `stack.yaml` says, and otherwise left as they are.

use serde_json::Value;

use crate::support::{Project, cloud::TestAws};

/// The field of a service whose load balancer has this web ACL. It is in line 10.
fn field(web_acl: &str) -> String {
    format!("    load_balancer: {{ port: 80, waf: {web_acl:?} }}\n")
}

/// The field of a service that says nothing about a web ACL.
const SILENT: &str = "    load_balancer: { port: 80 }\n";

/// The ARN of a web ACL of the local AWS.
fn web_acl(name: &str) -> String {
    format!("arn:aws:wafv2:us-east-1:000000000000:regional/webacl/{name}/12345678-1234-1234-1234-123456789012")
}

/// The ARN of the only load balancer.
async fn balancer(cloud: &TestAws) -> String {
    let found = cloud.aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let [balancer] = found.load_balancers() else { panic!("{found:?}") };
    balancer.load_balancer_arn().expect("an ARN").to_owned()
}

/// The web ACL of the only load balancer.
async fn associated(cloud: &TestAws) -> Option<String> {
    let call = cloud.aws.waf.get_web_acl_for_resource().resource_arn(balancer(cloud).await);
    call.send().await.expect("an answer").web_acl.map(|web_acl| web_acl.arn)
}

async fn associate(cloud: &TestAws, web_acl: &str) {
    let call = cloud.aws.waf.associate_web_acl().resource_arn(balancer(cloud).await).web_acl_arn(web_acl);
    call.send().await.expect("it can be associated");
}

async fn disassociate(cloud: &TestAws) {
    let call = cloud.aws.waf.disassociate_web_acl().resource_arn(balancer(cloud).await);
    call.send().await.expect("it can be disassociated");
}

/// The changes of a plan: address, path, and the field that decides it, with its place.
async fn changes(cloud: &TestAws, project: &Project) -> Vec<String> {
    let said = cloud.run(project, &["plan", "--json"]).await;
    let plan: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.all()));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut changes = Vec::new();
    for resource in plan["resources"].as_array().expect("a list") {
        for change in resource["step"]["update"].as_array().into_iter().flatten() {
            let (address, path, source) = (text(&resource["address"]), text(&change["path"]), &change["source"]);
            changes.push(format!("{address} {path} {} {}", text(&source["path"]), text(&source["place"])));
        }
    }
    changes
}

/// The call that reads the web ACL of a load balancer.
const READ: &str = "GetWebACLForResource";

const CHANGE: &str = "load_balancer.web web_acl services.web.load_balancer.waf stack.yaml:10";

async fn is_unchanged(cloud: &TestAws, project: &Project) {
    let plan = cloud.run(project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_acl_is_associated_changed_and_disassociated() {
    let (one, two) = (web_acl("one"), web_acl("two"));
    let (cloud, project) = (TestAws::start().await, Project::of_service(&field(&one)));
    let up = cloud.done(&project, &["up", "--yes"]).await;
    assert!(up.stderr.contains("stack.yaml:10: there is no WAF here"), "{}", up.all());
    assert_eq!(associated(&cloud).await.as_ref(), Some(&one));
    is_unchanged(&cloud, &project).await;

    disassociate(&cloud).await;
    assert_eq!(changes(&cloud, &project).await, [CHANGE]);
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(associated(&cloud).await.as_ref(), Some(&one));

    project.edit(&field(&one), &field(&two));
    assert_eq!(changes(&cloud, &project).await, [CHANGE]);
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(associated(&cloud).await.as_ref(), Some(&two));
    is_unchanged(&cloud, &project).await;

    // An association ends with its load balancer.
    cloud.done(&project, &["pause", "--yes"]).await;
    cloud.done(&project, &["resume", "--yes"]).await;
    assert_eq!(associated(&cloud).await.as_ref(), Some(&two));

    project.edit(&field(&two), &field("none"));
    assert_eq!(changes(&cloud, &project).await, [CHANGE]);
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(associated(&cloud).await, None);
    is_unchanged(&cloud, &project).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_acl_that_is_not_described_is_neither_read_nor_changed() {
    let (ours, theirs) = (web_acl("ours"), web_acl("theirs"));
    let (cloud, project) = (TestAws::start().await, Project::of_service(&field(&ours)));
    cloud.done(&project, &["up", "--yes"]).await;
    project.edit(&field(&ours), SILENT);
    let before = cloud.control().calls(READ).await;
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    assert_eq!(cloud.control().calls(READ).await, before);
    assert_eq!(associated(&cloud).await, Some(ours));

    associate(&cloud, &theirs).await;
    is_unchanged(&cloud, &project).await;
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(associated(&cloud).await, Some(theirs));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_acl_that_does_not_exist_or_is_another_accounts_is_refused_with_its_line() {
    let ours = web_acl("ours");
    let absent = ours.replace("12345678-1234-1234-1234-123456789012", "00000000-0000-0000-0000-000000000000");
    let (cloud, project) = (TestAws::start().await, Project::of_service(&field(&absent)));
    let refused = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    for words in ["stack.yaml:10 (load_balancer.web)", "WAFNonexistentItemException", "correct `load_balancer.waf`"] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.all());
    }
    project.edit(&field(&absent), &field(&ours));
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(associated(&cloud).await.as_ref(), Some(&ours));

    let theirs = ours.replace("000000000000", "123456789012");
    project.edit(&field(&ours), &field(&theirs));
    let refused = cloud.run(&project, &["plan"]).await;
    let words = "the web ACL is of the account 123456789012, and this is 000000000000";
    assert!(refused.code != 0 && refused.stderr.contains(words), "{}", refused.all());
    assert!(refused.stderr.contains("stack.yaml:10"), "{}", refused.all());
    project.edit(&field(&theirs), SILENT);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
