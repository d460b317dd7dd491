//! Default quotas of a region, which the services enforce and Service Quotas shows (docs/aws.md §3.5 and §15).

/// VPCs, and internet gateways.
pub const VPCS: usize = 5;
/// Security groups of all VPCs.
pub const SECURITY_GROUPS: usize = 2_500;
/// DynamoDB tables.
pub const TABLES: usize = 2_500;
