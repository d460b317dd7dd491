//! Lines of a description that make a stack safer, each of which is off by default.

use super::Project;

/// Texts of the shipped description, and the same with the lines.
const LINES: &[(&str, &str)] = &[
    (
        "    on_upload: { function: labeler }",
        "    versioning: true\n    lifecycle: { expire_days: 90, noncurrent_days: 30 }\n    key: alias/app\n    on_upload: { function: labeler, \
         suffix: .png }",
    ),
    (
        "    timeout_s: 30\n",
        "    timeout_s: 30\n    concurrency: 20\n    on_failure: ${buckets.images.arn}\n    tracing: true\n    \
         key: arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012\n    \
         log_key: arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012\n",
    ),
    (
        "    load_balancer: {",
        "    access_logs: true\n    load_balancer: { waf: \
         \"arn:aws:wafv2:us-east-1:000000000000:regional/webacl/app/12345678-1234-1234-1234-123456789012\",",
    ),
];

/// The operations that only these lines need, and those that write what they share with others.
pub const OPERATIONS: &[&str] = &[
    "AssociateKmsKey",
    "AssociateWebACL",
    "DeleteFunctionConcurrency",
    "DeleteFunctionEventInvokeConfig",
    "DisassociateKmsKey",
    "DisassociateWebACL",
    "ModifyLoadBalancerAttributes",
    "PutBucketEncryption",
    "PutBucketLifecycleConfiguration",
    "PutBucketPolicy",
    "PutBucketVersioning",
    "PutFunctionConcurrency",
    "PutFunctionEventInvokeConfig",
];

/// Adds the lines.
pub fn add(project: &Project) {
    LINES.iter().for_each(|(without, with)| project.edit(without, with));
}

/// Removes the lines. Without `none`, the web ACL would stay.
pub fn remove(project: &Project) {
    LINES.iter().for_each(|(without, with)| project.edit(with, without));
    project.edit("    load_balancer: {", "    load_balancer: { waf: none,");
}
