//! Roles, and instance profiles.

use super::{
    Sheet, TERRAFORMS_OWN, Terraform,
    hcl::{Body, Expr},
    sheet::{json, link_as},
};
use crate::{
    cloud::aws::Aws,
    engine::{Fault, Live},
    kinds::{
        instance_profile::InstanceProfile,
        role::{POLICY, Role},
    },
};

impl Terraform for Role {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let body = Body::new()
            .text("name", &self.name)
            .text("path", &live.settings.path)
            .set("assume_role_policy", json(&live.settings.trust()))
            .set("tags", sheet.tags())
            .ignoring(TERRAFORMS_OWN, &["force_detach_policies"]);
        let address = sheet.add("aws_iam_role", &self.name, body);
        sheet.know_as("role", &self.name, format!("{address}.name"));
        sheet.know(&live.output.arn, format!("{address}.arn"));
        if !live.settings.policy.is_null() {
            let body = Body::new()
                .text("name", POLICY)
                .set("role", Expr::raw(format!("{address}.name")))
                .set("policy", json(&live.settings.policy));
            sheet.add("aws_iam_role_policy", &format!("{}:{POLICY}", self.name), body);
        }
        Ok(())
    }
}

impl Terraform for InstanceProfile {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let role = live.settings.role.as_ref().map(|role| link_as("role", role));
        let body = Body::new().text("name", &self.name).text("path", &live.settings.path).set_some("role", role);
        let address = sheet.add("aws_iam_instance_profile", &self.name, body.set("tags", sheet.tags()));
        sheet.know_as("profile", &self.name, format!("{address}.name"));
        Ok(())
    }
}
