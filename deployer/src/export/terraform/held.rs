//! Secrets and parameters, without their values.

use super::{
    Sheet, TERRAFORMS_OWN, Terraform,
    hcl::{Body, Expr},
};
use crate::{
    cloud::{
        aws::Aws,
        held::{parameter, secret},
    },
    engine::{Fault, Live},
    kinds::{parameter::Parameter, secret::Secret},
};

impl Terraform for Secret {
    /// Its value would be a resource of its own, and stays out of the configuration and of the state.
    async fn write(&self, _: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let Some(secret) = secret(aws, &self.name).await? else { return Ok(()) };
        let body = Body::new()
            .text("name", &self.name)
            .set_some("description", secret.description().filter(|text| !text.is_empty()).map(Expr::text))
            .set_some("kms_key_id", secret.kms_key_id().map(Expr::text))
            .set("tags", sheet.tags())
            .ignoring(TERRAFORMS_OWN, &["recovery_window_in_days", "force_overwrite_replica_secret"]);
        sheet.add("aws_secretsmanager_secret", secret.arn().unwrap_or_default(), body);
        sheet.leave_out(format!("the value of the secret {}", self.name));
        Ok(())
    }
}

const VALUE: &str = "Its value is kept in AWS alone. Terraform reads it into its state, and never writes it.";
/// Stands for the value of a parameter. It is never written.
const NO_VALUE: &str = "kept in AWS";

impl Terraform for Parameter {
    async fn write(&self, _: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let Some(there) = parameter(aws, &self.name).await? else { return Ok(()) };
        let body = Body::new()
            .text("name", &self.name)
            .text("type", there.r#type().map_or("SecureString", |kind| kind.as_str()))
            .text("value", NO_VALUE)
            .set_some("description", there.description().filter(|text| !text.is_empty()).map(Expr::text))
            .set("tags", sheet.tags())
            .ignoring(VALUE, &["value", "overwrite"]);
        sheet.add("aws_ssm_parameter", &self.name, body);
        sheet.leave_out(format!("the value of the parameter {}", self.name));
        Ok(())
    }
}
