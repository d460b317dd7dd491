//! Kinds of state in EC2 and Auto Scaling.

use super::{BoxError, Clients, Kind, found, until};

impl Clients {
    pub(super) async fn write_in_ec2(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let ec2 = &self.ec2;
        match (kind, value) {
            (Kind::SecurityGroup, None) => drop(ec2.delete_security_group().group_name(name).send().await?),
            (Kind::SecurityGroup, Some(value)) => {
                ec2.create_security_group().group_name(name).description(value).send().await?;
            }
            (Kind::LaunchTemplate, None) => {
                ec2.delete_launch_template().launch_template_name(name).send().await?;
            }
            (Kind::LaunchTemplate, Some(value)) => self.new_template(name, value).await?,
            (_, value) => {
                let named = aws_sdk_ec2::types::Filter::builder().name("group-name").values("default").build();
                let groups = ec2.describe_security_groups().filters(named).send().await?;
                let group = groups.security_groups()[0].group_id().unwrap_or_default().to_owned();
                let tag = aws_sdk_ec2::types::Tag::builder().key(name);
                match value {
                    None => drop(ec2.delete_tags().resources(group).tags(tag.build()).send().await?),
                    Some(value) => {
                        drop(ec2.create_tags().resources(group).tags(tag.value(value).build()).send().await?)
                    }
                }
            }
        }
        Ok(())
    }

    /// An image for x86-64, the default architecture of instance types.
    pub async fn image(&self) -> Result<String, BoxError> {
        let x86 = aws_sdk_ec2::types::Filter::builder().name("architecture").values("x86_64").build();
        let images = self.ec2.describe_images().filters(x86).send().await?;
        Ok(images.images().first().and_then(|image| image.image_id.clone()).ok_or("there is no image")?)
    }

    pub(super) async fn new_template(&self, name: &str, description: &str) -> Result<(), BoxError> {
        let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder().image_id(self.image().await?);
        let data = data.instance_type(aws_sdk_ec2::types::InstanceType::T3Micro).build();
        let create = self.ec2.create_launch_template().launch_template_name(name).version_description(description);
        create.launch_template_data(data).send().await?;
        Ok(())
    }

    pub(super) async fn write_scaled(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let Clients { groups, balancing, .. } = self;
        match (kind, value) {
            (Kind::AutoScalingGroup, None) => {
                groups.delete_auto_scaling_group().auto_scaling_group_name(name).force_delete(true).send().await?;
                until(async || Ok(self.read(kind, name).await?.is_none())).await?;
            }
            (Kind::AutoScalingGroup, Some(value)) => {
                let template = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder();
                let template = template.launch_template_name("kept").version("1").build();
                let tag = aws_sdk_autoscaling::types::Tag::builder().key("v").value(value);
                let tag = tag.propagate_at_launch(false).build();
                let create = groups.create_auto_scaling_group().auto_scaling_group_name(name).tags(tag);
                let create = create.launch_template(template).min_size(0).max_size(0).availability_zones("us-east-1a");
                create.send().await?;
            }
            (_, None) => {
                let there = balancing.describe_load_balancers().names(name).send().await?;
                let arn = there.load_balancers()[0].load_balancer_arn();
                balancing.delete_load_balancer().set_load_balancer_arn(arn.map(str::to_owned)).send().await?;
            }
            (_, Some(value)) => {
                let subnets = self.ec2.describe_subnets().send().await?;
                let subnets = subnets.subnets().iter().take(2).filter_map(|subnet| subnet.subnet_id.clone());
                let tag = aws_sdk_elasticloadbalancingv2::types::Tag::builder().key("v").value(value).build();
                let create = balancing.create_load_balancer().name(name).tags(tag);
                create.set_subnets(Some(subnets.collect())).send().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn read_in_ec2(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let ec2 = &self.ec2;
        Ok(match kind {
            Kind::SecurityGroup => {
                let named = aws_sdk_ec2::types::Filter::builder().name("group-name").values(name).build();
                let groups = ec2.describe_security_groups().filters(named).send().await?;
                groups.security_groups().first().and_then(|group| group.description.clone())
            }
            Kind::LaunchTemplate => {
                let versions = ec2.describe_launch_template_versions().launch_template_name(name).send().await;
                let versions = found(versions, "InvalidLaunchTemplateName.NotFoundException")?;
                versions.and_then(|found| found.launch_template_versions().first()?.version_description.clone())
            }
            _ => {
                let found = ec2.describe_tags().send().await?;
                let ours = found.tags().iter().find(|tag| tag.key() == Some(name));
                ours.and_then(|tag| tag.value()).map(str::to_owned)
            }
        })
    }

    pub(super) async fn read_scaled(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        if kind == Kind::AutoScalingGroup {
            let groups = self.groups.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await?;
            let tags = groups.auto_scaling_groups().first().map(|group| group.tags());
            return Ok(tags.and_then(|tags| tags.first()?.value.clone()));
        }
        let balancing = &self.balancing;
        let there = found(balancing.describe_load_balancers().names(name).send().await, "LoadBalancerNotFound")?;
        let Some(arn) = there.and_then(|found| found.load_balancers()[0].load_balancer_arn.clone()) else {
            return Ok(None);
        };
        let tags = balancing.describe_tags().resource_arns(arn).send().await?;
        Ok(tags.tag_descriptions().first().and_then(|one| one.tags().first()?.value.clone()))
    }
}

pub(super) fn id_in(document: &str) -> String {
    let text = percent_encoding::percent_decode_str(document).decode_utf8_lossy();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["Id"].as_str().unwrap().to_owned()
}
