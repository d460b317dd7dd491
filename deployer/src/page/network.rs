//! The network of the services: one that exists, or one that the stack makes.

use super::Layout;
use crate::{
    cloud::{
        aws::Aws,
        site::{Network, Own},
    },
    engine::{Handle, Inputs, Resource, Wire},
    kinds::{
        internet_gateway::{self, InternetGateway},
        route_table::{self, RouteTable},
        subnet::{self, Subnet},
        vpc::{self, Vpc},
    },
};

/// The network of the services.
pub(super) struct Placement {
    /// The id of the VPC.
    vpc: Wire,
    /// The same, if it is known before anything has been read.
    known_vpc: Option<String>,
    /// The ids of the subnets.
    pub subnets: Vec<Wire>,
}

impl Placement {
    /// The id of the VPC.
    pub fn vpc(&self) -> Wire {
        self.vpc.clone()
    }
}

impl Layout<'_> {
    /// The network of the services, with its resources if the stack makes it.
    pub(super) fn network(&mut self, network: &Network) -> Placement {
        match &network.own {
            Some(own) => self.own_network(own),
            None => Placement {
                vpc: Wire::literal(&network.vpc),
                known_vpc: Some(network.vpc.clone()),
                subnets: network.subnet_ids().into_iter().map(Wire::literal).collect(),
            },
        }
    }

    fn own_network(&mut self, own: &Own) -> Placement {
        const KEY: &str = "own";
        self.stack.section("network");
        let (stack, block) = (self.config.name.to_string(), own.block.to_string());
        let vpc = self.stack.add(KEY, Vpc::of(&stack), (), move |()| vpc::Settings::of(&block));
        let gateway = InternetGateway { stack: stack.clone() };
        let gateway =
            self.stack.add(KEY, gateway, vpc, |vpc: vpc::Output| internet_gateway::Settings::attached_to(vpc.id));
        let table = RouteTable { stack: stack.clone() };
        let table = self
            .stack
            .add(KEY, table, (vpc, gateway), |(vpc, gateway)| route_table::Settings::public(vpc.id, gateway.id));
        let vpc = vpc.wire(|vpc| vpc.id.clone());
        let mut placement = Placement { vpc, known_vpc: own.vpc.clone(), subnets: Vec::new() };
        for (zone, block) in &own.subnets {
            let subnet = self.subnet(&placement, zone, block.to_string(), table);
            placement.subnets.push(subnet.wire(|subnet| subnet.id.clone()));
        }
        placement
    }

    fn subnet(
        &mut self,
        placement: &Placement,
        zone: &str,
        block: String,
        table: Handle<RouteTable>,
    ) -> Handle<Subnet> {
        let (stack, name) = (self.config.name.to_string(), zone.to_owned());
        let subnet = move |vpc| Subnet { stack: stack.clone(), vpc, zone: name.clone() };
        self.add_in_vpc(zone, placement, subnet, table, move |table| subnet::Settings::public(block.clone(), table.id))
    }

    /// Adds a resource that is identified within its VPC. While that does not exist, the resource is found by what
    /// becomes of it.
    pub(super) fn add_in_vpc<R: Resource<Cloud = Aws>, I: Inputs>(
        &mut self,
        key: &str,
        placement: &Placement,
        resource: impl Fn(String) -> R + Send + Sync + 'static,
        inputs: I,
        settings: impl Fn(I::Known) -> R::Settings + Send + Sync + 'static,
    ) -> Handle<R> {
        let inputs = (placement.vpc(), inputs);
        match &placement.known_vpc {
            Some(vpc) => self.stack.add(key, resource(vpc.clone()), inputs, move |(_, known)| settings(known)),
            None => self.stack.add_inside(key, inputs, move |(vpc, known)| (resource(vpc), settings(known))),
        }
    }
}
