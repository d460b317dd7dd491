//! Secrets and parameters, without their values.

use super::{
    Sheet, TERRAFORMS_OWN, Terraform,
    hcl::{Body, Expr},
    sheet::Mark,
};
use crate::{
    cloud::{
        aws::Aws,
        stored_values::{WINDOW_DAYS, parameter, secret},
    },
    engine::{Fault, Live},
    kinds::{parameter::Parameter, secret::Secret},
};

/// An import leaves the window empty. Were it ignored, it would stay so, and the provider takes an empty one for 0: it deletes
/// the secret for good (docs/aws.md §24).
const WINDOW: Mark = (
    "secret",
    "An import does not read `recovery_window_in_days`, the days in which a deleted one can be restored. \
     Nothing is sent to AWS.",
);

impl Terraform for Secret {
    /// Its value would be a resource of its own, and stays out of the configuration and of the state.
    async fn write(&self, _: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let Some(secret) = secret(aws, &self.name).await? else { return Ok(()) };
        let body = Body::new()
            .text("name", &self.name)
            .set_some("description", secret.description().filter(|text| !text.is_empty()).map(Expr::text))
            .set_some("kms_key_id", secret.kms_key_id().map(Expr::text))
            .int("recovery_window_in_days", WINDOW_DAYS)
            .set("tags", sheet.tags())
            .ignoring(TERRAFORMS_OWN, &["force_overwrite_replica_secret"]);
        let address = sheet.add("aws_secretsmanager_secret", secret.arn().unwrap_or_default(), body);
        sheet.mark(&address, WINDOW);
        sheet.leave_out(format!("the value of the secret {}", self.name));
        Ok(())
    }
}

const VALUE: &str = "AWS keeps its value. Terraform reads it into its state, and leaves it as it is. Only a parameter that Terraform\n\
                     creates anew has the value above.";
/// The placeholder for the value of a parameter. Terraform writes it if it recreates the parameter, since
/// `ignore_changes` is about changes only.
pub(super) const NO_VALUE: &str = "kept in AWS";

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
