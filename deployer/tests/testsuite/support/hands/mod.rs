//! Manual changes to the stack `postagram`, without the deployer.

mod extras;
mod functions;
mod instances;
mod network;
pub mod owners;
mod storage;

use std::time::Duration;

use aws_sdk_dynamodb::types::{GlobalSecondaryIndexDescription, IndexStatus, SseStatus, TableStatus};
use aws_sdk_ec2::types::{IpPermission, IpRange};
use aws_sdk_lambda::types::LastUpdateStatus;
use aws_sdk_s3::types::Tag as BucketTag;
use deployer::cloud::aws::Aws;

/// The tag that is removed from every resource.
const TAG: &str = "course";
const IMAGES: &str = "postagram-images-000000000000-us-east-1";
const FUNCTION: &str = "postagram-labeler";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:postagram-labeler";
const LOG_GROUP: &str = "/aws/lambda/postagram-labeler";
const ROLE: &str = "postagram-us-east-1-labeler-fn";
const PROFILE: &str = "postagram-us-east-1-web-svc";
const WEB: &str = "postagram-web";
const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012";
/// The name of the target group and of the Auto Scaling group at one port.
const AT_PORT: &str = "postagram-web-8080";

/// Makes changes with the account's own credentials.
pub struct Hands<'a> {
    aws: &'a Aws,
}

impl<'a> Hands<'a> {
    pub fn of(aws: &'a Aws) -> Hands<'a> {
        Hands { aws }
    }

    /// Changes one field of one resource.
    pub async fn change(&self, address: &str, field: &str) {
        match address {
            "bucket.images" => self.bucket(field).await,
            "table.posts" => self.table(field).await,
            "log_group.labeler" => self.log_group(field).await,
            "role.labeler-fn" => self.role(field).await,
            "instance_profile.web" => self.profile(field).await,
            "function.labeler" => self.function(field).await,
            "permissions.labeler" => self.permission(field).await,
            "notification.images" => self.notification(field).await,
            "security_group.web-lb" | "security_group.web" => self.firewall(field).await,
            "target_group.web" => self.target_group(field).await,
            "load_balancer.web" => self.balancer(field).await,
            "listener.web" => self.listener(field).await,
            "default_action.web" => self.share(1).await,
            "alarm.web-target-5xx" => self.alarm(field).await,
            "scaling_policy.web" => self.scaling_policy(field).await,
            "auto_scaling_group.web" => self.group(field).await,
            "artifact.web" => self.change_artifact(field).await,
            "launch_template.web" => self.template(field).await,
            _ => panic!("there is no change by hand for {address}"),
        }
        if address.starts_with("table.") || address.starts_with("function.") {
            self.settled().await;
        }
    }

    /// Waits until AWS has finished its changes, which would otherwise show as differences.
    async fn settled(&self) {
        let table = self.aws.dynamodb.describe_table().table_name("postagram-posts");
        let function = self.aws.lambda.get_function_configuration().function_name(FUNCTION);
        loop {
            let table = table.clone().send().await.expect("the table is there").table.expect("it is described");
            // Not every test has a function.
            let status = function.clone().send().await.ok().and_then(|function| function.last_update_status);
            let updating = status == Some(LastUpdateStatus::InProgress);
            let built = |index: &GlobalSecondaryIndexDescription| index.index_status() == Some(&IndexStatus::Active);
            let is_built = table.global_secondary_indexes().iter().all(built);
            let encryption = table.sse_description().and_then(|encryption| encryption.status());
            let is_encrypted = encryption.is_none_or(|status| *status == SseStatus::Enabled);
            if table.table_status == Some(TableStatus::Active) && is_built && is_encrypted && !updating {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives the load balancer's group the egress rules of an earlier version: it may connect to everything.
    pub async fn open_the_load_balancer(&self) {
        let range = IpRange::builder().cidr_ip("0.0.0.0/0").build();
        let everything = IpPermission::builder().ip_protocol("-1").ip_ranges(range).build();
        let call = self.aws.ec2.authorize_security_group_egress().ip_permissions(everything);
        let call = call.group_id(self.firewall_id("postagram-web-lb").await);
        call.send().await.expect("a door can be opened");
        self.firewall("reached_by").await;
    }

    async fn firewall_id(&self, name: &str) -> String {
        let groups = self.aws.ec2.describe_security_groups().send().await.expect("security groups");
        let group = groups.security_groups().iter().find(|group| group.group_name() == Some(name));
        group.and_then(|group| group.group_id()).expect("it is there").to_owned()
    }

    /// The ARN of the target group.
    pub async fn target_group_arn(&self) -> String {
        let groups = self.aws.elb.describe_target_groups().names(AT_PORT).send().await;
        groups.expect("it is there").target_groups()[0].target_group_arn().expect("it has an ARN").to_owned()
    }

    /// The ARN of the load balancer.
    pub async fn load_balancer(&self) -> String {
        let balancers = self.aws.elb.describe_load_balancers().names(WEB).send().await.expect("it is there");
        balancers.load_balancers()[0].load_balancer_arn().expect("it has an ARN").to_owned()
    }

    /// The ARN of the load balancer's listener.
    pub async fn listener_arn(&self) -> String {
        let listeners = self.aws.elb.describe_listeners().load_balancer_arn(self.load_balancer().await).send().await;
        listeners.expect("listeners").listeners()[0].listener_arn().expect("it has an ARN").to_owned()
    }

    /// Two subnets other than exactly those of the load balancer.
    async fn other_subnets(&self) -> Vec<String> {
        let subnets = self.aws.ec2.describe_subnets().send().await.expect("subnets");
        let mut ids: Vec<_> = subnets.subnets().iter().filter_map(|it| it.subnet_id().map(str::to_owned)).collect();
        ids.sort();
        ids.split_off(ids.len() - 2)
    }

    /// The default network.
    pub async fn vpc(&self) -> String {
        let networks = self.aws.ec2.describe_vpcs().send().await.expect("networks");
        networks.vpcs()[0].vpc_id().expect("it has an id").to_owned()
    }

    /// The bucket and the key of the service's program.
    pub async fn artifact(&self) -> (String, String) {
        let bucket = "postagram-artifacts-000000000000-us-east-1";
        let objects = self.aws.s3.list_objects_v2().bucket(bucket).prefix("services/web/").send().await;
        let key = objects.expect("objects").contents()[0].key().expect("it has a key").to_owned();
        (bucket.into(), key)
    }

    async fn template_id(&self) -> String {
        let templates = self.aws.ec2.describe_launch_templates().launch_template_names(WEB).send().await;
        let templates = templates.expect("it is there");
        templates.launch_templates()[0].launch_template_id().expect("it has an id").to_owned()
    }
}

fn bucket_tag(key: &str, value: &str) -> BucketTag {
    BucketTag::builder().key(key).value(value).build().expect("both are given")
}
