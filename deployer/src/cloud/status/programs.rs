//! The programs that a stack has, by their hashes.

use aws_sdk_ec2::types::LaunchTemplateVersion;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::try_join_all;

use crate::{
    cloud::{
        aws::{Aws, found},
        why::{FunctionPlace, Place},
    },
    engine::{Fault, look},
    page::user_data::program_key,
};

/// The hashes of programs, by the entries that run them.
#[derive(Debug, Default)]
pub struct Deployed {
    /// Of functions: SHA-256 of the zip in base64.
    pub functions: Vec<(String, String)>,
    /// Of services: SHA-256 of the program in hexadecimal.
    pub services: Vec<(String, String)>,
}

/// Reads which programs these functions and services have. Those that do not exist are left out.
pub async fn deployed(aws: &Aws, functions: &[&FunctionPlace], services: &[&Place]) -> Result<Deployed, Fault> {
    let functions = functions.iter().map(async |place| {
        let answer = look(async || found(aws.lambda.get_function().function_name(&place.name).send().await)).await?;
        let sha256 = answer.and_then(|answer| answer.configuration?.code_sha256);
        Ok::<_, Fault>(sha256.map(|sha256| (place.entry.clone(), sha256)))
    });
    let services = services.iter().map(async |place| {
        let call = aws.ec2.describe_launch_template_versions().launch_template_name(&place.template);
        let answer = look(async || found(call.clone().versions("$Latest").send().await)).await?;
        let newest = answer.and_then(|answer| answer.launch_template_versions?.into_iter().next());
        let sha256 = newest.and_then(|newest| sha256_in(&newest, &place.reports.bucket));
        Ok::<_, Fault>(sha256.map(|sha256| (place.service.clone(), sha256)))
    });
    let (functions, services) = futures::try_join!(try_join_all(functions), try_join_all(services))?;
    Ok(Deployed {
        functions: functions.into_iter().flatten().collect(),
        services: services.into_iter().flatten().collect(),
    })
}

/// Returns the hash of the program that instances of this version download: the last part of its key.
fn sha256_in(version: &LaunchTemplateVersion, bucket: &str) -> Option<String> {
    let encoded = version.launch_template_data()?.user_data()?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    program_key(&text, bucket)?.rsplit('/').next().map(str::to_owned)
}
