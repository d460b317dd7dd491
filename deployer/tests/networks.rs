//! Accounts without a default network: a whole stack in a network that stack.yaml names.

mod support;

use aws_sdk_ec2::types::AttributeBooleanValue;
use deployer::cloud::aws::Aws;
use local::AccountKind;
use support::{Project, cloud::TestAws};

/// A network that is made by hand, step by step.
struct Hand<'a> {
    aws: &'a Aws,
    vpc: String,
}

impl<'a> Hand<'a> {
    async fn new(aws: &'a Aws) -> Hand<'a> {
        let made = aws.ec2.create_vpc().cidr_block("10.1.0.0/16").send().await.expect("a VPC");
        Hand { aws, vpc: made.vpc.and_then(|vpc| vpc.vpc_id).expect("an id") }
    }

    async fn subnet(&self, number: u8, zone: &str) -> String {
        self.subnet_of(&format!("10.1.{number}.0/24"), zone).await
    }

    async fn subnet_of(&self, cidr: &str, zone: &str) -> String {
        let call = self.aws.ec2.create_subnet().vpc_id(&self.vpc).cidr_block(cidr);
        let made = call.availability_zone(zone).send().await.expect("a subnet");
        made.subnet.and_then(|subnet| subnet.subnet_id).expect("an id")
    }

    /// Gives the VPC a gateway, and its subnets a route to it.
    async fn open(&self) -> String {
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

    async fn set_addresses(&self, subnet: &str, wanted: bool) {
        let wanted = AttributeBooleanValue::builder().value(wanted).build();
        let call = self.aws.ec2.modify_subnet_attribute().subnet_id(subnet).map_public_ip_on_launch(wanted);
        call.send().await.expect("the subnet can be changed");
    }

    /// Removes everything, which fails if something else is left in it.
    async fn remove(self, subnets: &[&str], gateway: &str) {
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

/// A stack in this network.
fn project_in(vpc: &str, subnets: &[&str]) -> Project {
    let project = Project::of_service("");
    let network = format!("network: {{ vpc: {vpc}, subnets: [{}] }}", subnets.join(", "));
    project.edit("region: us-east-1\n", &format!("region: us-east-1\n{network}\n"));
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_lives_in_a_network_that_stack_yaml_names() {
    let cloud = TestAws::of_kind(AccountKind::NoDefaultVpc).await;
    let none = cloud.run(&Project::of_service(""), &["up", "--yes"]).await;
    assert_eq!(none.code, 1, "{}", none.all());
    for words in ["us-east-1 has no default network", "create-default-vpc", "network: { vpc: vpc-"] {
        assert!(none.stderr.contains(words), "{}", none.all());
    }

    let hand = Hand::new(&cloud.aws).await;
    let [first, second] = [hand.subnet(1, "us-east-1a").await, hand.subnet(2, "us-east-1b").await];
    let beside = hand.subnet(3, "us-east-1a").await;
    let refused = async |vpc: &str, subnets: &[&str], error: &str, remedy: &str| {
        let project = project_in(vpc, subnets);
        for command in [&["up", "--yes"][..], &["doctor"]] {
            let said = cloud.run(&project, command).await;
            assert_eq!(said.code, 1, "{command:?}: {}", said.all());
            assert!(said.all().contains(error) && said.all().contains(remedy), "{command:?}: {}", said.all());
        }
    };
    let vpc = hand.vpc.as_str();
    refused("vpc-0a", &[&first, &second], "there is no VPC vpc-0a in us-east-1", "describe-vpcs").await;
    refused(vpc, &[&first, "subnet-0a"], "there is no subnet subnet-0a", "describe-subnets").await;
    refused(vpc, &[&first, &second], "has no route to the internet", "create-route").await;
    let gateway = hand.open().await;
    refused(vpc, &[&first, &second], "gives instances no public addresses", "--map-public-ip-on-launch").await;
    for subnet in [&first, &second, &beside] {
        hand.set_addresses(subnet, true).await;
    }
    refused(vpc, &[&first, &beside], "are both in us-east-1a", "one subnet for each zone").await;
    let small = hand.subnet_of("10.1.8.0/28", "us-east-1b").await;
    refused(vpc, &[&first, &small], "is too small (10.1.8.0/28)", "name larger subnets").await;

    // A subnet whose addresses the load balancers of others have.
    let narrow = hand.subnet_of("10.1.9.0/27", "us-east-1b").await;
    hand.set_addresses(&narrow, true).await;
    let mut balancers = Vec::new();
    for number in 0..20 {
        let call =
            cloud.aws.elb.create_load_balancer().name(format!("other-{number}")).subnets(&first).subnets(&narrow);
        let made = call.send().await.expect("a load balancer");
        balancers.extend(made.load_balancers()[0].load_balancer_arn().map(str::to_owned));
    }
    let full = cloud.run(&project_in(vpc, &[&first, &narrow]), &["up", "--yes"]).await;
    assert_eq!(full.code, 1, "{}", full.all());
    for words in ["has 7 free addresses; a load balancer needs 8 in each subnet", "hint: free addresses in it"] {
        assert!(full.stderr.contains(words), "{}", full.all());
    }
    for arn in balancers {
        let call = cloud.aws.elb.delete_load_balancer().load_balancer_arn(arn);
        call.send().await.expect("a load balancer can be deleted");
    }

    let other = Hand::new(&cloud.aws).await;
    let error = format!("the subnet {second} is in {vpc}, not in {}", other.vpc);
    refused(&other.vpc, &[&second, &first], error.rsplit_once(" is in").expect("it").1, "describe-subnets").await;
    let changed = cloud.control().journal().await;
    assert!(changed.iter().all(|call| call["operation"] != "CreateBucket"), "nothing is created before the checks");

    let project = project_in(vpc, &[&first, &second]);
    let up = cloud.done(&project, &["up", "--yes"]).await;
    assert!(up.stderr.contains("→ http://"), "{}", up.all());
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
    let instances = cloud.aws.ec2.describe_instances().send().await.expect("instances");
    let one = &instances.reservations()[0].instances()[0];
    assert_eq!(one.vpc_id(), Some(vpc));
    assert!([&first, &second].contains(&&one.subnet_id().expect("a subnet").to_owned()));
    let policy = project.done(&["policy", "up"]);
    assert!(policy.stdout.contains("ec2:DescribeRouteTables"), "{}", policy.all());

    // What exists is used even if nothing could be created in the network any more.
    hand.set_addresses(&first, false).await;
    let stuck = cloud.run(&project, &["plan"]).await;
    assert!(stuck.code == 1 && stuck.stderr.contains("gives instances no public addresses"), "{}", stuck.all());
    for command in ["why", "outputs", "history", "status"] {
        cloud.done(&project, &[command]).await;
    }
    let policy = project.done(&["policy", "down"]);
    assert!(!policy.stdout.contains("ec2:DescribeVpcs"), "{}", policy.all());
    hand.set_addresses(&first, true).await;

    // A load balancer cannot move to another network.
    let hand_of_other = [other.subnet(1, "us-east-1a").await, other.subnet(2, "us-east-1b").await];
    let gateway_of_other = other.open().await;
    for subnet in &hand_of_other {
        other.set_addresses(subnet, true).await;
    }
    project.edit(vpc, &other.vpc);
    project.edit(&first, &hand_of_other[0]);
    project.edit(&second, &hand_of_other[1]);
    let moved = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(moved.code, 1, "{}", moved.all());
    assert!(moved.stderr.contains("nothing was changed"), "{}", moved.all());

    // The stack is kept and removed where it is, not where stack.yaml says by now.
    let kept = cloud.done(&project, &["down", "--yes", "--keep", "services.web"]).await;
    assert!(kept.stderr.contains("everything that exists is kept"), "{}", kept.all());
    let down = cloud.done(&project, &["down", "--yes"]).await;
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    hand.remove(&[&first, &second, &beside, &small, &narrow], &gateway).await;
    other.remove(&[&hand_of_other[0], &hand_of_other[1]], &gateway_of_other).await;
}
