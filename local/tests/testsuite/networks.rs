//! Networks: what can be made, what is refused, and what has to be removed first.

use crate::support::stack::{TestCompute, ingress};

/// The ids of a network with two public subnets.
struct Made {
    vpc: String,
    gateway: String,
    table: String,
    subnets: [String; 2],
}

impl Made {
    async fn new(test: &TestCompute) -> Made {
        let vpc = test.ok("ec2", "CreateVpc", &[("CidrBlock", "10.1.0.0/16")]).await.field("vpcId");
        let gateway = test.ok("ec2", "CreateInternetGateway", &[]).await.field("internetGatewayId");
        test.ok("ec2", "AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).await;
        let table = test.ok("ec2", "CreateRouteTable", &[("VpcId", &vpc)]).await.field("routeTableId");
        let route = [("RouteTableId", &*table), ("DestinationCidrBlock", "0.0.0.0/0"), ("GatewayId", &gateway)];
        test.ok("ec2", "CreateRoute", &route).await;
        let mut subnets = [const { String::new() }; 2];
        for (at, zone) in ["us-east-1a", "us-east-1b"].into_iter().enumerate() {
            let cidr = format!("10.1.{at}.0/24");
            let form = [("VpcId", &*vpc), ("CidrBlock", &cidr), ("AvailabilityZone", zone)];
            let id = test.ok("ec2", "CreateSubnet", &form).await.field("subnetId");
            test.ok("ec2", "AssociateRouteTable", &[("RouteTableId", &*table), ("SubnetId", &id)]).await;
            subnets[at] = id;
        }
        Made { vpc, gateway, table, subnets }
    }
}

async fn refused(test: &TestCompute, service: &str, action: &str, form: &[(&str, &str)], code: &str) {
    let answer = test.call(service, action, form).await;
    assert!(answer.status >= 400, "{action} {form:?}: {}", answer.text);
    assert_eq!(answer.field("Code"), code, "{action} {form:?}: {}", answer.text);
}

#[tokio::test]
async fn ranges_of_addresses_are_checked() {
    let test = TestCompute::start().await;
    for wrong in ["10.0.0.0/8", "10.0.0.0/29", "10.0.0.0", "x/16"] {
        refused(&test, "ec2", "CreateVpc", &[("CidrBlock", wrong)], "InvalidVpc.Range").await;
    }
    let vpc = test.ok("ec2", "CreateVpc", &[("CidrBlock", "10.1.0.0/16")]).await.field("vpcId");
    for wrong in ["10.2.0.0/24", "10.1.0.0/15", "10.1.0.0/29"] {
        refused(&test, "ec2", "CreateSubnet", &[("VpcId", &vpc), ("CidrBlock", wrong)], "InvalidSubnet.Range").await;
    }
    test.ok("ec2", "CreateSubnet", &[("VpcId", &vpc), ("CidrBlock", "10.1.0.0/24")]).await;
    let overlapping = [("VpcId", &*vpc), ("CidrBlock", "10.1.0.128/25")];
    refused(&test, "ec2", "CreateSubnet", &overlapping, "InvalidSubnet.Conflict").await;
    let nowhere = [("VpcId", "vpc-0"), ("CidrBlock", "10.1.9.0/24")];
    refused(&test, "ec2", "CreateSubnet", &nowhere, "InvalidVpcID.NotFound").await;
    let zone = [("VpcId", &*vpc), ("CidrBlock", "10.1.9.0/24"), ("AvailabilityZone", "us-east-1z")];
    refused(&test, "ec2", "CreateSubnet", &zone, "InvalidParameterValue").await;
    for _ in 0..3 {
        test.ok("ec2", "CreateVpc", &[("CidrBlock", "10.1.0.0/16")]).await;
    }
    refused(&test, "ec2", "CreateVpc", &[("CidrBlock", "10.1.0.0/16")], "VpcLimitExceeded").await;
    test.stop().await;
}

#[tokio::test]
async fn a_new_network_has_aws_defaults() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    for (attribute, value) in [("enableDnsSupport", "true"), ("enableDnsHostnames", "false")] {
        let form = [("VpcId", &*made.vpc), ("Attribute", attribute)];
        assert_eq!(test.ok("ec2", "DescribeVpcAttribute", &form).await.field("value"), value);
    }
    test.ok("ec2", "ModifyVpcAttribute", &[("VpcId", &*made.vpc), ("EnableDnsHostnames.Value", "true")]).await;
    let form = [("VpcId", &*made.vpc), ("Attribute", "enableDnsHostnames")];
    assert_eq!(test.ok("ec2", "DescribeVpcAttribute", &form).await.field("value"), "true");
    let is_available = async || {
        let form = [("VpcId.1", &*made.vpc)];
        test.ok("ec2", "DescribeVpcs", &form).await.field("state") == "available"
    };
    test.until("the VPC is available", is_available).await;
    let subnet = [("SubnetId.1", &*made.subnets[0])];
    assert_eq!(test.ok("ec2", "DescribeSubnets", &subnet).await.field("mapPublicIpOnLaunch"), "false");
    let groups = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &*made.vpc)];
    assert_eq!(test.ok("ec2", "DescribeSecurityGroups", &groups).await.field("groupName"), "default");

    // A route leads nowhere once its gateway is detached.
    let tables = [("RouteTableId.1", &*made.table)];
    assert!(!test.ok("ec2", "DescribeRouteTables", &tables).await.text.contains("blackhole"));
    let gateway = [("InternetGatewayId", &*made.gateway), ("VpcId", &*made.vpc)];
    test.ok("ec2", "DetachInternetGateway", &gateway).await;
    assert!(test.ok("ec2", "DescribeRouteTables", &tables).await.text.contains("blackhole"));
    refused(&test, "ec2", "DetachInternetGateway", &gateway, "Gateway.NotAttached").await;
    test.stop().await;
}

