//! The web ACL of a load balancer.

use std::time::Duration;

use aws_sdk_wafv2::types::Scope;

use crate::{cloud::aws::Aws, engine::Fault};

/// The code for a web ACL, or a load balancer, that does not exist.
const ABSENT: &str = "WAFNonexistentItemException";

/// WAF may take minutes to see a new load balancer (docs/aws.md §9.11).
const SEEN_WITHIN: Duration = Duration::from_secs(600);

/// Returns the ARN of the web ACL of a load balancer.
pub(super) async fn read(aws: &Aws, balancer: &str) -> Result<Option<String>, Fault> {
    let answer = aws.waf.get_web_acl_for_resource().resource_arn(balancer).send().await?;
    Ok(answer.web_acl.map(|web_acl| web_acl.arn))
}

/// Associates a web ACL with a load balancer. It takes the place of another one.
pub(super) async fn associate(aws: &Aws, balancer: &str, web_acl: &str) -> Result<(), Fault> {
    let call = aws.waf.associate_web_acl().resource_arn(balancer).web_acl_arn(web_acl);
    let Err(fault) = call.send().await.map_err(Fault::from) else { return Ok(()) };
    // The error does not show which of the two is absent. The load balancer has just been read.
    match fault.code == ABSENT && exists(aws, web_acl).await? {
        true => Err(fault.within(SEEN_WITHIN)),
        false => Err(fault),
    }
}

/// Disassociates the web ACL of a load balancer, if it has one.
pub(super) async fn disassociate(aws: &Aws, balancer: &str) -> Result<(), Fault> {
    aws.waf.disassociate_web_acl().resource_arn(balancer).send().await?;
    Ok(())
}

/// Whether there is a web ACL with this ARN.
async fn exists(aws: &Aws, web_acl: &str) -> Result<bool, Fault> {
    let named = web_acl.rsplit_once("/webacl/").and_then(|(_, named)| named.split_once('/'));
    let Some((name, id)) = named else { return Ok(false) };
    let call = aws.waf.get_web_acl().name(name).id(id).scope(Scope::Regional);
    match call.send().await.map_err(Fault::from) {
        Ok(_) => Ok(true),
        Err(fault) if fault.code == ABSENT => Ok(false),
        Err(fault) => Err(fault),
    }
}
