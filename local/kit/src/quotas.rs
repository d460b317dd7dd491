//! Default quotas of a region, which the services enforce and Service Quotas shows (docs/aws.md §3.5 and §15).

/// VPCs, and internet gateways.
pub const VPCS: usize = 5;
/// Elastic IP addresses.
pub const ADDRESSES: usize = 5;
/// Security groups of all VPCs.
pub const SECURITY_GROUPS: usize = 2_500;
/// Rules of a security group, in each direction and for each version of IP.
pub const RULES: usize = 60;
/// DynamoDB tables.
pub const TABLES: usize = 2_500;