#[tokio::test]
async fn routes_and_associations_are_replaced_in_one_step() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    let route = [("RouteTableId", &*made.table), ("DestinationCidrBlock", "0.0.0.0/0"), ("GatewayId", &made.gateway)];
    test.ok("ec2", "ReplaceRoute", &route).await;
    let missing = [route[0], ("DestinationCidrBlock", "192.0.2.0/24"), route[2]];
    refused(&test, "ec2", "ReplaceRoute", &missing, "InvalidParameterValue").await;
    let gateway = [route[0], route[1], ("GatewayId", "igw-0")];
    refused(&test, "ec2", "ReplaceRoute", &gateway, "InvalidGatewayID.NotFound").await;

    let of_subnet = [("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", &*made.subnets[0])];
    let there = test.ok("ec2", "DescribeRouteTables", &of_subnet).await;
    let (_, associations) = there.text.split_once("<associationSet>").expect("associations");
    let first = associations.split("<item>").find(|item| item.contains(&made.subnets[0])).expect("of the subnet");
    let (_, id) = first.split_once("<routeTableAssociationId>").expect("an id");
    let id = id.split('<').next().expect("text");
    let create = [("VpcId", &*made.vpc), ("ClientToken", "once")];
    let next = test.ok("ec2", "CreateRouteTable", &create).await.field("routeTableId");
    assert_eq!(test.ok("ec2", "CreateRouteTable", &create).await.field("routeTableId"), next, "it is the same call");
    let replace = [("AssociationId", id), ("RouteTableId", &next)];
    let replaced = test.ok("ec2", "ReplaceRouteTableAssociation", &replace).await.field("newAssociationId");
    assert_ne!(replaced, id);
    assert_eq!(test.ok("ec2", "DescribeRouteTables", &of_subnet).await.field("routeTableId"), next);
    refused(&test, "ec2", "ReplaceRouteTableAssociation", &replace, "InvalidAssociationID.NotFound").await;
    let other = test.ok("ec2", "CreateVpc", &[("CidrBlock", "10.2.0.0/16")]).await.field("vpcId");
    let elsewhere = [("VpcId", &*other), ("ClientToken", "once")];
    refused(&test, "ec2", "CreateRouteTable", &elsewhere, "IdempotentParameterMismatch").await;
    let outside = test.ok("ec2", "CreateRouteTable", &[("VpcId", &other)]).await.field("routeTableId");
    let wrong = [("AssociationId", &*replaced), ("RouteTableId", &outside)];
    refused(&test, "ec2", "ReplaceRouteTableAssociation", &wrong, "InvalidParameterValue").await;
    test.stop().await;
}

