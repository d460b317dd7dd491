//! Additional resources, and resources that differ from the description.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, LocalSecondaryIndex, Projection, ProjectionType,
    ScalarAttributeType, Tag as TableTag,
};
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, LoadBalancerSchemeEnum, ProtocolEnum, Tag as BalancerTag,
};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use super::{AT_PORT, Hands, IMAGES, PROFILE, WEB};

/// Unowned instance profiles.
const BY_HAND: [&str; 2] = ["by-hand", "by-hand-too"];
/// Two of AWS's own policies.
const MANAGED: [&str; 2] =
    ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"];

impl Hands<'_> {
    /// Puts everything that a bucket can contain into the images bucket: two versions of each key, a delete marker for
    /// each, and an incomplete upload.
    pub async fn fill_bucket(&self, keys: &[&str]) {
        let s3 = &self.aws.s3;
        let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let call = s3.put_bucket_versioning().bucket(IMAGES).versioning_configuration(versioned);
        call.send().await.expect("versions can be kept");
        for key in keys {
            for version in ["one", "two"] {
                let call = s3.put_object().bucket(IMAGES).key(*key).body(version.as_bytes().to_vec().into());
                call.send().await.expect("an object can be put");
            }
            s3.delete_object().bucket(IMAGES).key(*key).send().await.expect("it can be deleted");
            s3.create_multipart_upload().bucket(IMAGES).key(*key).send().await.expect("an upload can be begun");
        }
    }

    /// Adds unowned items to the short lists that `down` reads: policies and profiles for the service's role, and a
    /// listener for the load balancer.
    pub async fn add_to_lists(&self) {
        let iam = &self.aws.iam;
        for policy in MANAGED {
            let call = iam.attach_role_policy().role_name(PROFILE).policy_arn(policy);
            call.send().await.expect("a policy can be attached");
        }
        let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}"#;
        let call = iam.put_role_policy().role_name(PROFILE).policy_name("by-hand").policy_document(document);
        call.send().await.expect("a policy can be written");
        for profile in BY_HAND {
            iam.create_instance_profile().instance_profile_name(profile).send().await.expect("a profile can be made");
            let call = iam.add_role_to_instance_profile().instance_profile_name(profile).role_name(PROFILE);
            call.send().await.expect("a role can be in several profiles");
        }
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(self.target_group_arn().await);
        let call = self.aws.elb.create_listener().load_balancer_arn(self.load_balancer().await).port(8081);
        let call = call.protocol(ProtocolEnum::Http).default_actions(forward.build());
        call.send().await.expect("a second listener can be made");
    }

    /// Deletes those of the added items that are not deleted with the stack.
    pub async fn take_from_lists(&self) {
        for profile in BY_HAND {
            let call = self.aws.iam.delete_instance_profile().instance_profile_name(profile);
            call.send().await.expect("there is no role in it any more");
        }
    }

    /// Creates the resources that `up` would create, with our tags, but with other values for everything that is fixed
    /// at creation.
    pub async fn make_otherwise(&self) {
        self.make_table().await;
        self.settled().await;
        let tags =
            |resource: &str| [("deployer:stack", "postagram".to_owned()), ("deployer:resource", resource.into())];
        let firewalls = [("web-lb", "postagram-web-lb", "Load balancer of web"), ("web", AT_PORT, "another")];
        for (entry, name, description) in firewalls {
            let tag = |(key, value)| Tag::builder().key(key).value(value).build();
            let tags = tags(&format!("security_group.{entry}")).map(tag);
            let tags =
                TagSpecification::builder().resource_type(ResourceType::SecurityGroup).set_tags(Some(tags.into()));
            let call = self.aws.ec2.create_security_group().group_name(name);
            let call = call.description(description).vpc_id(self.vpc().await).tag_specifications(tags.build());
            call.send().await.expect("a security group can be made");
        }
        let in_elb = |resource: &str| {
            let tag = |(key, value)| BalancerTag::builder().key(key).value(value).build();
            Some(tags(resource).map(tag).to_vec())
        };
        let call = self.aws.elb.create_target_group().name(AT_PORT).port(9090);
        let call = call.protocol(ProtocolEnum::Https).vpc_id(self.vpc().await);
        call.set_tags(in_elb("target_group.web")).send().await.expect("a target group can be made");
        let call = self.aws.elb.create_load_balancer().name(WEB).scheme(LoadBalancerSchemeEnum::Internal);
        let call = call.set_subnets(Some(self.other_subnets().await)).set_tags(in_elb("load_balancer.web"));
        call.send().await.expect("a load balancer can be made");
    }

    async fn make_table(&self) {
        let tag = |(key, value)| TableTag::builder().key(key).value(value).build().expect("both are given");
        let tags = [("deployer:stack", "postagram"), ("deployer:resource", "table.posts")].map(tag);
        let mut call = self.aws.dynamodb.create_table().table_name("postagram-posts").set_tags(Some(tags.into()));
        for (name, role) in [("other", KeyType::Hash), ("also", KeyType::Range)] {
            let key = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
            let attribute =
                AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build();
            call =
                call.key_schema(key.expect("both are given")).attribute_definitions(attribute.expect("both are given"));
        }
        let third = AttributeDefinition::builder().attribute_name("third").attribute_type(ScalarAttributeType::S);
        let keys = [("other", KeyType::Hash), ("third", KeyType::Range)].map(|(name, role)| {
            KeySchemaElement::builder().attribute_name(name).key_type(role).build().expect("both are given")
        });
        let all = Projection::builder().projection_type(ProjectionType::All).build();
        let index = LocalSecondaryIndex::builder().index_name("by-hand").set_key_schema(Some(keys.into()));
        let index = index.projection(all).build().expect("name and keys are given");
        let call = call.attribute_definitions(third.build().expect("both are given")).local_secondary_indexes(index);
        call.billing_mode(BillingMode::PayPerRequest).send().await.expect("a table can be made");
    }
}
