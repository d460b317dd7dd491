//! Certificates, and the records of domains.

use super::{
    Sheet, Terraform,
    hcl::{Body, Expr},
    sheet::link,
};
use crate::{
    cloud::aws::Aws,
    engine::{Fault, Live},
    kinds::{alias::Alias, certificate::Certificate, validation_record::ValidationRecord},
};

impl Terraform for Certificate {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let body = Body::new().text("domain_name", &self.domain).text("validation_method", "DNS");
        let address = sheet.add("aws_acm_certificate", &live.output.arn, body.set("tags", sheet.tags()));
        sheet.know(&live.output.arn, format!("{address}.arn"));
        Ok(())
    }
}

const OVERWRITES: &str = "Of the creation of a record only. AWS does not return it.";

impl Terraform for ValidationRecord {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let name = self.record.name.trim_end_matches('.');
        let value = &live.settings.value;
        let body = Body::new()
            .text("zone_id", &self.zone)
            .text("name", name)
            .text("type", "CNAME")
            .set_some("ttl", live.output.ttl_s().map(Expr::int))
            .set("records", Expr::List(vec![Expr::text(value)]))
            .ignoring(OVERWRITES, &["allow_overwrite"]);
        let label = format!("{}_validation", sheet.label());
        sheet.add_as("aws_route53_record", &label, &format!("{}_{name}_CNAME", self.zone), body);
        Ok(())
    }
}

impl Terraform for Alias {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        for (kind, leads_to) in [("A", &live.settings.a), ("AAAA", &live.settings.aaaa)] {
            let Some(leads_to) = leads_to else { continue };
            let target = Body::new()
                .set("name", link(leads_to))
                .text("zone_id", &self.target.zone)
                .flag("evaluate_target_health", false);
            let body = Body::new()
                .text("zone_id", &self.zone)
                .text("name", &self.domain)
                .text("type", kind)
                .block("alias", target)
                .ignoring(OVERWRITES, &["allow_overwrite"]);
            let label = format!("{}_{}", sheet.label(), kind.to_ascii_lowercase());
            sheet.add_as("aws_route53_record", &label, &format!("{}_{}_{kind}", self.zone, self.domain), body);
        }
        Ok(())
    }
}