#[tokio::test]
async fn parts_of_different_networks_do_not_fit_together() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    let other = test.ok("ec2", "CreateVpc", &[("CidrBlock", "10.2.0.0/16")]).await.field("vpcId");
    let gateway = [("InternetGatewayId", &*made.gateway), ("VpcId", &*other)];
    refused(&test, "ec2", "AttachInternetGateway", &gateway, "Resource.AlreadyAssociated").await;
    let second = test.ok("ec2", "CreateInternetGateway", &[]).await.field("internetGatewayId");
    let both = [("InternetGatewayId", &*second), ("VpcId", &*made.vpc)];
    refused(&test, "ec2", "AttachInternetGateway", &both, "InvalidParameterValue").await;
    let table = test.ok("ec2", "CreateRouteTable", &[("VpcId", &other)]).await.field("routeTableId");
    let route = [("RouteTableId", &*table), ("DestinationCidrBlock", "0.0.0.0/0"), ("GatewayId", &*made.gateway)];
    refused(&test, "ec2", "CreateRoute", &route, "InvalidParameterValue").await;
    let association = [("RouteTableId", &*table), ("SubnetId", &*made.subnets[0])];
    refused(&test, "ec2", "AssociateRouteTable", &association, "InvalidParameterValue").await;

    // Security groups have names of their own in each VPC, and load balancers take those of theirs.
    let group = |vpc: &'static str| [("GroupName", "web"), ("GroupDescription", "d"), ("VpcId", vpc)];
    let (inside, outside) = (made.vpc.clone().leak(), other.clone().leak());
    let ours = test.ok("ec2", "CreateSecurityGroup", &group(inside)).await.field("groupId");
    let theirs = test.ok("ec2", "CreateSecurityGroup", &group(outside)).await.field("groupId");
    refused(&test, "ec2", "CreateSecurityGroup", &group(inside), "InvalidGroup.Duplicate").await;
    let balancer = |group: &str| {
        let [first, second] = made.subnets.clone();
        let form = [("Name", "web".to_owned()), ("Subnets.member.1", first), ("Subnets.member.2", second)];
        form.into_iter().chain([("SecurityGroups.member.1", group.to_owned())]).collect::<Vec<_>>()
    };
    let form = |pairs: Vec<(&'static str, String)>| pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    let wrong = test.call_with("elasticloadbalancing", "CreateLoadBalancer", form(balancer(&theirs)).collect()).await;
    assert_eq!(wrong.field("Code"), "InvalidConfigurationRequest", "{}", wrong.text);
    let balancer = test.ok_with("elasticloadbalancing", "CreateLoadBalancer", form(balancer(&ours)).collect()).await;
    let balancer = balancer.field("LoadBalancerArn");
    let groups = [("LoadBalancerArn", &*balancer), ("SecurityGroups.member.1", &theirs)];
    refused(&test, "elasticloadbalancing", "SetSecurityGroups", &groups, "InvalidConfigurationRequest").await;

    // A rule names groups of its own VPC.
    let rule = ingress(&ours, "80", ("IpPermissions.1.Groups.1.GroupId", &theirs));
    for action in ["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"] {
        refused(&test, "ec2", action, &rule, "InvalidGroup.NotFound").await;
    }

    // A listener forwards to target groups in the VPC of its load balancer.
    let [inside, outside] = [target_group(&test, "in", &made.vpc).await, target_group(&test, "out", &other).await];
    let to = |group: &'static str| {
        [("DefaultActions.member.1.Type", "forward"), ("DefaultActions.member.1.TargetGroupArn", group)]
    };
    let own = [("LoadBalancerArn", &*balancer), ("Protocol", "HTTP"), ("Port", "80")];
    let (wrong, right) = (to(outside.leak()), to(inside.leak()));
    let create = [&own[..], &wrong].concat();
    refused(&test, "elasticloadbalancing", "CreateListener", &create, "InvalidConfigurationRequest").await;
    let create = [&own[..], &right].concat();
    let listener = test.ok("elasticloadbalancing", "CreateListener", &create).await.field("ListenerArn");
    let modify = [&[("ListenerArn", &*listener)][..], &wrong].concat();
    refused(&test, "elasticloadbalancing", "ModifyListener", &modify, "InvalidConfigurationRequest").await;
    test.stop().await;
}

async fn target_group(test: &TestCompute, name: &str, vpc: &str) -> String {
    let form = [("Name", name), ("Protocol", "HTTP"), ("Port", "8080"), ("VpcId", vpc)];
    test.ok("elasticloadbalancing", "CreateTargetGroup", &form).await.field("TargetGroupArn")
}

