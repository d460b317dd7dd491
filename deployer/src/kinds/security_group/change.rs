//! Changes of the rules of a group.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::IpPermission;

use super::rule::{SecurityGroupRule, permissions};
use crate::{
    cloud::aws::{Aws, gone},
    engine::Fault,
};

/// The direction of rules.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    In,
    Out,
}

pub(super) async fn change(
    aws: &Aws,
    way: Way,
    id: &str,
    want: &BTreeSet<SecurityGroupRule>,
    there: &BTreeSet<SecurityGroupRule>,
) -> Result<(), Fault> {
    let missing = permissions(want.iter().filter(|rule| !rule.is_allowed_by(there)));
    let described = want.iter().filter(|rule| rule.is_allowed_by(there) && !there.contains(*rule));
    let described = permissions(described);
    let superfluous = permissions(there.iter().filter(|rule| !rule.is_allowed_by(want)));
    authorize(aws, way, id, missing).await?;
    describe(aws, way, id, described).await?;
    revoke(aws, way, id, superfluous).await
}

pub(super) async fn authorize(aws: &Aws, way: Way, id: &str, permissions: Vec<IpPermission>) -> Result<(), Fault> {
    if permissions.is_empty() {
        return Ok(());
    }
    match way {
        Way::In => {
            let call = aws.ec2.authorize_security_group_ingress().group_id(id);
            call.set_ip_permissions(Some(permissions)).send().await?;
        }
        Way::Out => {
            let call = aws.ec2.authorize_security_group_egress().group_id(id);
            call.set_ip_permissions(Some(permissions)).send().await?;
        }
    }
    Ok(())
}

/// Sets the descriptions of rules that exist: authorising them again would be refused as a duplicate.
async fn describe(aws: &Aws, way: Way, id: &str, permissions: Vec<IpPermission>) -> Result<(), Fault> {
    if permissions.is_empty() {
        return Ok(());
    }
    match way {
        Way::In => {
            let call = aws.ec2.update_security_group_rule_descriptions_ingress().group_id(id);
            call.set_ip_permissions(Some(permissions)).send().await?;
        }
        Way::Out => {
            let call = aws.ec2.update_security_group_rule_descriptions_egress().group_id(id);
            call.set_ip_permissions(Some(permissions)).send().await?;
        }
    }
    Ok(())
}

pub(super) async fn revoke(aws: &Aws, way: Way, id: &str, permissions: Vec<IpPermission>) -> Result<(), Fault> {
    if permissions.is_empty() {
        return Ok(());
    }
    match way {
        Way::In => {
            let call = aws.ec2.revoke_security_group_ingress().group_id(id);
            gone(call.set_ip_permissions(Some(permissions)).send().await)
        }
        Way::Out => {
            let call = aws.ec2.revoke_security_group_egress().group_id(id);
            gone(call.set_ip_permissions(Some(permissions)).send().await)
        }
    }
}
