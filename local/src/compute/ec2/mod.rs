//! EC2, as far as a stack uses it.

mod images;
mod instances;
mod interfaces;
mod launch_templates;
mod network;
mod quotas;
mod security_groups;
mod settings;
mod tags;
mod types;
mod volumes;

use super::Operation::{Reads, Writes};
use super::Row;

pub use super::state::Settings;
pub use images::find as find_image;
pub use instances::terminate;
pub use interfaces::of_instance as interface_of;
pub use launch_templates::{Data, find as find_template, resolve as resolve_template};
pub use network::{Subnet, subnets, vpc_id, zone_id};
pub use quotas::check as check_quota;
pub use security_groups::{admits, ensure_default as ensure_default_security_group};
pub use types::{Kind, find as find_type};
pub use volumes::of as volumes_of;

/// What most lists take.
macro_rules! list {
    () => {
        "Filter.Name Filter.Value MaxResults NextToken"
    };
}

/// What is said of rules.
macro_rules! rules {
    () => {
        "GroupId IpPermissions.IpProtocol IpPermissions.FromPort IpPermissions.ToPort \
     IpPermissions.IpRanges.* IpPermissions.Ipv6Ranges.* IpPermissions.Groups.GroupId \
     IpPermissions.Groups.GroupName IpPermissions.Groups.UserId IpPermissions.Groups.Description \
     IpProtocol FromPort ToPort CidrIp SourceSecurityGroupName"
    };
}

/// The tags of what is made.
macro_rules! tags {
    () => {
        "TagSpecification.ResourceType TagSpecification.Tag.*"
    };
}

/// What is said of a template's instances; the rest would only be shown.
macro_rules! data {
    () => {
        "LaunchTemplateData.ImageId LaunchTemplateData.InstanceType LaunchTemplateData.KeyName \
     LaunchTemplateData.UserData LaunchTemplateData.SecurityGroupId \
     LaunchTemplateData.IamInstanceProfile.Name LaunchTemplateData.IamInstanceProfile.Arn \
     LaunchTemplateData.TagSpecification.ResourceType LaunchTemplateData.TagSpecification.Tag.* \
     LaunchTemplateData.BlockDeviceMapping.DeviceName \
     LaunchTemplateData.BlockDeviceMapping.Ebs.DeleteOnTermination \
     LaunchTemplateData.BlockDeviceMapping.Ebs.Encrypted LaunchTemplateData.BlockDeviceMapping.Ebs.Iops \
     LaunchTemplateData.BlockDeviceMapping.Ebs.Throughput \
     LaunchTemplateData.BlockDeviceMapping.Ebs.VolumeSize \
     LaunchTemplateData.BlockDeviceMapping.Ebs.VolumeType \
     LaunchTemplateData.CreditSpecification.CpuCredits=unlimited LaunchTemplateData.DisableApiStop \
     LaunchTemplateData.DisableApiTermination LaunchTemplateData.EbsOptimized \
     LaunchTemplateData.EnclaveOptions.Enabled=false \
     LaunchTemplateData.HibernationOptions.Configured=false \
     LaunchTemplateData.InstanceInitiatedShutdownBehavior LaunchTemplateData.Monitoring.Enabled \
     LaunchTemplateData.MetadataOptions.HttpEndpoint \
     LaunchTemplateData.MetadataOptions.HttpProtocolIpv6=disabled \
     LaunchTemplateData.MetadataOptions.HttpPutResponseHopLimit \
     LaunchTemplateData.MetadataOptions.HttpTokens \
     LaunchTemplateData.MetadataOptions.InstanceMetadataTags=disabled \
     LaunchTemplateData.NetworkInterface.AssociatePublicIpAddress \
     LaunchTemplateData.NetworkInterface.DeleteOnTermination=true \
     LaunchTemplateData.NetworkInterface.Description LaunchTemplateData.NetworkInterface.DeviceIndex=0 \
     LaunchTemplateData.NetworkInterface.SecurityGroupId LaunchTemplateData.Placement.Tenancy=default"
    };
}

