//! A network that a stack makes, and manual changes to it.

use aws_sdk_ec2::types::{
    AttributeBooleanValue, Filter, InternetGateway, ResourceType, RouteTable, Subnet, Tag, TagSpecification, Vpc,
};
use deployer::{cloud::aws::Aws, engine::STACK_TAG};

use super::Project;

/// The stack of [`project`].
const STACK: &str = "s";

/// The operations that only a network needs.
pub const OPERATIONS: &[&str] = &[
    "AssociateRouteTable",
    "AttachInternetGateway",
    "CreateInternetGateway",
    "CreateRoute",
    "CreateRouteTable",
    "CreateSubnet",
    "CreateVpc",
    "DeleteInternetGateway",
    "DeleteRouteTable",
    "DeleteSubnet",
    "DeleteVpc",
    "DescribeInternetGateways",
    "DescribeRouteTables",
    "DescribeSubnets",
    "DescribeVpcs",
    "DetachInternetGateway",
    "ModifySubnetAttribute",
];

/// A stack with a service in a network of its own.
pub fn project() -> Project {
    let project = Project::of_service("");
    project.edit("region: us-east-1\n", "region: us-east-1\ntags: { course: cloud }\nnetwork: own\n");
    project
}

/// Manual changes, in this order. Each is seen as one line of a plan, which `*` abbreviates.
pub const CHANGED: &[(&str, &str)] = &[
    ("vpc.own", "tags.course: cloud"),
    ("internet_gateway.own", "tags.course: cloud"),
    ("route_table.own", "tags.course: cloud"),
    ("subnet.us-east-1a", "tags.course: cloud"),
    ("vpc.own", "superfluous: [\"vpc-*\"] → []"),
    ("internet_gateway.own", "superfluous: [\"igw-*\"] → []"),
    ("internet_gateway.own", "vpc: vpc-* → vpc-*"),
    ("route_table.own", "superfluous: [\"rtb-*\"] → []"),
    ("route_table.own", "default_route: igw-*"),
    ("subnet.us-east-1a", "public_addresses: false → true"),
    ("subnet.us-east-1a", "route_table: rtb-* → rtb-*"),
];

/// The last change: until then, a subnet shows which route table is in use.
pub const UNASSOCIATED: (&str, &str) = ("subnet.us-east-1b", "route_table: rtb-*");

/// Makes changes to the network with the account's own credentials.
pub struct Hands<'a>(pub &'a Aws);

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn ours() -> Filter {
    filter(&format!("tag:{STACK_TAG}"), STACK)
}

/// The tags of something that was made twice.
fn again(kind: ResourceType) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).tags(Tag::builder().key(STACK_TAG).value(STACK).build()).build()
}

