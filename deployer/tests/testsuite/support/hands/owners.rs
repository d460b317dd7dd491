//! Owners of resources: their tags.

use aws_sdk_autoscaling::types::Tag as GroupTag;
use aws_sdk_cloudwatch::types::Tag as AlarmTag;
use aws_sdk_dynamodb::types::Tag as TableTag;
use aws_sdk_ec2::types::Tag;
use aws_sdk_elasticloadbalancingv2::types::Tag as BalancerTag;
use aws_sdk_iam::types::Tag as RoleTag;
use aws_sdk_s3::types::Tagging;
use deployer::engine::STACK_TAG;

use super::{AT_PORT, FUNCTION_ARN, Hands, IMAGES, LOG_GROUP, PROFILE, ROLE, bucket_tag};

/// Every resource of the stack `postagram` that has its own tags.
pub const TAGGED: &[&str] = &[
    "bucket.artifacts",
    "bucket.images",
    "table.posts",
    "log_group.labeler",
    "log_group.web-svc",
    "role.labeler-fn",
    "role.web-svc",
    "instance_profile.web",
    "function.labeler",
    "security_group.web",
    "security_group.web-lb",
    "launch_template.web",
    "target_group.web",
    "load_balancer.web",
    "listener.web",
    "alarm.web-balancer-5xx",
    "alarm.web-target-4xx",
    "alarm.web-target-5xx",
    "auto_scaling_group.web",
];

