//! The clients of the services that we call.

use aws_config::SdkConfig;

use super::{Began, Journal, answer_limit::AnswerLimit, endpoints, pace};

/// Declares the clients, and the names of their services. After a name, a function may change a client's configuration.
macro_rules! clients {
    ($($(#[$doc:meta])* $field:ident: $service:ident = $name:literal $(with $change:ident)?,)*) => {
        /// The clients of one account and region.
        pub struct Clients {
            $($(#[$doc])* pub $field: $service::Client,)*
        }

        /// The services that we call, by the SDK's names.
        pub(super) const SERVICES: &[&str] = &[$($name),*];

        impl Clients {
            pub(super) fn of(config: &SdkConfig, journal: &Journal, began: &Began) -> Clients {
                Clients {
                    $($field: {
                        let builder = $service::config::Builder::from(config);
                        $(let builder = $change(builder, config);)?
                        let builder = builder.interceptor(journal.clone()).interceptor(began.clone());
                        $service::Client::from_conf(builder.interceptor(pace::Label).interceptor(AnswerLimit).build())
                    },)*
                }
            }
        }
    };
}

clients! {
    /// Amazon S3.
    s3: aws_sdk_s3 = "S3" with path_style,
    /// Amazon DynamoDB.
    dynamodb: aws_sdk_dynamodb = "DynamoDB",
    /// AWS Identity and Access Management, which is global.
    iam: aws_sdk_iam = "IAM",
    /// AWS Lambda.
    lambda: aws_sdk_lambda = "Lambda",
    /// Amazon CloudWatch.
    cloudwatch: aws_sdk_cloudwatch = "CloudWatch",
    /// Amazon CloudWatch Logs.
    logs: aws_sdk_cloudwatchlogs = "CloudWatch Logs",
    /// Amazon EC2.
    ec2: aws_sdk_ec2 = "EC2",
    /// Elastic Load Balancing.
    elb: aws_sdk_elasticloadbalancingv2 = "Elastic Load Balancing v2",
    /// AWS Certificate Manager.
    acm: aws_sdk_acm = "ACM",
    /// Amazon Route 53, which is global.
    route53: aws_sdk_route53 = "Route 53",
    /// Amazon EC2 Auto Scaling.
    autoscaling: aws_sdk_autoscaling = "Auto Scaling",
    /// AWS Secrets Manager.
    secrets: aws_sdk_secretsmanager = "Secrets Manager",
    /// AWS Systems Manager, for its Parameter Store.
    ssm: aws_sdk_ssm = "SSM",
    /// Service Quotas.
    quotas: aws_sdk_servicequotas = "Service Quotas",
    /// AWS Security Token Service.
    sts: aws_sdk_sts = "STS",
    /// AWS WAF.
    waf: aws_sdk_wafv2 = "WAFV2",
}

/// Bucket names in host names need AWS's DNS.
fn path_style(builder: aws_sdk_s3::config::Builder, config: &SdkConfig) -> aws_sdk_s3::config::Builder {
    builder.force_path_style(endpoints::of(config, "S3").is_some())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use aws_config::{BehaviorVersion, Region};
    use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
    use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
    use parking_lot::Mutex;

    use super::*;

    /// A configuration that remembers the services whose own settings are looked for.
    #[derive(Debug, Clone, Default)]
    struct Asked(Arc<Mutex<BTreeSet<String>>>);

    impl LoadServiceConfig for Asked {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            self.0.lock().insert(key.service_id().to_owned());
            None
        }
    }

    #[test]
    fn the_names_of_the_services_are_those_by_which_their_clients_find_their_endpoints() {
        let asked = Asked::default();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .sleep_impl(TokioSleep::new())
            .time_source(SystemTimeSource::new())
            .service_config(asked.clone());
        Clients::of(&config.build(), &Journal::default(), &Began::default());
        let names: BTreeSet<String> = SERVICES.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(*asked.0.lock(), names);
    }
}
