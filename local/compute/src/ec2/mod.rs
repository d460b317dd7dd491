//! The part of EC2 that a stack uses.

mod addresses;
mod images;
mod instances;
mod interfaces;
mod lab;
mod launch_templates;
mod network;
mod networks;
mod quotas;
mod security_groups;
mod settings;
mod tags;
mod types;
mod volumes;

use super::Run::{Reads, Writes};
use super::{ComputeOperation, row};
use kit::call::{Asked, Need, Needs, Pagination, Style};

pub use super::state::InstanceSettings;
pub use addresses::{associate as associate_address, leads_to, leave as leave_address, of_association};
pub use images::find as find_image;
pub use instances::terminate;
pub use interfaces::of_instance as interface_of;
pub use lab::enforce as enforce_lab;
pub use launch_templates::{Data, find as find_template, resolve as resolve_template};
pub use network::{Block, free_addresses, has_gateway, is_public, subnet, subnets, vpc, vpc_of, zone_id, zones};
pub use networks::table_of;
pub use quotas::{check as check_quota, quota};
pub use security_groups::{connects, ensure_default as ensure_default_security_group};
pub use types::{InstanceType, find as find_type};
pub use volumes::of as volumes_of;

/// The parameters that most lists support.
macro_rules! list {
    () => {
        "Filter.Name Filter.Value MaxResults NextToken"
    };
}

/// Rules of a security group, without the older parameters for a single one.
macro_rules! permissions {
    () => {
        "GroupId IpPermissions.IpProtocol IpPermissions.FromPort IpPermissions.ToPort \
     IpPermissions.IpRanges.* IpPermissions.Ipv6Ranges.* IpPermissions.Groups.GroupId \
     IpPermissions.Groups.GroupName IpPermissions.Groups.UserId IpPermissions.Groups.Description"
    };
}

/// The supported parameters of security group rules.
macro_rules! rules {
    () => {
        concat!(permissions!(), " IpProtocol FromPort ToPort CidrIp SourceSecurityGroupName")
    };
}

/// The tags of new resources.
macro_rules! tags {
    () => {
        "TagSpecification.ResourceType TagSpecification.Tag.*"
    };
}