/// Every operation, its function, and the parameters that have an effect.
pub const OPERATIONS: &[Row] = &[
    ("AuthorizeSecurityGroupEgress", Writes(security_groups::authorize_egress), concat!(rules!(), " ", tags!())),
    (
        "AuthorizeSecurityGroupIngress",
        Writes(security_groups::authorize_ingress),
        concat!("GroupName ", rules!(), " ", tags!()),
    ),
    (
        "CreateLaunchTemplate",
        Writes(launch_templates::create),
        concat!("ClientToken LaunchTemplateName VersionDescription", " ", data!(), " ", tags!()),
    ),
    (
        "CreateLaunchTemplateVersion",
        Writes(launch_templates::create_version),
        concat!(
            "ClientToken LaunchTemplateId LaunchTemplateName ResolveAlias SourceVersion VersionDescription",
            " ",
            data!()
        ),
    ),
    ("CreateSecurityGroup", Writes(security_groups::create), concat!("GroupName GroupDescription VpcId", " ", tags!())),
    ("CreateTags", Writes(tags::create), "ResourceId Tag.*"),
    ("DeleteLaunchTemplate", Writes(launch_templates::delete), "LaunchTemplateId LaunchTemplateName"),
    (
        "DeleteLaunchTemplateVersions",
        Writes(launch_templates::delete_versions),
        "LaunchTemplateId LaunchTemplateName LaunchTemplateVersion",
    ),
    ("DeleteSecurityGroup", Writes(security_groups::delete), "GroupId GroupName"),
    ("DeleteTags", Writes(tags::delete), "ResourceId Tag.*"),
    (
        "DescribeAvailabilityZones",
        Reads(network::describe_zones),
        "AllAvailabilityZones ZoneName ZoneId Filter.Name Filter.Value",
    ),
    (
        "DescribeImages",
        Reads(images::describe),
        concat!("ExecutableBy=all ImageId IncludeDeprecated IncludeDisabled Owner", " ", list!()),
    ),
    ("DescribeInstanceAttribute", Reads(instances::describe_attribute), "Attribute InstanceId"),
    (
        "DescribeInstanceStatus",
        Reads(instances::describe_status),
        concat!("IncludeAllInstances IncludeManagedResources InstanceId", " ", list!()),
    ),
    ("DescribeInstanceTypeOfferings", Reads(types::describe_offerings), concat!("LocationType", " ", list!())),
    (
        "DescribeInstanceTypes",
        Reads(types::describe),
        concat!("IncludeUnsupportedInRegion=false InstanceType", " ", list!()),
    ),
    ("DescribeInstances", Reads(instances::describe), concat!("IncludeManagedResources InstanceId", " ", list!())),
    (
        "DescribeLaunchTemplateVersions",
        Reads(launch_templates::describe_versions),
        concat!(
            "IncludeManagedResources LaunchTemplateId LaunchTemplateName LaunchTemplateVersion MaxVersion MinVersion ResolveAlias",
            " ",
            list!()
        ),
    ),
    (
        "DescribeLaunchTemplates",
        Reads(launch_templates::describe),
        concat!("IncludeManagedResources LaunchTemplateId LaunchTemplateName", " ", list!()),
    ),
    (
        "DescribeNetworkInterfaces",
        Reads(interfaces::describe),
        concat!("IncludeManagedResources NetworkInterfaceId", " ", list!()),
    ),
    ("DescribeRegions", Reads(network::describe_regions), "AllRegions RegionName Filter.Name Filter.Value"),
    ("DescribeRouteTables", Reads(network::describe_route_tables), concat!("RouteTableId", " ", list!())),
    (
        "DescribeSecurityGroupRules",
        Reads(security_groups::describe_rules),
        concat!("SecurityGroupRuleId", " ", list!()),
    ),
    ("DescribeSecurityGroups", Reads(security_groups::describe), concat!("GroupId GroupName", " ", list!())),
    ("DescribeSubnets", Reads(network::describe_subnets), concat!("SubnetId", " ", list!())),
    ("DescribeTags", Reads(tags::describe), list!()),
    ("DescribeVolumes", Reads(volumes::describe), concat!("VolumeId", " ", list!())),
    ("DescribeVpcAttribute", Reads(network::describe_vpc_attribute), "Attribute VpcId"),
    ("DescribeVpcs", Reads(network::describe_vpcs), concat!("VpcId", " ", list!())),
    ("GetConsoleOutput", Reads(instances::console_output), "InstanceId Latest"),
    (
        "ModifyLaunchTemplate",
        Writes(launch_templates::modify),
        "ClientToken LaunchTemplateId LaunchTemplateName SetDefaultVersion",
    ),
    ("RebootInstances", Writes(instances::reboot), "InstanceId"),
    (
        "RevokeSecurityGroupEgress",
        Writes(security_groups::revoke_egress),
        concat!("SecurityGroupRuleId", " ", rules!()),
    ),
    (
        "RevokeSecurityGroupIngress",
        Writes(security_groups::revoke_ingress),
        concat!("GroupName ", "SecurityGroupRuleId", " ", rules!()),
    ),
    ("StartInstances", Writes(instances::start), "InstanceId"),
    ("StopInstances", Writes(instances::stop), "Force=false Hibernate=false InstanceId SkipOsShutdown=false"),
    ("TerminateInstances", Writes(instances::terminate_by_id), "Force=false InstanceId SkipOsShutdown=false"),
];
