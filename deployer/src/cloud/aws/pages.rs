//! Reads paginated lists to their end.
//!
//! The SDK's paginators stop silently when a token repeats, and never stop while new tokens arrive. Either would make
//! an incomplete list look complete, and the missing entries look deleted.

use std::any::type_name;

use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};

use crate::engine::Fault;

/// More pages than the list of any account has: the smallest pages hold twenty entries.
const MOST_PAGES: usize = 5_000;

/// One page of a list.
pub trait ListPage {
    /// The type of an entry.
    type Item;
    /// Splits the page into its entries and the token of the next page.
    fn into_parts(self) -> (Vec<Self::Item>, Option<String>);
}

/// One row for each list: the page's type, its entries and the next token.
macro_rules! pages {
    ($($service:ident::$operation:ident::$output:ident { $items:ident: $item:ty, $token:ident })*) => {$(
        impl ListPage for $service::operation::$operation::$output {
            type Item = $item;
            fn into_parts(self) -> (Vec<$item>, Option<String>) {
                // Some services always return a list, others omit an empty one.
                (Option::from(self.$items).unwrap_or_default(), self.$token)
            }
        }
    )*};
}

pages! {
    aws_sdk_acm::list_certificates::ListCertificatesOutput
        { certificate_summary_list: aws_sdk_acm::types::CertificateSummary, next_token }
    aws_sdk_autoscaling::describe_auto_scaling_groups::DescribeAutoScalingGroupsOutput
        { auto_scaling_groups: aws_sdk_autoscaling::types::AutoScalingGroup, next_token }
    aws_sdk_cloudwatch::describe_alarms::DescribeAlarmsOutput
        { metric_alarms: aws_sdk_cloudwatch::types::MetricAlarm, next_token }
    aws_sdk_cloudwatch::get_metric_data::GetMetricDataOutput
        { metric_data_results: aws_sdk_cloudwatch::types::MetricDataResult, next_token }
    aws_sdk_cloudwatchlogs::describe_log_groups::DescribeLogGroupsOutput
        { log_groups: aws_sdk_cloudwatchlogs::types::LogGroup, next_token }
    aws_sdk_cloudwatchlogs::filter_log_events::FilterLogEventsOutput
        { events: aws_sdk_cloudwatchlogs::types::FilteredLogEvent, next_token }
    aws_sdk_dynamodb::list_tables::ListTablesOutput { table_names: String, last_evaluated_table_name }
    aws_sdk_ec2::describe_images::DescribeImagesOutput { images: aws_sdk_ec2::types::Image, next_token }
    aws_sdk_ec2::describe_instance_type_offerings::DescribeInstanceTypeOfferingsOutput
        { instance_type_offerings: aws_sdk_ec2::types::InstanceTypeOffering, next_token }
    aws_sdk_ec2::describe_instances::DescribeInstancesOutput
        { reservations: aws_sdk_ec2::types::Reservation, next_token }
    aws_sdk_ec2::describe_launch_template_versions::DescribeLaunchTemplateVersionsOutput
        { launch_template_versions: aws_sdk_ec2::types::LaunchTemplateVersion, next_token }
    aws_sdk_ec2::describe_launch_templates::DescribeLaunchTemplatesOutput
        { launch_templates: aws_sdk_ec2::types::LaunchTemplate, next_token }
    aws_sdk_ec2::describe_route_tables::DescribeRouteTablesOutput
        { route_tables: aws_sdk_ec2::types::RouteTable, next_token }
    aws_sdk_ec2::describe_security_group_rules::DescribeSecurityGroupRulesOutput
        { security_group_rules: aws_sdk_ec2::types::SecurityGroupRule, next_token }
    aws_sdk_ec2::describe_security_groups::DescribeSecurityGroupsOutput
        { security_groups: aws_sdk_ec2::types::SecurityGroup, next_token }
    aws_sdk_ec2::describe_internet_gateways::DescribeInternetGatewaysOutput
        { internet_gateways: aws_sdk_ec2::types::InternetGateway, next_token }
    aws_sdk_ec2::describe_subnets::DescribeSubnetsOutput { subnets: aws_sdk_ec2::types::Subnet, next_token }
    aws_sdk_ec2::describe_vpcs::DescribeVpcsOutput { vpcs: aws_sdk_ec2::types::Vpc, next_token }
    aws_sdk_elasticloadbalancingv2::describe_account_limits::DescribeAccountLimitsOutput
        { limits: aws_sdk_elasticloadbalancingv2::types::Limit, next_marker }
    aws_sdk_elasticloadbalancingv2::describe_listeners::DescribeListenersOutput
        { listeners: aws_sdk_elasticloadbalancingv2::types::Listener, next_marker }
    aws_sdk_elasticloadbalancingv2::describe_load_balancers::DescribeLoadBalancersOutput
        { load_balancers: aws_sdk_elasticloadbalancingv2::types::LoadBalancer, next_marker }
    aws_sdk_elasticloadbalancingv2::describe_rules::DescribeRulesOutput
        { rules: aws_sdk_elasticloadbalancingv2::types::Rule, next_marker }
    aws_sdk_elasticloadbalancingv2::describe_target_groups::DescribeTargetGroupsOutput
        { target_groups: aws_sdk_elasticloadbalancingv2::types::TargetGroup, next_marker }
    aws_sdk_iam::list_attached_role_policies::ListAttachedRolePoliciesOutput
        { attached_policies: aws_sdk_iam::types::AttachedPolicy, marker }
    aws_sdk_iam::list_instance_profiles::ListInstanceProfilesOutput
        { instance_profiles: aws_sdk_iam::types::InstanceProfile, marker }
    aws_sdk_iam::list_instance_profiles_for_role::ListInstanceProfilesForRoleOutput
        { instance_profiles: aws_sdk_iam::types::InstanceProfile, marker }
    aws_sdk_iam::list_role_policies::ListRolePoliciesOutput { policy_names: String, marker }
    aws_sdk_iam::list_roles::ListRolesOutput { roles: aws_sdk_iam::types::Role, marker }
    aws_sdk_iam::simulate_principal_policy::SimulatePrincipalPolicyOutput
        { evaluation_results: aws_sdk_iam::types::EvaluationResult, marker }
    aws_sdk_lambda::list_functions::ListFunctionsOutput
        { functions: aws_sdk_lambda::types::FunctionConfiguration, next_marker }
    aws_sdk_lambda::list_versions_by_function::ListVersionsByFunctionOutput
        { versions: aws_sdk_lambda::types::FunctionConfiguration, next_marker }
    aws_sdk_route53::list_hosted_zones::ListHostedZonesOutput
        { hosted_zones: aws_sdk_route53::types::HostedZone, next_marker }
    aws_sdk_s3::list_objects_v2::ListObjectsV2Output
        { contents: aws_sdk_s3::types::Object, next_continuation_token }
    aws_sdk_secretsmanager::list_secrets::ListSecretsOutput
        { secret_list: aws_sdk_secretsmanager::types::SecretListEntry, next_token }
    aws_sdk_ssm::describe_parameters::DescribeParametersOutput
        { parameters: aws_sdk_ssm::types::ParameterMetadata, next_token }
    aws_sdk_s3::list_buckets::ListBucketsOutput { buckets: aws_sdk_s3::types::Bucket, continuation_token }
}