/// The supported launch template data. Any other field would only be returned without having an effect.
macro_rules! data {
    () => {
        "LaunchTemplateData.ImageId LaunchTemplateData.InstanceType LaunchTemplateData.KeyName \
     LaunchTemplateData.UserData LaunchTemplateData.SecurityGroupId \
     LaunchTemplateData.IamInstanceProfile.Name LaunchTemplateData.IamInstanceProfile.Arn \
     LaunchTemplateData.TagSpecification.ResourceType LaunchTemplateData.TagSpecification.Tag.* \
     LaunchTemplateData.BlockDeviceMapping.DeviceName \
     LaunchTemplateData.BlockDeviceMapping.Ebs.DeleteOnTermination \
     LaunchTemplateData.BlockDeviceMapping.Ebs.Encrypted LaunchTemplateData.BlockDeviceMapping.Ebs.Iops \
     LaunchTemplateData.BlockDeviceMapping.Ebs.KmsKeyId \
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

const NEW_VPC: Needs = Needs::Of(|asked| tags::with_creation(asked, "vpc"));
const NEW_GATEWAY: Needs = Needs::Of(|asked| tags::with_creation(asked, "internet-gateway"));
const NEW_SUBNET: Needs = Needs::Of(|asked| networks::needs_inside(asked, "subnet"));
const NEW_ROUTE_TABLE: Needs = Needs::Of(|asked| networks::needs_inside(asked, "route-table"));
const VPC: Needs = Needs::Of(|asked| networks::needs_on(asked, &[("vpc", "VpcId")]));
const SUBNET: Needs = Needs::Of(|asked| networks::needs_on(asked, &[("subnet", "SubnetId")]));
const ROUTE_TABLE: Needs = Needs::Of(|asked| networks::needs_on(asked, &[("route-table", "RouteTableId")]));
const ROUTE_TABLE_OF_SUBNET: Needs = Needs::Of(networks::needs_on_association);
const GATEWAY: Needs = Needs::Of(|asked| networks::needs_on(asked, &[("internet-gateway", "InternetGatewayId")]));
const GATEWAY_AND_VPC: Needs =
    Needs::Of(|asked| networks::needs_on(asked, &[("internet-gateway", "InternetGatewayId"), ("vpc", "VpcId")]));
const TABLE_AND_SUBNET: Needs =
    Needs::Of(|asked| networks::needs_on(asked, &[("route-table", "RouteTableId"), ("subnet", "SubnetId")]));

const NEW_ADDRESS: Needs = Needs::Of(|asked| tags::with_creation(asked, "elastic-ip"));
const ADDRESS: Needs = Needs::Of(|asked| networks::needs_on(asked, &[("elastic-ip", "AllocationId")]));
const ADDRESS_OF_INSTANCE: Needs = Needs::Of(addresses::needs_on_association);
const ADDRESS_AND_INSTANCE: Needs = Needs::Of(addresses::needs_to_associate);

const GROUP: Needs = Needs::On("arn:aws:ec2:{region}:{account}:security-group/{GroupId}");
const INSTANCE: Needs = Needs::On("arn:aws:ec2:{region}:{account}:instance/{InstanceId}");
const TEMPLATE: Needs = Needs::On("arn:aws:ec2:{region}:{account}:launch-template/{LaunchTemplateId}");
const NEW_GROUP: Needs = Needs::Of(new_group);
const NEW_TEMPLATE: Needs = Needs::Of(|asked| tags::with_creation(asked, "launch-template"));

/// A security group belongs to a network, which is a resource of the call as well.
fn new_group(asked: &Asked) -> Vec<Need> {
    let network = asked.call.input.text("VpcId").unwrap_or("*");
    let mut needs = tags::with_creation(asked, "security-group");
    needs.push(asked.own(asked.arn(&format!("vpc/{network}"))));
    needs
}

static PAGES: Style = Style {
    size: "MaxResults",
    from: "NextToken",
    next: "nextToken",
    usual: 1000,
    least: 5,
    most: 1000,
    bad_token: "InvalidParameterValue",
};

const fn list(items: &'static str) -> Option<Pagination> {
    Some(Pagination::Cut(&PAGES, items))
}

/// Every operation.
pub const OPERATIONS: &[ComputeOperation] = &[
    row("AllocateAddress", Writes(addresses::allocate), NEW_ADDRESS, None, concat!("Domain=vpc", " ", tags!())),
    row(
        "AssociateAddress",
        Writes(addresses::associate),
        ADDRESS_AND_INSTANCE,
        None,
        "AllocationId AllowReassociation InstanceId",
    ),
    row("AssociateRouteTable", Writes(networks::associate), TABLE_AND_SUBNET, None, "RouteTableId SubnetId"),
    row("AttachInternetGateway", Writes(networks::attach_gateway), GATEWAY_AND_VPC, None, "InternetGatewayId VpcId"),
    row(
        "AuthorizeSecurityGroupEgress",
        Writes(security_groups::authorize_egress),
        GROUP,
        None,
        concat!(rules!(), " ", tags!()),
    ),
    row(
        "AuthorizeSecurityGroupIngress",
        Writes(security_groups::authorize_ingress),
        GROUP,
        None,
        concat!("GroupName ", rules!(), " ", tags!()),
    ),
    row("CreateInternetGateway", Writes(networks::create_gateway), NEW_GATEWAY, None, tags!()),
    row(
        "CreateLaunchTemplate",
        Writes(launch_templates::create),
        NEW_TEMPLATE,
        None,
        concat!("ClientToken LaunchTemplateName VersionDescription", " ", data!(), " ", tags!()),
    ),
    row(
        "CreateLaunchTemplateVersion",
        Writes(launch_templates::create_version),
        TEMPLATE,
        None,
        concat!(
            "ClientToken LaunchTemplateId LaunchTemplateName ResolveAlias SourceVersion VersionDescription",
            " ",
            data!()
        ),
    ),
    row(
        "CreateRoute",
        Writes(networks::create_route),
        ROUTE_TABLE,
        None,
        "DestinationCidrBlock GatewayId RouteTableId",
    ),
    row(
        "CreateRouteTable",
        Writes(networks::create_route_table),
        NEW_ROUTE_TABLE,
        None,
        concat!("ClientToken VpcId", " ", tags!()),
    ),
    row(
        "CreateSecurityGroup",
        Writes(security_groups::create),
        NEW_GROUP,
        None,
        concat!("GroupName GroupDescription VpcId", " ", tags!()),
    ),
    row(
        "CreateSubnet",
        Writes(networks::create_subnet),
        NEW_SUBNET,
        None,
        concat!("AvailabilityZone CidrBlock VpcId", " ", tags!()),
    ),
    row("CreateTags", Writes(tags::create), Needs::Of(tags::needs), None, "ResourceId Tag.*"),
    row(
        "CreateVpc",
        Writes(networks::create_vpc),
        NEW_VPC,
        None,
        concat!("CidrBlock InstanceTenancy=default", " ", tags!()),
    ),
    row("DeleteInternetGateway", Writes(networks::delete_gateway), GATEWAY, None, "InternetGatewayId"),
    row(
        "DeleteLaunchTemplate",
        Writes(launch_templates::delete),
        TEMPLATE,
        None,
        "LaunchTemplateId LaunchTemplateName",
    ),
    row(
        "DeleteLaunchTemplateVersions",
        Writes(launch_templates::delete_versions),
        TEMPLATE,
        None,
        "LaunchTemplateId LaunchTemplateName LaunchTemplateVersion",
    ),
    row("DeleteRoute", Writes(networks::delete_route), ROUTE_TABLE, None, "DestinationCidrBlock RouteTableId"),
    row("DeleteRouteTable", Writes(networks::delete_route_table), ROUTE_TABLE, None, "RouteTableId"),
    row("DeleteSecurityGroup", Writes(security_groups::delete), GROUP, None, "GroupId GroupName"),
    row("DeleteSubnet", Writes(networks::delete_subnet), SUBNET, None, "SubnetId"),
    row("DeleteTags", Writes(tags::delete), Needs::Of(tags::needs), None, "ResourceId Tag.*"),
    row("DeleteVpc", Writes(networks::delete_vpc), VPC, None, "VpcId"),
    row(
        "DescribeAddresses",
        Reads(addresses::describe),
        Needs::Own,
        None,
        "AllocationId Filter.Name Filter.Value PublicIp",
    ),
    row(
        "DescribeAvailabilityZones",
        Reads(network::describe_zones),
        Needs::Own,
        None,
        "AllAvailabilityZones ZoneName ZoneId Filter.Name Filter.Value",
    ),
    row(
        "DescribeImages",
        Reads(images::describe),
        Needs::Own,
        list("imagesSet"),
        concat!("ExecutableBy=all ImageId IncludeDeprecated IncludeDisabled Owner", " ", list!()),
    ),
    row("DescribeInstanceAttribute", Reads(instances::describe_attribute), Needs::Own, None, "Attribute InstanceId"),
    row(
        "DescribeInstanceStatus",
        Reads(instances::describe_status),
        Needs::Own,
        list("instanceStatusSet"),
        concat!("IncludeAllInstances IncludeManagedResources InstanceId", " ", list!()),
    ),
    row(
        "DescribeInstanceTypeOfferings",
        Reads(types::describe_offerings),
        Needs::Own,
        list("instanceTypeOfferingSet"),
        concat!("LocationType", " ", list!()),
    ),
    row(
        "DescribeInstanceTypes",
        Reads(types::describe),
        Needs::Own,
        list("instanceTypeSet"),
        concat!("IncludeUnsupportedInRegion=false InstanceType", " ", list!()),
    ),
    row(
        "DescribeInstances",
        Reads(instances::describe),
        Needs::Own,
        list("reservationSet"),
        concat!("IncludeManagedResources InstanceId", " ", list!()),
    ),
    row(
        "DescribeInternetGateways",
        Reads(network::describe_gateways),
        Needs::Own,
        list("internetGatewaySet"),
        concat!("InternetGatewayId", " ", list!()),
    ),
    row(
        "DescribeLaunchTemplateVersions",
        Reads(launch_templates::describe_versions),
        Needs::Own,
        list("launchTemplateVersionSet"),
        concat!(
            "IncludeManagedResources LaunchTemplateId LaunchTemplateName LaunchTemplateVersion MaxVersion MinVersion ResolveAlias",
            " ",
            list!()
        ),
    ),
    row(
        "DescribeLaunchTemplates",
        Reads(launch_templates::describe),
        Needs::Own,
        list("launchTemplates"),
        concat!("IncludeManagedResources LaunchTemplateId LaunchTemplateName", " ", list!()),
    ),
    row(
        "DescribeNetworkInterfaces",
        Reads(interfaces::describe),
        Needs::Own,
        list("networkInterfaceSet"),
        concat!("IncludeManagedResources NetworkInterfaceId", " ", list!()),
    ),
    row(
        "DescribeRegions",
        Reads(network::describe_regions),
        Needs::Own,
        None,
        "AllRegions RegionName Filter.Name Filter.Value",
    ),
    row(
        "DescribeRouteTables",
        Reads(network::describe_route_tables),
        Needs::Own,
        list("routeTableSet"),
        concat!("RouteTableId", " ", list!()),
    ),
    row(
        "DescribeSecurityGroupRules",
        Reads(security_groups::describe_rules),
        Needs::Own,
        list("securityGroupRuleSet"),
        concat!("SecurityGroupRuleId", " ", list!()),
    ),
    row(
        "DescribeSecurityGroups",
        Reads(security_groups::describe),
        Needs::Own,
        list("securityGroupInfo"),
        concat!("GroupId GroupName", " ", list!()),
    ),
    row(
        "DescribeSubnets",
        Reads(network::describe_subnets),
        Needs::Own,
        list("subnetSet"),
        concat!("SubnetId", " ", list!()),
    ),
    row("DescribeTags", Reads(tags::describe), Needs::Own, list("tagSet"), list!()),
    row("DescribeVolumes", Reads(volumes::describe), Needs::Own, list("volumeSet"), concat!("VolumeId", " ", list!())),
    row("DescribeVpcAttribute", Reads(network::describe_vpc_attribute), Needs::Own, None, "Attribute VpcId"),
    row("DescribeVpcs", Reads(network::describe_vpcs), Needs::Own, list("vpcSet"), concat!("VpcId", " ", list!())),
    row("DetachInternetGateway", Writes(networks::detach_gateway), GATEWAY_AND_VPC, None, "InternetGatewayId VpcId"),
    row("DisassociateAddress", Writes(addresses::disassociate), ADDRESS_OF_INSTANCE, None, "AssociationId"),
    row("DisassociateRouteTable", Writes(networks::disassociate), ROUTE_TABLE_OF_SUBNET, None, "AssociationId"),
    row("GetConsoleOutput", Reads(instances::console_output), INSTANCE, None, "InstanceId Latest"),
    row(
        "ModifyLaunchTemplate",
        Writes(launch_templates::modify),
        TEMPLATE,
        None,
        "ClientToken LaunchTemplateId LaunchTemplateName SetDefaultVersion",
    ),
    row(
        "ModifySubnetAttribute",
        Writes(networks::modify_subnet_attribute),
        SUBNET,
        None,
        "MapPublicIpOnLaunch.Value SubnetId",
    ),
    row(
        "ModifyVpcAttribute",
        Writes(networks::modify_vpc_attribute),
        VPC,
        None,
        "EnableDnsHostnames.Value EnableDnsSupport.Value VpcId",
    ),
    row("RebootInstances", Writes(instances::reboot), INSTANCE, None, "InstanceId"),
    row("ReleaseAddress", Writes(addresses::release), ADDRESS, None, "AllocationId"),
    row(
        "ReplaceRoute",
        Writes(networks::replace_route),
        ROUTE_TABLE,
        None,
        "DestinationCidrBlock GatewayId RouteTableId",
    ),
    row(
        "ReplaceRouteTableAssociation",
        Writes(networks::replace_association),
        ROUTE_TABLE_OF_SUBNET,
        None,
        "AssociationId RouteTableId",
    ),
    row(
        "RevokeSecurityGroupEgress",
        Writes(security_groups::revoke_egress),
        GROUP,
        None,
        concat!("SecurityGroupRuleId", " ", rules!()),
    ),
    row(
        "RevokeSecurityGroupIngress",
        Writes(security_groups::revoke_ingress),
        GROUP,
        None,
        concat!("GroupName ", "SecurityGroupRuleId", " ", rules!()),
    ),
    row("StartInstances", Writes(instances::start), INSTANCE, None, "InstanceId"),
    row(
        "StopInstances",
        Writes(instances::stop),
        INSTANCE,
        None,
        "Force=false Hibernate=false InstanceId SkipOsShutdown=false",
    ),
    row(
        "TerminateInstances",
        Writes(instances::terminate_by_id),
        INSTANCE,
        None,
        "Force=false InstanceId SkipOsShutdown=false",
    ),
    row(
        "UpdateSecurityGroupRuleDescriptionsEgress",
        Writes(security_groups::describe_egress),
        GROUP,
        None,
        concat!("GroupName ", permissions!()),
    ),
    row(
        "UpdateSecurityGroupRuleDescriptionsIngress",
        Writes(security_groups::describe_ingress),
        GROUP,
        None,
        concat!("GroupName ", permissions!()),
    ),
];
