//! The inventory of an account, by name: tests compare two of them, so that neither duplicates nor orphans go
//! unnoticed.

use std::{collections::BTreeMap, fmt::Display};

use aws_sdk_acm::types::{Filters, KeyAlgorithm};
use aws_sdk_route53::types::ResourceRecordSet;
use deployer::{cloud::aws::Aws, page::user_data::REPORTS};

use super::cloud::connect;

/// The names of all resources, each with the number of times it exists.
pub type Inventory = BTreeMap<String, usize>;

/// Lists everything in an account, regardless of its owner.
pub async fn inventory(endpoint: &str, keys: (&str, &str)) -> Inventory {
    let aws = connect(endpoint, keys).await;
    let mut all = Collector::default();
    buckets(&aws, &mut all).await;
    roles(&aws, &mut all).await;
    functions(&aws, &mut all).await;
    machines(&aws, &mut all).await;
    balancers(&aws, &mut all).await;
    alarms(&aws, &mut all).await;
    certificates(&aws, &mut all).await;
    zones(&aws, &mut all).await;
    networks(&aws, &mut all).await;
    for name in aws.dynamodb.list_tables().send().await.expect("tables").table_names() {
        all.add("table", name);
    }
    all.0
}

#[derive(Default)]
struct Collector(Inventory);

impl Collector {
    fn add(&mut self, kind: &str, name: impl Display) {
        *self.0.entry(format!("{kind} {name}")).or_default() += 1;
    }
}

async fn buckets(aws: &Aws, all: &mut Collector) {
    for bucket in aws.s3.list_buckets().send().await.expect("buckets").buckets() {
        let name = bucket.name().expect("a bucket has a name");
        all.add("bucket", name);
        for object in aws.s3.list_objects_v2().bucket(name).send().await.expect("objects").contents() {
            let key = object.key().unwrap_or_default();
            // Which reports an instance writes, and under which ID, differs from run to run, and so do access logs.
            if !key.starts_with(REPORTS) && !key.ends_with(".log.gz") {
                all.add("object", format!("{name}/{key}"));
            }
        }
        notifications(aws, name, all).await;
        let uploads = aws.s3.list_multipart_uploads().bucket(name).send().await.expect("uploads");
        assert!(uploads.uploads().is_empty(), "{name} has unfinished uploads");
    }
}

async fn notifications(aws: &Aws, bucket: &str, all: &mut Collector) {
    match aws.s3.get_bucket_notification_configuration().bucket(bucket).send().await {
        Ok(document) => {
            let ids = document.lambda_function_configurations().iter().map(|entry| entry.id().unwrap_or_default());
            ids.for_each(|id| all.add("notification", format!("{bucket}/{id}")));
        }
        // moto's error for an empty document.
        Err(error) => assert!(format!("{error:?}").contains("GetBucketNotificationResponse"), "{bucket}: {error:?}"),
    }
}

async fn roles(aws: &Aws, all: &mut Collector) {
    for role in aws.iam.list_roles().send().await.expect("roles").roles() {
        all.add("role", role.role_name());
        let policies = aws.iam.list_role_policies().role_name(role.role_name()).send().await.expect("policies");
        policies.policy_names().iter().for_each(|policy| all.add("policy", format!("{}/{policy}", role.role_name())));
    }
    for profile in aws.iam.list_instance_profiles().send().await.expect("profiles").instance_profiles() {
        all.add("profile", profile.instance_profile_name());
        let roles = profile.roles().iter().map(|role| role.role_name());
        roles.for_each(|role| all.add("role in profile", format!("{}/{role}", profile.instance_profile_name())));
    }
}

async fn functions(aws: &Aws, all: &mut Collector) {
    for function in aws.lambda.list_functions().send().await.expect("functions").functions() {
        let name = function.function_name().unwrap_or_default();
        all.add("function", name);
        let versions = aws.lambda.list_versions_by_function().function_name(name).send().await.expect("versions");
        for version in versions.versions().iter().filter_map(|version| version.version()) {
            all.add("version", format!("{name}:{version}"));
        }
    }
    for group in aws.logs.describe_log_groups().send().await.expect("log groups").log_groups() {
        all.add("log group", group.log_group_name().unwrap_or_default());
    }
}

async fn machines(aws: &Aws, all: &mut Collector) {
    let groups = aws.ec2.describe_security_groups().send().await.expect("security groups");
    for group in groups.security_groups().iter().filter(|group| group.group_name() != Some("default")) {
        all.add("security group", group.group_name().unwrap_or_default());
    }
    for template in aws.ec2.describe_launch_templates().send().await.expect("templates").launch_templates() {
        let (name, versions) = (template.launch_template_name(), template.latest_version_number());
        all.add("template", format!("{} version {}", name.unwrap_or_default(), versions.unwrap_or_default()));
    }
    let groups = aws.autoscaling.describe_auto_scaling_groups().send().await.expect("groups");
    groups
        .auto_scaling_groups()
        .iter()
        .for_each(|group| all.add("group", group.auto_scaling_group_name().unwrap_or_default()));
    let policies = aws.autoscaling.describe_policies().send().await.expect("policies");
    for policy in policies.scaling_policies() {
        let (group, name) = (policy.auto_scaling_group_name(), policy.policy_name());
        all.add("scaling policy", format!("{}/{}", group.unwrap_or_default(), name.unwrap_or_default()));
    }
}

