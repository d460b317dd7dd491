//! Temporary errors: the command waits, and then succeeds.

use testkit::proxy::InjectedFault;

use crate::support::cloud::connect;
use crate::support::hands::Hands;
use crate::support::inventory::Inventory;
use crate::support::scene::{Phase, Scene};

/// AWS answers with a temporary error `times` times: the command waits and then succeeds.
async fn waits_for(phase: Phase, operation: &str, status: u16, code: &'static str, message: &str, times: usize) {
    let scene = match phase {
        Phase::Settle | Phase::Leave => Scene::network().await,
        _ => Scene::local().await,
    };
    scene.prepare(phase).await;
    if operation == "UpdateFunctionCode" {
        scene.project.change_function();
    }
    scene.proxy.inject([operation], InjectedFault::refused(status, code, message), times);
    let said = scene.done(phase).await;
    assert!(!said.stderr.contains("error:"), "{}", said.stderr);
    assert!(scene.proxy.hit().contains(operation), "{operation} was never called: {:?}", scene.proxy.calls());
    match phase {
        Phase::Down | Phase::Leave => assert_eq!(scene.inventory().await, Inventory::new()),
        _ => scene.assert_nothing_to_do(operation).await,
    }
    scene.end().await;
}

macro_rules! not_yet {
    ($($test:ident: $phase:ident, $operation:literal, $status:literal, $code:literal, $message:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        pub async fn $test() {
            waits_for(Phase::$phase, $operation, $status, $code, $message, 3).await;
        })*
    };
}

