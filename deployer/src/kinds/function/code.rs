//! The programs of a function and of its versions.

use std::sync::Arc;

use aws_sdk_lambda::types::Architecture;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::{Function, Settings};
use crate::{
    cloud::aws::{Aws, download},
    engine::Fault,
};

impl Function {
    /// Downloads the code of one of its published versions, as settings can carry it.
    ///
    /// Errors: the downloaded code has another SHA-256.
    pub async fn code_of(&self, aws: &Aws, number: i64, sha256: &str) -> Result<Arc<[u8]>, Fault> {
        self.code_at(aws, Some(number), sha256).await
    }

    /// Downloads its present code.
    ///
    /// Errors: what was downloaded is not the code with this SHA-256.
    pub async fn code(&self, aws: &Aws, sha256: &str) -> Result<Arc<[u8]>, Fault> {
        self.code_at(aws, None, sha256).await
    }

    async fn code_at(&self, aws: &Aws, version: Option<i64>, sha256: &str) -> Result<Arc<[u8]>, Fault> {
        let version = version.map(|number| number.to_string());
        let call = aws.lambda.get_function().function_name(&self.name).set_qualifier(version.clone());
        let location = call.send().await?.code.and_then(|code| code.location).unwrap_or_default();
        let zip = download(aws, &location).await?;
        let which = version.map(|number| format!(" of version {number}")).unwrap_or_default();
        match STANDARD.encode(Sha256::digest(&zip)) == sha256 {
            true => Ok(zip.into()),
            false => Err(Fault::new("GetFunction", "OtherCode", format!("the code{which} is not as it was"))),
        }
    }

    /// The architecture changes together with its program.
    pub(super) async fn send_code(&self, aws: &Aws, want: &Settings) -> Result<(), Fault> {
        aws.lambda
            .update_function_code()
            .function_name(&self.name)
            .zip_file(want.blob())
            .architectures(Architecture::from(want.architecture.as_str()))
            .customize()
            .config_override(want.patient(aws))
            .send()
            .await?;
        Ok(())
    }
}