/// The networks beside the default one, which always exists.
async fn networks(aws: &Aws, all: &mut Collector) {
    let vpcs = aws.ec2.describe_vpcs().send().await.expect("VPCs").vpcs.unwrap_or_default();
    let (default, others): (Vec<_>, Vec<_>) = vpcs.into_iter().partition(|vpc| vpc.is_default() == Some(true));
    let is_default = |id: Option<&str>| default.iter().any(|vpc| vpc.vpc_id() == id);
    others.iter().for_each(|vpc| all.add("vpc", vpc.cidr_block().unwrap_or_default()));
    let subnets = aws.ec2.describe_subnets().send().await.expect("subnets");
    for subnet in subnets.subnets().iter().filter(|subnet| !is_default(subnet.vpc_id())) {
        let (zone, block) = (subnet.availability_zone(), subnet.cidr_block());
        all.add("subnet", format!("{} {}", zone.unwrap_or_default(), block.unwrap_or_default()));
    }
    for address in aws.ec2.describe_addresses().send().await.expect("addresses").addresses() {
        all.add("address", address.domain().map(|domain| domain.as_str()).unwrap_or_default());
    }
    for gateway in aws.ec2.describe_internet_gateways().send().await.expect("gateways").internet_gateways() {
        match gateway.attachments().first() {
            Some(attachment) if is_default(attachment.vpc_id()) => (),
            attachment => all.add("gateway", if attachment.is_some() { "attached" } else { "detached" }),
        }
    }
    for table in aws.ec2.describe_route_tables().send().await.expect("route tables").route_tables() {
        let (routes, associations) = (table.routes().len(), table.associations());
        if !associations.iter().any(|it| it.main() == Some(true)) {
            all.add("route table", format!("with {routes} routes and {} subnets", associations.len()));
        }
    }
}

async fn alarms(aws: &Aws, all: &mut Collector) {
    let alarms = match aws.cloudwatch.describe_alarms().send().await {
        Ok(alarms) => alarms,
        // moto does not know the protocol of the SDK.
        Err(error) => {
            let status = error.raw_response().map(|answer| answer.status().as_u16());
            return assert_eq!(status, Some(404), "{error:?}");
        }
    };
    let names = alarms.metric_alarms().iter().filter_map(|alarm| alarm.alarm_name());
    // Auto Scaling's own are created and removed with the scaling policies.
    names.filter(|name| !name.starts_with("TargetTracking-")).for_each(|name| all.add("alarm", name));
}

async fn certificates(aws: &Aws, all: &mut Collector) {
    let keys = KeyAlgorithm::values().iter().map(|name| KeyAlgorithm::from(*name)).collect();
    let list = aws.acm.list_certificates().includes(Filters::builder().set_key_types(Some(keys)).build());
    for certificate in list.send().await.expect("certificates").certificate_summary_list() {
        all.add("certificate", certificate.domain_name().unwrap_or_default());
    }
}

async fn zones(aws: &Aws, all: &mut Collector) {
    for zone in aws.route53.list_hosted_zones().send().await.expect("zones").hosted_zones() {
        let list = aws.route53.list_resource_record_sets().hosted_zone_id(&zone.id);
        let sets = list.send().await.expect("records").resource_record_sets;
        sets.iter().for_each(|set| all.add("record", format!("{} {}", zone.name, shown(set))));
    }
}

/// A record set with its values. Where an alias leads is left out: a load balancer gets another DNS name in each run.
fn shown(set: &ResourceRecordSet) -> String {
    let values: Vec<&str> = set.resource_records().iter().map(|record| record.value()).collect();
    let values = if set.alias_target.is_some() { "alias".into() } else { values.join(" ") };
    format!("{} {} {values}", set.name, set.r#type.as_str())
}

async fn balancers(aws: &Aws, all: &mut Collector) {
    let targets = aws.elb.describe_target_groups().send().await.expect("target groups");
    targets.target_groups().iter().for_each(|it| all.add("target group", it.target_group_name().unwrap_or_default()));
    for balancer in aws.elb.describe_load_balancers().send().await.expect("load balancers").load_balancers() {
        let (name, arn) = (balancer.load_balancer_name().unwrap_or_default(), balancer.load_balancer_arn());
        all.add("load balancer", name);
        let listeners = aws.elb.describe_listeners().load_balancer_arn(arn.unwrap_or_default()).send().await;
        for listener in listeners.expect("listeners").listeners() {
            let port = listener.port().unwrap_or_default();
            all.add("listener", format!("{name}:{port}"));
            let rules = aws.elb.describe_rules().listener_arn(listener.listener_arn().unwrap_or_default()).send().await;
            for rule in rules.expect("rules").rules().iter().filter(|rule| rule.is_default() != Some(true)) {
                all.add("rule", format!("{name}:{port} {}", rule.priority().unwrap_or_default()));
            }
        }
    }
}