/// Reads a whole list.
pub async fn items<P: ListPage, E>(
    pages: PaginationStream<Result<P, SdkError<E, HttpResponse>>>,
) -> Result<Vec<P::Item>, Fault>
where
    Fault: From<SdkError<E, HttpResponse>>,
{
    let mut pages = Pages::of(pages);
    let mut all = Vec::new();
    while let Some(page) = pages.next().await? {
        all.extend(page);
    }
    Ok(all)
}

/// The pages of a list, in order.
pub struct Pages<P, E> {
    pages: PaginationStream<Result<P, SdkError<E, HttpResponse>>>,
    position: ListPosition,
}

impl<P: ListPage, E> Pages<P, E>
where
    Fault: From<SdkError<E, HttpResponse>>,
{
    /// Requests pages with a paginator.
    pub fn of(pages: PaginationStream<Result<P, SdkError<E, HttpResponse>>>) -> Self {
        let output = type_name::<P>().rsplit("::").next().unwrap_or_default();
        Pages { pages, position: ListPosition::of(output.strip_suffix("Output").unwrap_or(output)) }
    }

    /// Returns the entries of the next page; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<P::Item>>, Fault> {
        let Some(page) = self.pages.next().await else {
            // The SDK has stopped although there is a token: it repeated the previous one.
            return self.position.token.take().map_or(Ok(None), |token| Err(self.position.stuck(&token)));
        };
        let (items, token) = page?.into_parts();
        self.position.token = token.filter(|token| !token.is_empty());
        self.position.count()?;
        Ok(Some(items))
    }
}

