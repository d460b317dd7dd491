//! The CORS rules of a bucket.

use aws_sdk_s3::types::CorsConfiguration;
use serde::Serialize;

use super::Bucket;
use crate::{
    cloud::aws::{Aws, found, gone},
    engine::Fault,
};

/// A CORS rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CorsRule {
    /// Origins, or `*`.
    pub origins: Vec<String>,
    /// HTTP methods.
    pub methods: Vec<String>,
    /// Allowed request headers.
    pub headers: Vec<String>,
    /// Response headers that pages may read.
    pub expose: Vec<String>,
    /// How long a browser may cache the answer to a preflight, in seconds.
    pub max_age_s: Option<i32>,
}

impl Bucket {
    pub(super) async fn cors(&self, aws: &Aws) -> Result<Vec<CorsRule>, Fault> {
        let call = aws.s3.get_bucket_cors().bucket(&self.name).set_expected_bucket_owner(self.owner());
        let answer = found(call.send().await)?;
        let rules = answer.as_ref().map(|answer| answer.cors_rules()).unwrap_or_default();
        Ok(rules.iter().map(CorsRule::from_s3).collect())
    }

    pub(super) async fn put_cors(&self, aws: &Aws, rules: &[CorsRule]) -> Result<(), Fault> {
        if rules.is_empty() {
            let call = aws.s3.delete_bucket_cors().bucket(&self.name).set_expected_bucket_owner(self.owner());
            return gone(call.send().await);
        }
        let cors = CorsConfiguration::builder()
            .set_cors_rules(Some(rules.iter().map(CorsRule::to_s3).collect()))
            .build()
            .expect("the rules are given");
        let call = aws.s3.put_bucket_cors().bucket(&self.name).set_expected_bucket_owner(self.owner());
        call.cors_configuration(cors).send().await?;
        Ok(())
    }
}

impl CorsRule {
    pub(super) fn sorted(mut self) -> Self {
        for list in [&mut self.origins, &mut self.methods, &mut self.headers, &mut self.expose] {
            list.sort();
        }
        self
    }

    fn from_s3(rule: &aws_sdk_s3::types::CorsRule) -> CorsRule {
        let rule = CorsRule {
            origins: rule.allowed_origins().to_vec(),
            methods: rule.allowed_methods().to_vec(),
            headers: rule.allowed_headers().to_vec(),
            expose: rule.expose_headers().to_vec(),
            max_age_s: rule.max_age_seconds(),
        };
        rule.sorted()
    }

    fn to_s3(&self) -> aws_sdk_s3::types::CorsRule {
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        aws_sdk_s3::types::CorsRule::builder()
            .set_allowed_origins(Some(self.origins.clone()))
            .set_allowed_methods(Some(self.methods.clone()))
            .set_allowed_headers(some(&self.headers))
            .set_expose_headers(some(&self.expose))
            .set_max_age_seconds(self.max_age_s)
            .build()
            .expect("origins and methods are given")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn the_order_within_a_cors_rule_is_no_difference() {
        let rule = |methods: [&str; 2]| CorsRule {
            origins: vec!["*".into()],
            methods: methods.map(str::to_owned).into(),
            headers: vec![],
            expose: vec!["ETag".into()],
            max_age_s: Some(3000),
        };
        assert_eq!(Settings::private(vec![rule(["PUT", "GET"])]), Settings::private(vec![rule(["GET", "PUT"])]));
        let there = rule(["PUT", "GET"]).to_s3();
        assert_eq!(vec![CorsRule::from_s3(&there)], Settings::private(vec![rule(["GET", "PUT"])]).cors);
    }
}
