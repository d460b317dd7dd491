//! Permanent errors: the command stops at once, and reports the remedy.

use testkit::proxy::{InjectedFault, is_read, parts};

use super::reports::{assert_state_is_reported, remedies};
use crate::support::cloud::connect;
use crate::support::inventory::Inventory;
use crate::support::scene::{Phase, Scene};

/// AWS answers with a permanent error: the command finishes what does not depend on the failed call, stops without
/// retrying, and reports what failed, with AWS's message, the line of stack.yaml, a remedy, what exists now, and that
/// the same command continues. Then the same command succeeds.
async fn stops_at(phase: Phase, operation: &str, refusal: InjectedFault, exit: i32, hints: &[&str]) {
    let (before, after) = stops(phase, operation, refusal, exit, hints).await;
    assert_ne!(before, after, "independent work is done");
}

/// The same if everything depends on the failed call.
async fn stops_before(phase: Phase, operation: &str, refusal: InjectedFault, exit: i32, hints: &[&str]) {
    let (before, after) = stops(phase, operation, refusal, exit, hints).await;
    assert_eq!(before, after, "nothing is done");
}

/// Calls that Postagram needs for two resources at the same time: a log group of its function and one of its service.
const OF_TWO: &[&str] = &["PutRetentionPolicy"];

/// Returns the inventories before and after the error.
async fn stops(
    phase: Phase,
    operation: &str,
    refusal: InjectedFault,
    exit: i32,
    hints: &[&str],
) -> (Inventory, Inventory) {
    let InjectedFault::Refused(_, code, words) = refusal.clone() else { panic!("the fault must be a refusal") };
    let scene = Scene::local().await;
    scene.prepare(phase).await;
    let before = scene.inventory().await;
    scene.proxy.inject([operation], refusal, usize::MAX);
    let said = scene.run(phase.arguments()).await;
    assert_eq!(said.code, exit, "{}", said.all());
    assert_state_is_reported(&said);
    let operation = operation.split('#').next().expect("there is a first part");
    for text in [code, &words, operation, "stack.yaml:", "the same command continues"] {
        assert!(said.stderr.contains(text), "{text:?} is missing: {}", said.stderr);
    }
    let remedies = remedies(&said, &words);
    assert!(hints.iter().all(|text| remedies.contains(text)), "{hints:?} is missing in {remedies:?}: {}", said.stderr);
    if !is_read(operation) {
        let refused = scene.proxy.calls().iter().filter(|call| parts(call).0 == operation).count();
        let most = if OF_TWO.contains(&operation) { 4 } else { 2 };
        assert!(refused <= most, "it was tried again: {refused} calls of {operation}");
    }
    let after = scene.inventory().await;
    scene.proxy.reset();
    scene.done(phase).await;
    if phase != Phase::Down {
        scene.assert_nothing_to_do("the cause was removed").await;
    }
    scene.end().await;
    (before, after)
}

macro_rules! never {
    ($how:ident: $($test:ident: $phase:ident, $operation:literal, $status:literal, $code:literal, $message:literal, exit $exit:literal, $hints:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        pub async fn $test() {
            $how(Phase::$phase, $operation, InjectedFault::refused($status, $code, $message), $exit, &$hints).await;
        })*
    };
}

