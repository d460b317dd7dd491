//! Security groups, load balancers, listeners and target groups.

use aws_sdk_ec2::types::{IpPermission, IpRange, Tag, UserIdGroupPair};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, LoadBalancerAttribute, Matcher, ProtocolEnum, TargetGroupAttribute,
    TargetGroupTuple,
};

use super::{AT_PORT, Hands, TAG};

/// A bucket outside the stack.
const LOGS: &str = "logs-by-hand";

impl Hands<'_> {
    pub(super) async fn firewall(&self, field: &str) {
        let group = self.firewall_id("postagram-web-lb").await;
        match field {
            "ingress" => {
                let call = self.aws.ec2.authorize_security_group_ingress().group_id(group).ip_protocol("tcp");
                let call = call.from_port(22).to_port(22).cidr_ip("0.0.0.0/0");
                call.send().await.expect("a door can be opened");
            }
            "egress" => {
                let range = IpRange::builder().cidr_ip("0.0.0.0/0").build();
                let rule = IpPermission::builder().ip_protocol("tcp").from_port(25).to_port(25).ip_ranges(range);
                let call = self.aws.ec2.authorize_security_group_egress().group_id(group);
                call.ip_permissions(rule.build()).send().await.expect("a door can be opened");
            }
            "reached_by" => {
                let to = UserIdGroupPair::builder().group_id(self.firewall_id(AT_PORT).await).build();
                let rule = IpPermission::builder().ip_protocol("tcp").from_port(8080).to_port(8080);
                let call = self.aws.ec2.revoke_security_group_egress().group_id(group);
                call.ip_permissions(rule.user_id_group_pairs(to).build()).send().await.expect("a door can be closed");
            }
            _ => {
                assert_eq!(field, "tags.course");
                self.untag_in_ec2(group).await;
            }
        }
    }

    pub(super) async fn untag_in_ec2(&self, id: String) {
        let call = self.aws.ec2.delete_tags().resources(id).tags(Tag::builder().key(TAG).build());
        call.send().await.expect("it can be untagged");
    }

    pub(super) async fn target_group(&self, field: &str) {
        let elb = &self.aws.elb;
        let arn = self.target_group_arn().await;
        let update = elb.modify_target_group().target_group_arn(&arn);
        let changed = match field {
            "health_check.path" => update.health_check_path("/elsewhere"),
            "health_check.interval_s" => update.health_check_interval_seconds(60),
            "health_check.timeout_s" => update.health_check_timeout_seconds(7),
            "health_check.healthy" => update.healthy_threshold_count(9),
            "health_check.unhealthy" => update.unhealthy_threshold_count(8),
            "health_check.matcher" => update.matcher(Matcher::builder().http_code("204").build()),
            "deregistration_delay_s" => {
                let delay = TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value("300");
                let call = elb.modify_target_group_attributes().target_group_arn(arn).attributes(delay.build());
                return drop(call.send().await.expect("the delay can be changed"));
            }
            _ => {
                assert_eq!(field, "tags.course");
                return self.untag_in_elb(arn).await;
            }
        };
        changed.send().await.expect("the health check can be changed");
    }

    pub(super) async fn balancer(&self, field: &str) {
        let elb = &self.aws.elb;
        let arn = self.load_balancer().await;
        match field {
            "subnets" => {
                let subnets = self.other_subnets().await;
                let call = elb.set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets));
                call.send().await.expect("it can be put elsewhere");
            }
            "security_groups" => {
                let call = elb.set_security_groups().load_balancer_arn(arn);
                let call = call.security_groups(self.firewall_id(AT_PORT).await);
                call.send().await.expect("it can have another security group");
            }
            "access_logs" => {
                self.aws.s3.create_bucket().bucket(LOGS).send().await.expect("a bucket can be made");
                self.allow_access_logs(LOGS).await;
                let attribute = |key: &str, value: &str| LoadBalancerAttribute::builder().key(key).value(value).build();
                let call = elb.modify_load_balancer_attributes().load_balancer_arn(arn);
                let call = call.attributes(attribute("access_logs.s3.enabled", "true"));
                let call = call.attributes(attribute("access_logs.s3.bucket", LOGS));
                let call = call.attributes(attribute("access_logs.s3.prefix", "by-hand"));
                call.send().await.expect("the policy of the bucket allows it");
            }
            "invalid_headers_dropped" | "protected" => {
                let (key, value) = match field {
                    "protected" => ("deletion_protection.enabled", "true"),
                    _ => ("routing.http.drop_invalid_header_fields.enabled", "false"),
                };
                let attribute = LoadBalancerAttribute::builder().key(key).value(value).build();
                let call = elb.modify_load_balancer_attributes().load_balancer_arn(arn).attributes(attribute);
                call.send().await.expect("attributes can be changed");
            }
            _ => {
                assert_eq!(field, "tags.course");
                self.untag_in_elb(arn).await;
            }
        }
    }

    pub(super) async fn listener(&self, field: &str) {
        let elb = &self.aws.elb;
        let arn = self.listener_arn().await;
        let update = elb.modify_listener().listener_arn(&arn);
        match field {
            "port" => drop(update.port(81).send().await.expect("it can be moved")),
            "target_group" => self.share(0).await,
            "+" => drop(elb.delete_listener().listener_arn(arn).send().await.expect("it can be deleted")),
            _ => {
                assert_eq!(field, "tags.course");
                self.untag_in_elb(arn).await;
            }
        }
    }

    /// Makes the listener send this many of ten requests to our target group, and the others to another one.
    pub(super) async fn share(&self, ours: i32) {
        let elb = &self.aws.elb;
        let other = elb.create_target_group().name("other").port(1).protocol(ProtocolEnum::Http);
        let other = other.vpc_id(self.vpc().await).send().await.expect("a target group can be made, or is there");
        let other = other.target_groups()[0].target_group_arn().expect("it has an ARN").to_owned();
        let shares = [(self.target_group_arn().await, ours), (other, 10 - ours)].into_iter();
        let shares = shares.filter(|(_, weight)| *weight > 0);
        let shares =
            shares.map(|(arn, weight)| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build());
        let config = ForwardActionConfig::builder().set_target_groups(Some(shares.collect())).build();
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
        let call = elb.modify_listener().listener_arn(self.listener_arn().await).default_actions(forward);
        call.send().await.expect("it can forward elsewhere");
    }

    async fn untag_in_elb(&self, arn: String) {
        self.aws.elb.remove_tags().resource_arns(arn).tag_keys(TAG).send().await.expect("it can be untagged");
    }
}