impl Hands<'_> {
    /// The VPCs of the stack, by their ids.
    pub async fn vpcs(&self) -> Vec<Vpc> {
        let found = self.0.ec2.describe_vpcs().filters(ours()).send().await.expect("VPCs");
        found.vpcs.unwrap_or_default()
    }

    pub async fn vpc(&self) -> String {
        // The one with subnets, if there are several.
        self.subnets().await[0].vpc_id().expect("an id").to_owned()
    }

    pub async fn gateways(&self) -> Vec<InternetGateway> {
        let found = self.0.ec2.describe_internet_gateways().filters(ours()).send().await.expect("gateways");
        found.internet_gateways.unwrap_or_default()
    }

    async fn gateway(&self) -> String {
        let attached = self.gateways().await.into_iter().find(|gateway| !gateway.attachments().is_empty());
        attached.and_then(|gateway| gateway.internet_gateway_id).expect("an attached gateway")
    }

    pub async fn tables(&self) -> Vec<RouteTable> {
        let found = self.0.ec2.describe_route_tables().filters(ours()).send().await.expect("route tables");
        found.route_tables.unwrap_or_default()
    }

    async fn table(&self) -> RouteTable {
        let used = self.tables().await.into_iter().find(|table| !table.associations().is_empty());
        used.expect("a table that subnets use")
    }

    /// The subnets of the stack, by zone.
    pub async fn subnets(&self) -> Vec<Subnet> {
        let found = self.0.ec2.describe_subnets().filters(ours()).send().await.expect("subnets");
        let mut subnets = found.subnets.unwrap_or_default();
        subnets.sort_by_key(|subnet| subnet.availability_zone.clone());
        subnets
    }

    async fn subnet(&self, address: &str) -> String {
        let zone = address.strip_prefix("subnet.").expect("the address of a subnet");
        let found = self.subnets().await.into_iter().find(|subnet| subnet.availability_zone() == Some(zone));
        found.and_then(|subnet| subnet.subnet_id).expect("a subnet in this zone")
    }

    /// Changes one field of one resource.
    pub async fn change(&self, address: &str, field: &str) {
        let (kind, _) = address.split_once('.').expect("an address");
        match (kind, field) {
            (_, "tags.course") => self.untag(address).await,
            ("vpc", "superfluous") => {
                let make =
                    self.0.ec2.create_vpc().cidr_block("10.7.0.0/16").tag_specifications(again(ResourceType::Vpc));
                make.send().await.expect("a VPC");
            }
            ("internet_gateway", "superfluous") => {
                let make = self.0.ec2.create_internet_gateway();
                make.tag_specifications(again(ResourceType::InternetGateway)).send().await.expect("a gateway");
            }
            ("internet_gateway", "vpc") => self.move_gateway().await,
            ("route_table", "superfluous") => {
                let make = self.0.ec2.create_route_table().vpc_id(self.vpc().await);
                make.tag_specifications(again(ResourceType::RouteTable)).send().await.expect("a route table");
            }
            ("route_table", "default_route") => {
                let table = self.table().await.route_table_id.expect("an id");
                let delete = self.0.ec2.delete_route().route_table_id(table).destination_cidr_block("0.0.0.0/0");
                delete.send().await.expect("the route can be deleted");
            }
            ("subnet", "public_addresses") => {
                let off = AttributeBooleanValue::builder().value(false).build();
                let modify = self.0.ec2.modify_subnet_attribute().subnet_id(self.subnet(address).await);
                modify.map_public_ip_on_launch(off).send().await.expect("it can be changed");
            }
            ("subnet", "route_table") => self.associate_otherwise(address).await,
            _ => panic!("{address} has no {field}"),
        }
    }

    /// Gives a resource to this stack.
    pub async fn give(&self, id: &str, stack: &str) {
        let tag = Tag::builder().key(STACK_TAG).value(stack).build();
        self.0.ec2.create_tags().resources(id).tags(tag).send().await.expect("it can be tagged");
    }

    /// Removes the tags that make the gateway ours.
    pub async fn disown_gateway(&self) {
        let untag =
            self.0.ec2.delete_tags().resources(self.gateway().await).tags(Tag::builder().key(STACK_TAG).build());
        untag.send().await.expect("it can be untagged");
    }

    async fn untag(&self, address: &str) {
        let id = match address {
            "vpc.own" => self.vpc().await,
            "internet_gateway.own" => self.gateway().await,
            "route_table.own" => self.table().await.route_table_id.expect("an id"),
            _ => self.subnet(address).await,
        };
        let untag = self.0.ec2.delete_tags().resources(id).tags(Tag::builder().key("course").build());
        untag.send().await.expect("it can be untagged");
    }

    /// Attaches the gateway to a VPC that is not ours.
    async fn move_gateway(&self) {
        let (gateway, vpc) = (self.gateway().await, self.vpc().await);
        let other = self.0.ec2.create_vpc().cidr_block("10.8.0.0/16").send().await.expect("a VPC");
        let other = other.vpc.and_then(|vpc| vpc.vpc_id).expect("an id");
        let detach = self.0.ec2.detach_internet_gateway().internet_gateway_id(&gateway).vpc_id(vpc);
        detach.send().await.expect("it can be detached");
        let attach = self.0.ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(other);
        attach.send().await.expect("it can be attached");
    }

    /// Removes the gateway: what takes its place has another id.
    pub async fn remove_gateway(&self) {
        let (gateway, vpc) = (self.gateway().await, self.vpc().await);
        let detach = self.0.ec2.detach_internet_gateway().internet_gateway_id(&gateway).vpc_id(vpc);
        detach.send().await.expect("it can be detached");
        self.0.ec2.delete_internet_gateway().internet_gateway_id(gateway).send().await.expect("it can be deleted");
    }

    /// Removes the association of one subnet, and gives another one a table of its own.
    async fn associate_otherwise(&self, address: &str) {
        let subnet = self.subnet(address).await;
        let table = self.table().await;
        let association = table.associations().iter().find(|it| it.subnet_id() == Some(&subnet)).expect("it has one");
        let association = association.route_table_association_id().expect("an id");
        if address == UNASSOCIATED.0 {
            let end = self.0.ec2.disassociate_route_table().association_id(association);
            end.send().await.expect("it can be ended");
            return;
        }
        let other = self.0.ec2.create_route_table().vpc_id(self.vpc().await).send().await.expect("a route table");
        let other = other.route_table.and_then(|table| table.route_table_id).expect("an id");
        let replace = self.0.ec2.replace_route_table_association().association_id(association).route_table_id(other);
        replace.send().await.expect("it can be replaced");
    }

    /// Removes what the changes have left besides the network.
    pub async fn clean(&self) {
        let all = self.0.ec2.describe_route_tables().filters(filter("vpc-id", &self.vpc().await)).send().await;
        for table in all.expect("route tables").route_tables() {
            let is_main = table.associations().iter().any(|it| it.main() == Some(true));
            if !is_main && table.tags().is_empty() {
                let delete = self.0.ec2.delete_route_table().route_table_id(table.route_table_id().expect("an id"));
                delete.send().await.expect("nothing uses it");
            }
        }
        for vpc in self.0.ec2.describe_vpcs().send().await.expect("VPCs").vpcs() {
            if vpc.tags().is_empty() && vpc.is_default() != Some(true) {
                let delete = self.0.ec2.delete_vpc().vpc_id(vpc.vpc_id().expect("an id"));
                delete.send().await.expect("nothing is in it");
            }
        }
    }
}
