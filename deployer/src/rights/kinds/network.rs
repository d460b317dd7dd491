//! The rights that the kinds of a network need.

use super::{OfKind, take_over_in_ec2};
use crate::rights::{On::*, When::*, right, right_when};

pub(super) const INTERNET_GATEWAY: OfKind = OfKind {
    kind: "internet_gateway",
    list: &[right("ec2:DescribeInternetGateways", Any)],
    // The one that is attached to the VPC may lack our tags.
    read: &[right("ec2:DescribeInternetGateways", Any), right("ec2:DescribeVpcs", Any)],
    loss: &[],
    tag: &[take_over_in_ec2(Gateways)],
    change: &[
        right_when("ec2:AttachInternetGateway", Gateways, Ours),
        right_when("ec2:AttachInternetGateway", Networks, Ours),
        right_when("ec2:CreateInternetGateway", Gateways, New),
        right_when("ec2:CreateTags", Gateways, CreatedBy(&["CreateInternetGateway"])),
        right_when("ec2:CreateTags", Gateways, Ours),
        // One that was made twice, and one that is attached to another network.
        right_when("ec2:DeleteInternetGateway", Gateways, Ours),
        right_when("ec2:DetachInternetGateway", Gateways, Ours),
        right("ec2:DetachInternetGateway", Networks),
    ],
    remove: &[
        right_when("ec2:DeleteInternetGateway", Gateways, Ours),
        right_when("ec2:DetachInternetGateway", Gateways, Ours),
        right("ec2:DetachInternetGateway", Networks),
    ],
};

pub(super) const ROUTE_TABLE: OfKind = OfKind {
    kind: "route_table",
    list: &[right("ec2:DescribeRouteTables", Any)],
    read: &[right("ec2:DescribeRouteTables", Any)],
    loss: &[],
    tag: &[],
    change: &[
        right_when("ec2:CreateRoute", RouteTables, Ours),
        right_when("ec2:CreateRouteTable", Networks, Ours),
        right_when("ec2:CreateRouteTable", RouteTables, New),
        right_when("ec2:CreateTags", RouteTables, CreatedBy(&["CreateRouteTable"])),
        right_when("ec2:CreateTags", RouteTables, Ours),
        // One that was made twice.
        right_when("ec2:DeleteRouteTable", RouteTables, Ours),
        right_when("ec2:ReplaceRoute", RouteTables, Ours),
    ],
    remove: &[right_when("ec2:DeleteRouteTable", RouteTables, Ours)],
};

pub(super) const SUBNET: OfKind = OfKind {
    kind: "subnet",
    list: &[right("ec2:DescribeSubnets", Any)],
    read: &[right("ec2:DescribeRouteTables", Any), right("ec2:DescribeSubnets", Any)],
    loss: &[],
    tag: &[],
    change: &[
        right_when("ec2:AssociateRouteTable", RouteTables, Ours),
        right_when("ec2:AssociateRouteTable", Subnets, Ours),
        right_when("ec2:CreateSubnet", Networks, Ours),
        right_when("ec2:CreateSubnet", Subnets, New),
        right_when("ec2:CreateTags", Subnets, CreatedBy(&["CreateSubnet"])),
        right_when("ec2:CreateTags", Subnets, Ours),
        right_when("ec2:ModifySubnetAttribute", Subnets, Ours),
        // From the table of another owner.
        right("ec2:ReplaceRouteTableAssociation", RouteTables),
    ],
    // EC2 ends the association with the subnet: the call for it is made on moto only.
    remove: &[right_when("ec2:DeleteSubnet", Subnets, Ours)],
};

pub(super) const VPC: OfKind = OfKind {
    kind: "vpc",
    list: &[right("ec2:DescribeVpcs", Any)],
    read: &[right("ec2:DescribeVpcs", Any)],
    loss: &[],
    tag: &[],
    change: &[
        right_when("ec2:CreateTags", Networks, CreatedBy(&["CreateVpc"])),
        right_when("ec2:CreateTags", Networks, Ours),
        right_when("ec2:CreateVpc", Networks, New),
        // One that was made twice.
        right_when("ec2:DeleteVpc", Networks, Ours),
    ],
    remove: &[right_when("ec2:DeleteVpc", Networks, Ours)],
};