// The table of docs/aws.md §2.3, and the cases of §19 that are a single answer. Exceptions: RunInstances, which is
// called by the Auto Scaling group; calls that only repair manual changes, see `repaired_later!`; DescribeListeners,
// see `a_listener_that_cannot_be_seen_yet_is_waited_for`; PutRetentionPolicy, see
// `a_missing_permission_of_the_user_fails_at_once`.
not_yet! {
    a_vpc_that_cannot_be_seen_yet_gets_its_subnets_later:
        Settle, "CreateSubnet", 400, "InvalidVpcID.NotFound", "The vpc ID 'vpc-0' does not exist";
    a_gateway_that_cannot_be_seen_yet_is_attached_later:
        Settle, "AttachInternetGateway", 400, "InvalidInternetGatewayID.NotFound", "The internetGateway ID 'igw-0' does not exist";
    a_route_table_that_cannot_be_seen_yet_gets_its_route_later:
        Settle, "CreateRoute", 400, "InvalidRouteTableID.NotFound", "The routeTable ID 'rtb-0' does not exist";
    a_gateway_that_cannot_be_seen_yet_gets_its_route_later:
        Settle, "CreateRoute", 400, "InvalidGatewayID.NotFound", "The gateway ID 'igw-0' does not exist";
    a_gateway_that_cannot_be_seen_attached_yet_is_waited_for:
        Settle, "AttachInternetGateway", 400, "Resource.AlreadyAssociated", "resource igw-0 is already attached to network vpc-0";
    a_route_that_cannot_be_seen_yet_is_waited_for:
        Settle, "CreateRoute", 400, "RouteAlreadyExists", "The route identified by 0.0.0.0/0 already exists.";
    a_subnet_that_cannot_be_seen_yet_gets_its_route_table_later:
        Settle, "AssociateRouteTable", 400, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-0' does not exist";
    a_subnet_whose_gateway_is_not_in_force_yet_gets_its_load_balancer_later:
        Settle, "CreateLoadBalancer", 400, "InvalidSubnet", "VPC vpc-0 has no internet gateway";
    a_subnet_that_the_load_balancer_cannot_see_yet_is_waited_for:
        Settle, "CreateLoadBalancer", 400, "SubnetNotFound", "The subnet ID 'subnet-0' does not exist";
    a_subnet_is_deleted_after_the_addresses_of_its_load_balancer:
        Leave, "DeleteSubnet", 400, "DependencyViolation", "The subnet 'subnet-0' has dependencies and cannot be deleted.";
    a_gateway_is_detached_after_the_addresses_of_its_load_balancer:
        Leave, "DetachInternetGateway", 400, "DependencyViolation", "Network vpc-0 has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.";
    a_gateway_that_is_still_attached_is_deleted_later:
        Leave, "DeleteInternetGateway", 400, "DependencyViolation", "The internetGateway 'igw-0' has dependencies and cannot be deleted.";
    a_route_table_that_is_still_in_use_is_deleted_later:
        Leave, "DeleteRouteTable", 400, "DependencyViolation", "The routeTable 'rtb-0' has dependencies and cannot be deleted.";
    a_vpc_whose_parts_are_still_there_is_deleted_later:
        Leave, "DeleteVpc", 400, "DependencyViolation", "The vpc 'vpc-0' has dependencies and cannot be deleted.";
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
    a_bucket_that_cannot_be_seen_yet_keeps_versions_later:
        Harden, "PutBucketVersioning", 404, "NoSuchBucket", "The specified bucket does not exist";
    a_bucket_that_load_balancers_may_not_write_to_yet_gets_access_logs_later:
        Harden, "ModifyLoadBalancerAttributes", 400, "InvalidConfigurationRequest", "Access Denied for bucket: b. Please check S3bucket permission";
    a_web_acl_that_is_not_available_yet_is_associated_later:
        Harden, "AssociateWebACL", 400, "WAFUnavailableEntityException", "AWS WAF couldn't retrieve the resource that you requested. Retry your request.";
    a_load_balancer_that_waf_does_not_see_yet_gets_its_web_acl_later:
        Harden, "AssociateWebACL", 400, "WAFNonexistentItemException", "AWS WAF couldn't perform the operation because your resource doesn't exist.";
    a_load_balancer_that_waf_does_not_see_yet_loses_its_web_acl_later:
        Soften, "DisassociateWebACL", 400, "WAFNonexistentItemException", "AWS WAF couldn't perform the operation because your resource doesn't exist.";
    a_role_that_may_not_record_failed_events_yet_is_waited_for:
        Harden, "PutFunctionEventInvokeConfig", 400, "InvalidParameterValueException", "The function's execution role does not have permissions to call PutObject on arn:aws:s3:::b";
    a_bucket_that_lambda_cannot_see_yet_takes_failed_events_later:
        Harden, "PutFunctionEventInvokeConfig", 400, "InvalidParameterValueException", "The destination ARN arn:aws:s3:::b is invalid.";
    a_function_that_is_being_updated_gets_its_destination_later:
        Harden, "PutFunctionEventInvokeConfig", 409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource";
    a_function_that_is_being_updated_loses_its_destination_later:
        Soften, "DeleteFunctionEventInvokeConfig", 409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource";
    a_function_that_is_being_updated_gets_its_concurrency_later:
        Harden, "PutFunctionConcurrency", 409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource";
    a_function_that_is_being_updated_loses_its_concurrency_later:
        Soften, "DeleteFunctionConcurrency", 409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource";
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
    scene.proxy.inject([operation], InjectedFault::refused(status, code, message), 3);
    let said = scene.done(Phase::Up).await;
    assert!(!said.stderr.contains("error:"), "{}", said.stderr);
    assert!(scene.proxy.hit().contains(operation), "{operation} was never called: {:?}", scene.proxy.calls());
    scene.assert_nothing_to_do(operation).await;
    scene.end().await;
}

macro_rules! repaired_later {
    ($($test:ident: $changed:expr, $operation:literal, $status:literal, $code:literal, $message:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        pub async fn $test() {
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
    let unseen = InjectedFault::refused(400, "ListenerNotFound", "One or more listeners not found");
    scene.proxy.inject(["DescribeListeners"], unseen, 3);
    scene.done(Phase::Up).await;
    assert!(scene.proxy.hit().contains("DescribeListeners"), "{:?}", scene.proxy.calls());
    assert_eq!(scene.inventory().await, before, "nothing was made twice");
    scene.assert_nothing_to_do("a listener was not seen").await;
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn backups_of_a_new_table_that_are_still_being_enabled_are_waited_for() {
    let scene = Scene::local().await;
    scene.project.edit("sort_key: id", "sort_key: id, point_in_time_recovery: true");
    let words = "Backups are being enabled for the table: x. Please retry later";
    let refused = InjectedFault::refused(400, "ContinuousBackupsUnavailableException", words);
    scene.proxy.inject(["UpdateContinuousBackups"], refused, 5);
    scene.done(Phase::Up).await;
    assert!(scene.proxy.hit().contains("UpdateContinuousBackups"), "{:?}", scene.proxy.calls());
    scene.assert_nothing_to_do("the backups are enabled").await;
    scene.end().await;
}