/// The position in a list, also for lists that are read without a paginator.
pub struct ListPosition {
    operation: &'static str,
    token: Option<String>,
    pages: usize,
}

impl ListPosition {
    /// At the beginning of this operation's list.
    pub fn of(operation: &'static str) -> Self {
        ListPosition { operation, token: None, pages: 0 }
    }

    /// Takes the token of the last page and returns the token to request the next page with; `None` at the end of the
    /// list.
    ///
    /// Errors: the token repeats the previous one, or there are too many pages.
    pub fn advance(&mut self, token: Option<String>) -> Result<Option<String>, Fault> {
        let token = token.filter(|token| !token.is_empty());
        match &token {
            Some(next) if self.token.as_ref() == Some(next) => return Err(self.stuck(next)),
            _ => self.token.clone_from(&token),
        }
        self.count()?;
        Ok(token)
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.pages += 1;
        match self.pages > MOST_PAGES && self.token.is_some() {
            true => Err(self.broken(format!("the list does not end: {MOST_PAGES} pages, and there are more"))),
            false => Ok(()),
        }
    }

    fn stuck(&self, token: &str) -> Fault {
        let shown: String = token.chars().take(40).collect();
        self.broken(format!("the list does not advance: page {} repeats the token {shown:?}", self.pages))
    }

    fn broken(&self, message: String) -> Fault {
        Fault::new(self.operation, "BrokenList", message)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::list_tables::{ListTablesError, ListTablesOutput};
    use aws_smithy_async::future::pagination_stream::fn_stream::FnStream;

    use super::*;

    /// Like the SDK's paginator: stops when a page repeats the token that it was requested with.
    fn list(tokens: impl Iterator<Item = String> + Send + 'static) -> PaginationStream<Answer> {
        PaginationStream::new(FnStream::new(|tx| {
            Box::pin(async move {
                let mut before = None;
                for token in tokens {
                    let page = ListTablesOutput::builder().table_names("posts").last_evaluated_table_name(&token);
                    if tx.send(Ok(page.build())).await.is_err() || before.as_ref() == Some(&token) {
                        return;
                    }
                    before = Some(token);
                }
            })
        }))
    }

    type Answer = Result<ListTablesOutput, SdkError<ListTablesError, HttpResponse>>;

    #[tokio::test]
    async fn a_list_is_read_to_its_end() {
        let all = items(list(["a", "b", ""].map(String::from).into_iter())).await.unwrap();
        assert_eq!(all.len(), 3);
    }

    #[tokio::test]
    async fn a_repeated_token_is_an_error_and_not_the_end() {
        let fault = items(list(["a", "b", "b"].map(String::from).into_iter())).await.unwrap_err();
        assert_eq!((fault.operation.as_str(), fault.code.as_str()), ("ListTables", "BrokenList"));
        assert_eq!(fault.message, r#"the list does not advance: page 3 repeats the token "b""#);
        let mut position = ListPosition::of("ListTagsOfResource");
        assert_eq!(position.advance(Some("a".into())).unwrap().as_deref(), Some("a"));
        assert!(position.advance(Some("a".into())).is_err());
        assert_eq!(ListPosition::of("ListTagsOfResource").advance(Some(String::new())).unwrap(), None);
    }

    #[tokio::test]
    async fn pages_without_end_are_an_error() {
        let fault = items(list((0..).map(|page| page.to_string()))).await.unwrap_err();
        assert_eq!(fault.message, "the list does not end: 5000 pages, and there are more");
    }
}
