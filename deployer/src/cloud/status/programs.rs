//! The programs that a stack has, by their hashes.

use aws_sdk_ec2::types::LaunchTemplateVersion;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::try_join_all;

use crate::{
    cloud::{
        aws::{Aws, found},
        why::{FunctionNames, ServiceNames},
    },
    engine::{Fault, look},
    page::user_data::program,
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
pub async fn deployed(aws: &Aws, functions: &[&FunctionNames], services: &[&ServiceNames]) -> Result<Deployed, Fault> {
    let functions = functions.iter().map(async |names| {
        let answer = look(async || found(aws.lambda.get_function().function_name(&names.name).send().await)).await?;
        let sha256 = answer.and_then(|answer| answer.configuration?.code_sha256);
        Ok::<_, Fault>(sha256.map(|sha256| (names.entry.clone(), sha256)))
    });
    let services = services.iter().map(async |names| {
        let call = aws.ec2.describe_launch_template_versions().launch_template_name(&names.template);
        let answer = look(async || found(call.clone().versions("$Latest").send().await)).await?;
        let newest = answer.and_then(|answer| answer.launch_template_versions?.into_iter().next());
        let sha256 = newest.and_then(|newest| sha256_in(&newest, &names.reports.bucket));
        Ok::<_, Fault>(sha256.map(|sha256| (names.service.clone(), sha256)))
    });
    let (functions, services) = futures::try_join!(try_join_all(functions), try_join_all(services))?;
    Ok(Deployed {
        functions: functions.into_iter().flatten().collect(),
        services: services.into_iter().flatten().collect(),
    })
}

/// Returns the hash of the program that instances of this version download from this bucket.
fn sha256_in(version: &LaunchTemplateVersion, bucket: &str) -> Option<String> {
    let encoded = version.launch_template_data()?.user_data()?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    program(&text).filter(|it| it.bucket == bucket).map(|it| it.sha256.to_owned())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::ResponseLaunchTemplateData;

    use super::*;
    use crate::page::user_data::UserData;

    const BUCKET: &str = "app-artifacts-000000000000-us-east-1";

    #[test]
    fn the_hash_is_that_of_the_program_even_if_a_variable_names_an_object_beside_it() {
        let user_data = UserData {
            stack: "app".into(),
            service: "web".into(),
            region: "us-east-1".into(),
            bucket: BUCKET.into(),
            key: "services/web/abc123".into(),
            stored: Vec::new(),
            environment: [("SEED".into(), format!("s3://{BUCKET}/seed.json"))].into(),
            port: 8080,
            sha256: "abc123".into(),
            commands: None,
            log_group: "/deployer/app/web".into(),
        };
        let encoded = STANDARD.encode(user_data.render().unwrap());
        let data = ResponseLaunchTemplateData::builder().user_data(encoded).build();
        let version = LaunchTemplateVersion::builder().launch_template_data(data).build();
        assert_eq!(sha256_in(&version, BUCKET).as_deref(), Some("abc123"));
        assert_eq!(sha256_in(&version, "another"), None);
    }
}