never! { stops_before:
    a_refused_identity_fails_at_once:
        Up, "GetCallerIdentity", 403, "InvalidClientTokenId", "The security token included in the request is invalid.",
        exit 77, ["renew the credentials"];
    a_forbidden_look_up_of_the_network_fails_at_once:
        Up, "DescribeVpcs", 403, "UnauthorizedOperation", "You are not authorized to perform this operation.",
        exit 1, ["allow `DescribeVpcs`"];
    a_forbidden_list_of_functions_fails_at_once:
        Change, "ListFunctions", 403, "AccessDeniedException", "User: x is not authorized to perform: lambda:ListFunctions on resource: *",
        exit 1, ["allow `lambda:ListFunctions` for this stack"];
    bucket_tags_that_may_not_be_read_fail_at_once:
        Up, "GetBucketTagging", 403, "AccessDenied", "Access Denied", exit 1, ["allow `GetBucketTagging` for bucket.", "another `name`"];
    a_forbidden_artifact_bucket_fails_at_once:
        Up, "CreateBucket", 403, "AccessDenied", "Access Denied", exit 1, ["allow `CreateBucket` for bucket.artifacts"];
    an_artifact_bucket_beyond_the_quota_fails_at_once:
        Up, "CreateBucket", 400, "TooManyBuckets", "You have attempted to create more buckets than allowed",
        exit 1, ["Service Quotas", "bucket.artifacts"];
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_forbidden_look_up_of_the_network_or_of_domains_does_not_stop_down() {
    let scene = Scene::local().await;
    scene.prepare(Phase::Down).await;
    scene.project.edit("    port: 8080\n", "    port: 8080\n    domain: app.example.org\n");
    // The first call looks for the default network. The second one lists those of the stack, which `down` has to find.
    for (call, code) in [("DescribeVpcs#1", "UnauthorizedOperation"), ("ListHostedZones", "AccessDenied")] {
        scene.proxy.inject([call], InjectedFault::refused(403, code, "You are not authorized."), usize::MAX);
    }
    let said = scene.done(Phase::Down).await;
    for words in [
        "the network of the services is unknown, so their security groups are found by tags: denied (DescribeVpcs)",
        "DNS records of app.example.org could not be looked up; any that exist are left: denied (ListHostedZones)",
        "nothing is left",
    ] {
        assert!(said.stderr.contains(words), "{words}: {}", said.all());
    }
    scene.proxy.reset();
    scene.end().await;
}

never! { stops_at:
    a_web_acl_that_firewall_manager_keeps_fails_at_once:
        Harden, "AssociateWebACL", 400, "WAFInvalidOperationException", "AWS WAF couldn't perform the operation.",
        exit 1, ["leave `load_balancer.waf` out"];
    a_lease_that_may_not_be_written_fails_at_once:
        Up, "PutObject", 403, "AccessDenied", "Access Denied", exit 1, ["allow `PutObject` for this stack"];
    a_forbidden_role_fails_at_once_with_the_remedy_for_a_learner_lab:
        Up, "CreateRole", 403, "AccessDenied", "User: arn:aws:sts::000000000000:assumed-role/voclabs/u is not authorized to perform: iam:CreateRole on resource: x because no identity-based policy allows the iam:CreateRole action",
        exit 1, ["roles: { existing: LabRole"];
    // A deliberate difference from Terraform, which waits two minutes for a user's own policy to propagate (docs/aws.md
    // §2.3): no one grants themselves a permission and runs `up` within seconds, while many users lack the permission,
    // and should learn that without a wait.
    a_missing_permission_of_the_user_fails_at_once:
        Up, "PutRetentionPolicy", 400, "AccessDeniedException", "User: x is not authorized to perform: logs:PutRetentionPolicy because no identity-based policy allows the logs:PutRetentionPolicy action",
        exit 1, ["allow `logs:PutRetentionPolicy`", "log_group.labeler"];
    a_missing_permission_in_ec2_fails_at_once:
        Up, "CreateSecurityGroup", 403, "UnauthorizedOperation", "You are not authorized to perform this operation. Encoded authorization failure message: 4fX",
        exit 1, ["allow `CreateSecurityGroup`", "security_group.web-lb"];
    a_quota_fails_at_once:
        Up, "CreateRole", 409, "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000",
        exit 1, ["Service Quotas", "role.labeler-fn"];
    a_quota_of_load_balancers_fails_at_once:
        Up, "CreateLoadBalancer", 400, "TooManyLoadBalancers", "The maximum number of load balancers has been reached",
        exit 1, ["Service Quotas", "load_balancer.web"];
    a_missing_machine_image_fails_at_once:
        Up, "CreateAutoScalingGroup", 400, "ValidationError", "You must use a valid fully-formed launch template. The image id '[ami-0]' does not exist",
        exit 1, ["correct `image`"];
    a_machine_image_that_the_launch_template_refuses_fails_at_once:
        Up, "CreateLaunchTemplate", 400, "InvalidAMIID.Malformed", "Invalid id: \"ami-x\" (expecting \"ami-...\")",
        exit 1, ["correct `image`"];
    an_account_without_load_balancers_is_referred_to_support:
        Up, "CreateLoadBalancer", 400, "OperationNotPermitted", "This AWS account currently does not support creating load balancers. For more information, please contact AWS Support.",
        exit 1, ["only AWS Support can allow"];
    a_statement_id_that_exists_fails_at_once:
        Up, "AddPermission", 409, "ResourceConflictException", "The statement id (x) provided already exists. Please provide a new statement id, or remove the existing statement.",
        exit 1, ["aws lambda remove-permission"];
    overlapping_notification_filters_fail_at_once:
        Up, "PutBucketNotificationConfiguration", 400, "InvalidArgument", "Configurations overlap. Configurations on the same bucket cannot share a common event type; overlapping suffixes",
        exit 1, ["remove it by hand"];
    a_handler_that_lambda_refuses_fails_at_once:
        Up, "CreateFunction", 400, "InvalidParameterValueException", "Uploaded file must be a non-empty zip",
        exit 1, ["function.labeler", "correct its entry"];
    credentials_that_expire_during_a_wait_end_it:
        Up, "DescribeLoadBalancers#2", 403, "ExpiredToken", "The security token included in the request is expired", exit 77, ["renew the credentials"];
    a_protected_table_stays_whatever_the_error_code:
        Down, "DeleteTable", 400, "ValidationException", "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
        exit 1, ["protect: false"];
    a_protected_table_stays_although_the_error_code_means_in_use:
        Down, "DeleteTable", 400, "ResourceInUseException", "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
        exit 1, ["protect: false"];
}

#[tokio::test(flavor = "multi_thread")]
pub async fn an_old_role_that_lambda_cannot_assume_fails_at_once() {
    let scene = Scene::local().await;
    let words = "The role defined for the function cannot be assumed by Lambda.";
    scene.proxy.inject(
        ["CreateFunction"],
        InjectedFault::refused(400, "InvalidParameterValueException", words),
        usize::MAX,
    );
    scene.proxy.inject(["GetRole"], InjectedFault::reworded(&[("<CreateDate>20", "<CreateDate>19")]), usize::MAX);
    let said = scene.run(Phase::Up.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains(words) && said.stderr.contains("trust policy"), "{}", said.stderr);
    assert_eq!(scene.proxy.calls().iter().filter(|call| call.starts_with("CreateFunction")).count(), 1);
    scene.end().await;
}

/// An image for another architecture would never boot: this is reported before anything is changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_image_for_another_processor_is_refused_with_its_line() {
    let scene = Scene::local().await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let images =
        aws.ec2.describe_images().owners("amazon").send().await.expect("there are images").images.unwrap_or_default();
    let image = |architecture: &str| {
        let of_it = images.iter().find(|image| image.architecture().is_some_and(|it| it.as_str() == architecture));
        of_it.and_then(|image| image.image_id()).expect("there is one of each").to_owned()
    };
    let (fits, other) = (image("x86_64"), image("arm64"));
    scene.project.edit("instance_type: t3.micro\n", &format!("instance_type: t3.micro\n    image: {other}\n"));
    let refused = scene.run(&["plan"]).await;
    assert_eq!(refused.code, 78, "{}", refused.all());
    let problem = format!("the machine image {other} is for arm64, and t3.micro has x86_64");
    let line = scene.project.description().lines().position(|line| line.contains("image:")).expect("it is there") + 1;
    for text in [problem, format!("stack.yaml:{line}"), "hint: name an image for x86_64".into()] {
        assert!(refused.stderr.contains(&text), "{text:?} is missing: {}", refused.all());
    }
    scene.project.edit(&other, &fits);
    assert_eq!(scene.run(&["plan"]).await.code, 0);
    // Without permission to look up images, EC2 reports the error, as before.
    scene.project.edit(&fits, &other);
    let denied =
        InjectedFault::refused(403, "UnauthorizedOperation", "You are not authorized to perform this operation.");
    scene.proxy.inject(["DescribeImages"], denied, usize::MAX);
    assert_eq!(scene.run(&["plan"]).await.code, 0);
    scene.end().await;
}