#[tokio::test]
async fn instances_and_their_target_groups_are_in_one_network() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    let elsewhere = target_group(&test, "elsewhere", &made.vpc).await;
    let stack = test.up("/", &[]).await;
    let id = test.instance_ids().await.remove(0);
    let register = [("TargetGroupArn", &*elsewhere), ("Targets.member.1.Id", &id)];
    refused(&test, "elasticloadbalancing", "RegisterTargets", &register, "InvalidTarget").await;
    let attach = [("AutoScalingGroupName", "web"), ("TargetGroupARNs.member.1", &*elsewhere)];
    refused(&test, "autoscaling", "AttachLoadBalancerTargetGroups", &attach, "ValidationError").await;
    let subnets = made.subnets.join(",");
    let moved = [("AutoScalingGroupName", "web"), ("VPCZoneIdentifier", &*subnets)];
    refused(&test, "autoscaling", "UpdateAutoScalingGroup", &moved, "ValidationError").await;
    let create = [
        ("AutoScalingGroupName", "other"),
        ("LaunchTemplate.LaunchTemplateName", "web"),
        ("MinSize", "0"),
        ("MaxSize", "0"),
        ("VPCZoneIdentifier", &stack.subnets[0]),
        ("TargetGroupARNs.member.1", &elsewhere),
    ];
    refused(&test, "autoscaling", "CreateAutoScalingGroup", &create, "ValidationError").await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_load_balancer_answers_while_a_subnet_of_it_leads_to_the_internet() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    let form = [("Name", "web"), ("Subnets.member.1", &*made.subnets[0]), ("Subnets.member.2", &*made.subnets[1])];
    let created = test.ok("elasticloadbalancing", "CreateLoadBalancer", &form).await;
    let (balancer, address) = (created.field("LoadBalancerArn"), created.field("DNSName"));
    let listener = [
        ("LoadBalancerArn", &*balancer),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("DefaultActions.member.1.Type", "fixed-response"),
        ("DefaultActions.member.1.FixedResponseConfig.StatusCode", "200"),
    ];
    test.ok("elasticloadbalancing", "CreateListener", &listener).await;
    let answers = async || {
        let asked = test.get_or_refused(&address, "/");
        tokio::time::timeout(std::time::Duration::from_millis(500), asked).await.is_ok_and(|reply| reply.is_some())
    };
    test.until("the load balancer answers", answers).await;
    let route = [("RouteTableId", &*made.table), ("DestinationCidrBlock", "0.0.0.0/0")];
    test.ok("ec2", "DeleteRoute", &route).await;
    test.until("no client reaches it", async || !answers().await).await;
    test.ok("ec2", "CreateRoute", &[&route[..], &[("GatewayId", &*made.gateway)]].concat()).await;
    test.until("clients reach it again", answers).await;
    test.stop().await;
}

#[tokio::test]
async fn a_load_balancer_needs_room_in_its_subnets() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    let subnet = async |cidr: &str| {
        let form = [("VpcId", &*made.vpc), ("CidrBlock", cidr), ("AvailabilityZone", "us-east-1c")];
        test.ok("ec2", "CreateSubnet", &form).await.field("subnetId")
    };
    let free = async |id: &str| {
        let form = [("SubnetId.1", id)];
        test.ok("ec2", "DescribeSubnets", &form)
            .await
            .field("availableIpAddressCount")
            .parse::<u32>()
            .expect("a number")
    };
    let (small, narrow) = (subnet("10.1.8.0/28").await, subnet("10.1.9.0/27").await);
    assert_eq!((free(&small).await, free(&narrow).await), (11, 27));
    let create = |name: &str, third: &str| {
        let form = [("Name", name), ("Subnets.member.1", &made.subnets[0]), ("Subnets.member.2", third)];
        form.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    let wrong = test.call_with("elasticloadbalancing", "CreateLoadBalancer", create("small", &small)).await;
    assert_eq!(wrong.field("Code"), "InvalidSubnet", "{}", wrong.text);
    for number in 0..20 {
        let name = format!("web-{number}");
        test.ok_with("elasticloadbalancing", "CreateLoadBalancer", create(&name, &narrow)).await;
    }
    assert_eq!(free(&narrow).await, 7, "each load balancer has an interface");
    let full = test.call_with("elasticloadbalancing", "CreateLoadBalancer", create("full", &narrow)).await;
    assert_eq!(full.field("Code"), "InvalidSubnet", "{}", full.text);
    assert!(full.text.contains("ELB requires at least 8 free IP addresses in each subnet."), "{}", full.text);
    // One that is there already has its addresses.
    test.ok_with("elasticloadbalancing", "CreateLoadBalancer", create("web-3", &narrow)).await;
    test.stop().await;
}

