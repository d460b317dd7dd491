//! Kinds of state in Route 53 and Certificate Manager.

use super::{BoxError, Clients, Kind};

/// The domain of the hosted zone and of the certificate that represent this name.
pub(super) fn domain(name: &str) -> String {
    format!("{name}.example.com")
}

impl Clients {
    pub(super) async fn write_domain(&self, kind: Kind, name: &str, value: &str) -> Result<(), BoxError> {
        if kind == Kind::HostedZone {
            let update = self.route53.update_hosted_zone_comment().id(self.zone(name).await?.id).comment(value);
            update.send().await?;
            return Ok(());
        }
        let tag = aws_sdk_acm::types::Tag::builder().key("v").value(value).build()?;
        let add = self.acm.add_tags_to_certificate().certificate_arn(self.certificate(name).await?).tags(tag);
        add.send().await?;
        Ok(())
    }

    pub(super) async fn read_domain(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        if kind == Kind::HostedZone {
            return Ok(self.zone(name).await?.config.and_then(|config| config.comment));
        }
        let tags = self.acm.list_tags_for_certificate().certificate_arn(self.certificate(name).await?).send().await?;
        Ok(tags.tags().first().and_then(|tag| tag.value.clone()))
    }

    async fn zone(&self, name: &str) -> Result<aws_sdk_route53::types::HostedZone, BoxError> {
        let zones = self.route53.list_hosted_zones_by_name().dns_name(domain(name)).max_items(1).send().await?;
        zones.hosted_zones.into_iter().next().ok_or_else(|| format!("the zone of {name} is gone").into())
    }

    async fn certificate(&self, name: &str) -> Result<String, BoxError> {
        let certificates = self.acm.list_certificates().send().await?.certificate_summary_list.unwrap_or_default();
        let domain = domain(name);
        let found = certificates.into_iter().find(|one| one.domain_name.as_deref() == Some(domain.as_str()));
        found.and_then(|one| one.certificate_arn).ok_or_else(|| format!("the certificate of {name} is gone").into())
    }
}
