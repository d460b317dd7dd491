//! Changes of a network by hand.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::AttributeBooleanValue;
use deployer::cloud::aws::Aws;
use local::AccountKind;

use super::inventory_of;
use crate::support::cloud::TestAws;
use crate::support::inventory::Inventory;
use crate::support::network;
use crate::support::plan::{is_like, lines};

/// A network that is made by hand, step by step.
pub(super) struct Hand<'a> {
    pub(super) aws: &'a Aws,
    pub(super) vpc: String,
}

impl<'a> Hand<'a> {
    pub(super) async fn new(aws: &'a Aws) -> Hand<'a> {
        let made = aws.ec2.create_vpc().cidr_block("10.1.0.0/16").send().await.expect("a VPC");
        Hand { aws, vpc: made.vpc.and_then(|vpc| vpc.vpc_id).expect("an id") }
    }

    pub(super) async fn subnet(&self, number: u8, zone: &str) -> String {
        self.subnet_of(&format!("10.1.{number}.0/24"), zone).await
    }

    pub(super) async fn subnet_of(&self, cidr: &str, zone: &str) -> String {
        let call = self.aws.ec2.create_subnet().vpc_id(&self.vpc).cidr_block(cidr);
        let made = call.availability_zone(zone).send().await.expect("a subnet");
        made.subnet.and_then(|subnet| subnet.subnet_id).expect("an id")
    }

    /// Gives the VPC a gateway, and its subnets a route to it.
    pub(super) async fn open(&self) -> String {
        let made = self.aws.ec2.create_internet_gateway().send().await.expect("a gateway");
        let gateway = made.internet_gateway.and_then(|it| it.internet_gateway_id).expect("an id");
        let attach = self.aws.ec2.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(&self.vpc);
        attach.send().await.expect("it can be attached");
        let of_vpc = aws_sdk_ec2::types::Filter::builder().name("vpc-id").values(&self.vpc).build();
        let tables = self.aws.ec2.describe_route_tables().filters(of_vpc).send().await.expect("route tables");
        let table = tables.route_tables()[0].route_table_id().expect("an id");
        let route = self.aws.ec2.create_route().route_table_id(table).gateway_id(&gateway);
        route.destination_cidr_block("0.0.0.0/0").send().await.expect("a route");
        gateway
    }

    pub(super) async fn set_addresses(&self, subnet: &str, wanted: bool) {
        let wanted = AttributeBooleanValue::builder().value(wanted).build();
        let call = self.aws.ec2.modify_subnet_attribute().subnet_id(subnet).map_public_ip_on_launch(wanted);
        call.send().await.expect("the subnet can be changed");
    }

    /// Removes everything, which fails if something else is left in it.
    pub(super) async fn remove(self, subnets: &[&str], gateway: &str) {
        let ec2 = &self.aws.ec2;
        for subnet in subnets {
            testkit::until("the interfaces of the load balancer to be gone", async || {
                ec2.delete_subnet().subnet_id(*subnet).send().await.is_ok()
            })
            .await;
        }
        let detach = ec2.detach_internet_gateway().internet_gateway_id(gateway).vpc_id(&self.vpc);
        detach.send().await.expect("the gateway can be detached");
        ec2.delete_internet_gateway().internet_gateway_id(gateway).send().await.expect("the gateway is ours");
        ec2.delete_vpc().vpc_id(&self.vpc).send().await.expect("nothing is left in the VPC");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_network_by_hand_is_one_line_of_the_plan_and_is_corrected() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let (project, hands) = (network::project(), network::Hands(&cloud.aws));
    cloud.done(&project, &["up", "network", "--yes"]).await;
    let goal = inventory_of(&cloud).await;
    for rows in [network::CHANGED, &[network::UNASSOCIATED]] {
        let mut seen = BTreeSet::new();
        for (address, line) in rows {
            let (field, _) = line.split_once(": ").expect("a field and its value");
            hands.change(address, field).await;
            let now = lines(&cloud.run(&project, &["plan", "network"]).await);
            let new: Vec<_> = now.difference(&seen).collect();
            let [(where_, what)] = new[..] else { panic!("{address} {line}: {new:?} is new") };
            assert!(where_ == address && is_like(what, line), "{address} {line}: {where_} {what}");
            seen = now;
        }
        cloud.done(&project, &["up", "network", "--yes"]).await;
        assert_eq!(cloud.run(&project, &["plan", "network", "--detailed-exitcode"]).await.code, 0);
    }
    hands.clean().await;
    assert_eq!(inventory_of(&cloud).await, goal);

    // A gateway with another id, and a subnet that keeps its zone and its addresses.
    hands.remove_gateway().await;
    let subnet = hands.subnets().await.remove(1).subnet_id.expect("an id");
    cloud.aws.ec2.delete_subnet().subnet_id(subnet).send().await.expect("nothing is in it");
    let plan = lines(&cloud.run(&project, &["plan", "network"]).await);
    for address in ["internet_gateway.own", "subnet.us-east-1b"] {
        assert!(plan.contains(&(address.into(), "+".into())), "{address}: {plan:?}");
    }
    cloud.done(&project, &["up", "network", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, goal);
    assert_eq!(cloud.run(&project, &["plan", "network", "--detailed-exitcode"]).await.code, 0);

    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}

/// The ids of the subnets of the stack.
pub(super) async fn subnet_ids(hands: &network::Hands<'_>) -> Vec<String> {
    hands.subnets().await.into_iter().filter_map(|subnet| subnet.subnet_id).collect()
}

/// Waits until this operation has been called.
pub(super) async fn called(cloud: &TestAws, operation: &str) {
    testkit::until(operation, async || {
        cloud.control().journal().await.iter().any(|call| call["operation"] == operation)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_subnet_keeps_its_way_to_the_internet() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let (project, hands) = (network::project(), network::Hands(&cloud.aws));
    cloud.done(&project, &["up", "network", "--yes"]).await;
    let subnets = subnet_ids(&hands).await;
    let make = cloud.aws.elb.create_load_balancer().name("other").set_subnets(Some(subnets));
    let other = make.send().await.expect("a load balancer").load_balancers()[0].load_balancer_arn.clone();
    let freed = async {
        called(&cloud, "DeleteSubnet").await;
        let associated: usize = hands.tables().await.iter().map(|table| table.associations().len()).sum();
        let calls = cloud.control().journal().await;
        assert!(calls.iter().all(|call| call["operation"] != "DisassociateRouteTable"));
        let delete = cloud.aws.elb.delete_load_balancer().set_load_balancer_arn(other);
        delete.send().await.expect("it can be deleted");
        associated
    };
    let (down, associated) = futures::join!(cloud.done(&project, &["down", "--yes"]), freed);
    assert_eq!(associated, 2, "{}", down.all());
    assert_eq!(inventory_of(&cloud).await, Inventory::new());
    cloud.end().await;
}