#[tokio::test]
async fn a_refused_deletion_of_versions_deletes_none() {
    let test = TestCompute::start().await;
    let data = [("LaunchTemplateName", "web"), ("LaunchTemplateData.InstanceType", "t3.micro")];
    test.ok("ec2", "CreateLaunchTemplate", &data).await;
    for _ in 0..2 {
        test.ok("ec2", "CreateLaunchTemplateVersion", &data).await;
    }
    let versions = [("LaunchTemplateName", "web"), ("LaunchTemplateVersion.1", "2"), ("LaunchTemplateVersion.2", "x")];
    refused(&test, "ec2", "DeleteLaunchTemplateVersions", &versions, "InvalidParameterValue").await;
    let left = test.ok("ec2", "DescribeLaunchTemplateVersions", &[("LaunchTemplateName", "web")]).await;
    assert_eq!(left.text.matches("<versionNumber>").count(), 3, "{}", left.text);
    test.stop().await;
}

#[tokio::test]
async fn an_attribute_is_changed_only_to_a_value() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    let form = [("SubnetId", &*made.subnets[0]), ("MapPublicIpOnLaunch.Value", "")];
    refused(&test, "ec2", "ModifySubnetAttribute", &form, "MissingParameter").await;
    let form = [("VpcId", &*made.vpc), ("EnableDnsSupport.Value", "")];
    refused(&test, "ec2", "ModifyVpcAttribute", &form, "MissingParameter").await;
    let form = [("VpcId", &*made.vpc), ("Attribute", "enableDnsSupport")];
    assert_eq!(test.ok("ec2", "DescribeVpcAttribute", &form).await.field("value"), "true");
    test.stop().await;
}

#[tokio::test]
async fn a_network_is_removed_from_the_inside() {
    let test = TestCompute::start().await;
    let made = Made::new(&test).await;
    let subnets = [("Subnets.member.1", &*made.subnets[0]), ("Subnets.member.2", &*made.subnets[1])];
    let form = [&[("Name", "web")][..], &subnets].concat();
    let balancer = test.ok("elasticloadbalancing", "CreateLoadBalancer", &form).await.field("LoadBalancerArn");
    let (vpc, gateway, table) = (&*made.vpc, &*made.gateway, &*made.table);
    let attached = [("InternetGatewayId", gateway), ("VpcId", vpc)];
    for (action, form) in [
        ("DeleteVpc", &[("VpcId", vpc)][..]),
        ("DeleteSubnet", &[("SubnetId", &*made.subnets[0])]),
        ("DetachInternetGateway", &attached),
        ("DeleteInternetGateway", &[("InternetGatewayId", gateway)]),
        ("DeleteRouteTable", &[("RouteTableId", table)]),
    ] {
        refused(&test, "ec2", action, form, "DependencyViolation").await;
    }
    test.ok("elasticloadbalancing", "DeleteLoadBalancer", &[("LoadBalancerArn", &balancer)]).await;
    for subnet in &made.subnets {
        test.until("the interfaces of the load balancer are gone", async || {
            test.call("ec2", "DeleteSubnet", &[("SubnetId", subnet)]).await.status == 200
        })
        .await;
    }
    test.ok("ec2", "DetachInternetGateway", &attached).await;
    test.ok("ec2", "DeleteInternetGateway", &[("InternetGatewayId", gateway)]).await;
    refused(&test, "ec2", "DeleteVpc", &[("VpcId", vpc)], "DependencyViolation").await;
    test.ok("ec2", "DeleteRouteTable", &[("RouteTableId", table)]).await;
    test.ok("ec2", "DeleteVpc", &[("VpcId", vpc)]).await;
    refused(&test, "ec2", "DeleteVpc", &[("VpcId", vpc)], "InvalidVpcID.NotFound").await;
    test.stop().await;
}

#[tokio::test]
async fn the_default_network_cannot_be_removed() {
    let test = TestCompute::start().await;
    let vpc = test.ok("ec2", "DescribeVpcs", &[]).await.field("vpcId");
    let answer = test.call("ec2", "DeleteVpc", &[("VpcId", &vpc)]).await;
    assert!(answer.status >= 400, "{}", answer.text);
    test.stop().await;
}