impl Hands<'_> {
    /// Sets the owner of a resource: a stack, or none.
    pub async fn give(&self, address: &str, owner: Option<&str>) {
        match address {
            "bucket.images" => self.give_bucket(IMAGES, owner).await,
            "bucket.artifacts" => self.give_bucket("postagram-artifacts-000000000000-us-east-1", owner).await,
            "table.posts" => self.give_table(owner).await,
            "log_group.labeler" => self.give_log_group(LOG_GROUP, owner).await,
            "log_group.web-svc" => self.give_log_group("/deployer/postagram/web", owner).await,
            "role.labeler-fn" => self.give_role(ROLE, owner).await,
            // The profile of a service has the name of its role.
            "role.web-svc" => self.give_role(PROFILE, owner).await,
            "instance_profile.web" => self.give_profile(owner).await,
            "function.labeler" => self.give_function(owner).await,
            "security_group.web" => self.give_in_ec2(self.firewall_id(AT_PORT).await, owner).await,
            "security_group.web-lb" => self.give_in_ec2(self.firewall_id("postagram-web-lb").await, owner).await,
            "launch_template.web" => self.give_in_ec2(self.template_id().await, owner).await,
            "target_group.web" => self.give_in_elb(self.target_group_arn().await, owner).await,
            "load_balancer.web" => self.give_in_elb(self.load_balancer().await, owner).await,
            "listener.web" => self.give_in_elb(self.listener_arn().await, owner).await,
            "auto_scaling_group.web" => self.give_group(owner).await,
            _ => match address.strip_prefix("alarm.") {
                Some(key) => self.give_alarm(&format!("postagram-{key}"), owner).await,
                None => panic!("{address} has no owner tags"),
            },
        }
    }

    /// Removes the owner of every resource, as if another tool had made the stack.
    pub async fn disown_all(&self) {
        for address in TAGGED {
            self.give(address, None).await;
        }
    }

    async fn give_bucket(&self, bucket: &str, owner: Option<&str>) {
        let there = self.aws.s3.get_bucket_tagging().bucket(bucket).send().await.expect("it has tags");
        let mut tags = there.tag_set;
        tags.retain(|tag| tag.key() != STACK_TAG);
        tags.extend(owner.map(|owner| bucket_tag(STACK_TAG, owner)));
        let tagging = Tagging::builder().set_tag_set(Some(tags)).build().expect("tags are given");
        self.aws.s3.put_bucket_tagging().bucket(bucket).tagging(tagging).send().await.expect("tags can be put");
    }

    async fn give_table(&self, owner: Option<&str>) {
        let (dynamodb, arn) = (&self.aws.dynamodb, "arn:aws:dynamodb:us-east-1:000000000000:table/postagram-posts");
        match owner {
            Some(owner) => {
                let tag = TableTag::builder().key(STACK_TAG).value(owner).build().expect("both are given");
                dynamodb.tag_resource().resource_arn(arn).tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                let call = dynamodb.untag_resource().resource_arn(arn).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_log_group(&self, group: &str, owner: Option<&str>) {
        let (logs, arn) = (&self.aws.logs, format!("arn:aws:logs:us-east-1:000000000000:log-group:{group}"));
        match owner {
            Some(owner) => drop(
                logs.tag_resource().resource_arn(arn).tags(STACK_TAG, owner).send().await.expect("it can be tagged"),
            ),
            None => {
                let call = logs.untag_resource().resource_arn(arn).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_alarm(&self, name: &str, owner: Option<&str>) {
        let cloudwatch = &self.aws.cloudwatch;
        let arn = format!("arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}");
        match owner {
            Some(owner) => {
                let tag = AlarmTag::builder().key(STACK_TAG).value(owner).build();
                cloudwatch.tag_resource().resource_arn(arn).tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                let call = cloudwatch.untag_resource().resource_arn(arn).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_role(&self, role: &str, owner: Option<&str>) {
        let iam = &self.aws.iam;
        match owner {
            Some(owner) => {
                let call = iam.tag_role().role_name(role).tags(iam_tag(STACK_TAG, owner));
                call.send().await.expect("it can be tagged");
            }
            None => {
                let call = iam.untag_role().role_name(role).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_profile(&self, owner: Option<&str>) {
        let iam = &self.aws.iam;
        match owner {
            Some(owner) => {
                let call = iam.tag_instance_profile().instance_profile_name(PROFILE).tags(iam_tag(STACK_TAG, owner));
                call.send().await.expect("it can be tagged");
            }
            None => {
                let call = iam.untag_instance_profile().instance_profile_name(PROFILE).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_function(&self, owner: Option<&str>) {
        let lambda = &self.aws.lambda;
        match owner {
            Some(owner) => {
                let call = lambda.tag_resource().resource(FUNCTION_ARN).tags(STACK_TAG, owner);
                call.send().await.expect("it can be tagged");
            }
            None => {
                let call = lambda.untag_resource().resource(FUNCTION_ARN).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_in_ec2(&self, id: String, owner: Option<&str>) {
        let ec2 = &self.aws.ec2;
        match owner {
            Some(owner) => {
                let tag = Tag::builder().key(STACK_TAG).value(owner).build();
                ec2.create_tags().resources(id).tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                let call = ec2.delete_tags().resources(id).tags(Tag::builder().key(STACK_TAG).build());
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_in_elb(&self, arn: String, owner: Option<&str>) {
        let elb = &self.aws.elb;
        match owner {
            Some(owner) => {
                let tag = BalancerTag::builder().key(STACK_TAG).value(owner).build();
                elb.add_tags().resource_arns(arn).tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                let call = elb.remove_tags().resource_arns(arn).tag_keys(STACK_TAG);
                call.send().await.expect("it can be untagged");
            }
        }
    }

    async fn give_group(&self, owner: Option<&str>) {
        let autoscaling = &self.aws.autoscaling;
        let tag = GroupTag::builder().key(STACK_TAG).resource_id(AT_PORT).resource_type("auto-scaling-group");
        match owner {
            Some(owner) => {
                let tag = tag.value(owner).propagate_at_launch(true).build();
                autoscaling.create_or_update_tags().tags(tag).send().await.expect("it can be tagged");
            }
            None => {
                autoscaling.delete_tags().tags(tag.build()).send().await.expect("it can be untagged");
            }
        }
    }
}

fn iam_tag(key: &str, value: &str) -> RoleTag {
    RoleTag::builder().key(key).value(value).build().expect("both are given")
}
