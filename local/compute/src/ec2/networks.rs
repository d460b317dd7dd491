//! Calls that make, change and delete networks (docs/aws.md §8.1).

mod gateways;
mod routes;
mod subnets;
mod vpcs;

use super::tags;
use kit::call::{Asked, Need};
use kit::query::{Answer, ApiError, Params, Xml};

pub use gateways::{attach_gateway, create_gateway, delete_gateway, detach_gateway};
pub use routes::{
    associate, create_route, create_route_table, delete_route, delete_route_table, disassociate, replace_association,
    replace_route, table_of,
};
pub use subnets::{create_subnet, delete_subnet, modify_subnet_attribute};
pub use vpcs::{create_vpc, delete_vpc, modify_vpc_attribute};

/// The sizes of VPCs and subnets, in bits (`API:ec2.CreateVpc`, `API:ec2.CreateSubnet`).
const BITS: std::ops::RangeInclusive<u32> = 16..=28;

/// The ranges that contain no host addresses: of this host and loopback, link-local, multicast and reserved (docs/aws.md
/// §8.1).
const NO_HOSTS: &[&str] = &["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];

fn violation(what: &str, id: &str) -> ApiError {
    ApiError::new("DependencyViolation", format!("The {what} '{id}' has dependencies and cannot be deleted."))
}

fn done() -> Answer {
    let mut xml = Xml::new();
    xml.text("return", true);
    Ok(xml)
}

/// Returns the permissions that a call needs on the resources it names, given by type and parameter.
pub fn needs_on(asked: &Asked, on: &[(&str, &str)]) -> Vec<Need> {
    let need = |(kind, parameter): &(&str, &str)| {
        let id = asked.call.input.text(parameter).unwrap_or("*");
        asked.own(asked.arn(&format!("{kind}/{id}")))
    };
    on.iter().map(need).collect()
}

/// Returns the permissions to change the association of a subnet: on its route table, and on the next one.
pub fn needs_on_association(asked: &Asked) -> Vec<Need> {
    let table = (asked.entity_arn)("route-table-association", asked.text("AssociationId"));
    let mut needs = vec![asked.own(table.unwrap_or_else(|| asked.arn("route-table/*")))];
    if asked.call.input.text("RouteTableId").is_some() {
        needs.extend(needs_on(asked, &[("route-table", "RouteTableId")]));
    }
    needs
}

/// Returns the permissions for a new resource inside a VPC.
pub fn needs_inside(asked: &Asked, resource_type: &str) -> Vec<Need> {
    let mut needs = tags::with_creation(asked, resource_type);
    needs.extend(needs_on(asked, &[("vpc", "VpcId")]));
    needs
}

/// Returns the value of an attribute, which must be given.
fn value(attribute: &Params) -> Result<bool, ApiError> {
    attribute.required("Value")?;
    attribute.flag_of_ec2("Value")
}

#[cfg(test)]
mod tests {
    use super::gateways::{attach_gateway, create_gateway, delete_gateway};
    use super::routes::{MOST_ROUTES, MOST_TABLES, create_route, create_route_table, delete_route, disassociate};
    use super::subnets::create_subnet;
    use super::vpcs::{MOST_VPCS, create_vpc, modify_vpc_attribute};
    use super::*;
    use crate::Site;
    use crate::clock::Moment;
    use crate::ec2::network;
    use crate::fixture::site;
    use crate::state::State;
    use kit::speed::Speed;

    type Call = fn(&mut State, &Site, &Params) -> Answer;

    /// Makes a call; the error is its code.
    fn made(state: &mut State, call: Call, form: &[(&str, &str)]) -> Result<String, &'static str> {
        let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = call(state, &site(Speed::REAL, Default::default()), &Params::parse(&form));
        answer.map(Xml::into_text).map_err(|fault| fault.code)
    }

    fn read(state: &State, call: fn(&State, &Site, &Params) -> Answer, form: &[(&str, &str)]) -> String {
        let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        call(state, &site(Speed::REAL, Default::default()), &Params::parse(&form)).unwrap().into_text()
    }

    /// The text of the first element with this name.
    fn field(text: &str, name: &str) -> String {
        let rest = text.split(&format!("<{name}>")).nth(1).expect(name);
        rest.split('<').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn only_ranges_of_hosts_are_networks() {
        let mut state = State::default();
        for (cidr, expected) in [
            ("0.1.0.0/16", Err("InvalidVpc.Range")),
            ("127.0.0.0/16", Err("InvalidVpc.Range")),
            ("169.254.0.0/24", Err("InvalidVpc.Range")),
            ("224.0.0.0/16", Err("InvalidVpc.Range")),
            ("255.255.0.0/16", Err("InvalidVpc.Range")),
            ("1.0.0.0/16", Ok(())),
            ("169.253.0.0/16", Ok(())),
            ("223.255.0.0/16", Ok(())),
        ] {
            assert_eq!(made(&mut state, create_vpc, &[("CidrBlock", cidr)]).map(drop), expected, "{cidr}");
        }
    }

    #[test]
    fn the_local_route_and_the_main_association_stay() {
        let mut state = State::default();
        let vpc = field(&made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap(), "vpcId");
        let gateway = field(&made(&mut state, create_gateway, &[]).unwrap(), "internetGatewayId");
        made(&mut state, attach_gateway, &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).unwrap();
        let tables =
            read(&state, network::describe_route_tables, &[("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &vpc)]);
        let (table, association) = (field(&tables, "routeTableId"), field(&tables, "routeTableAssociationId"));
        let site = site(Speed::REAL, Default::default());
        let of_default = network::stable_id("igw", &site.region);
        for (call, to, gateway, expected) in [
            (create_route as Call, "10.1.0.0/16", &gateway, Err("InvalidParameterValue")),
            (create_route, "10.1.2.0/24", &gateway, Err("InvalidParameterValue")),
            (create_route, "0.0.0.0/0", &of_default, Err("InvalidParameterValue")),
            (create_route, "10.0.0.0/8", &gateway, Ok(())),
            (create_route, "0.0.0.0/0", &gateway, Ok(())),
            (delete_route, "10.1.0.0/16", &gateway, Err("InvalidParameterValue")),
            (delete_route, "10.1.2.0/24", &gateway, Err("InvalidRoute.NotFound")),
            (delete_route, "10.0.0.0/8", &gateway, Ok(())),
        ] {
            let form = [("RouteTableId", &*table), ("DestinationCidrBlock", to), ("GatewayId", gateway)];
            assert_eq!(made(&mut state, call, &form).map(drop), expected, "{to}");
        }
        let main = [("AssociationId", &*association)];
        assert_eq!(made(&mut state, disassociate, &main), Err("InvalidParameterValue"));
        assert_eq!(made(&mut state, disassociate, &[("AssociationId", "x")]), Err("InvalidAssociationID.NotFound"));
        // The default network exists, but is not changed here.
        let default = [("InternetGatewayId", &*of_default)];
        assert_eq!(made(&mut state, delete_gateway, &default), Err(kit::query::NOT_IMPLEMENTED));
        for (name, value, expected) in [
            ("route.destination-cidr-block", "10.1.0.0/16", true),
            ("route.destination-cidr-block", "10.0.0.0/8", false),
            ("route.gateway-id", "local", true),
            ("route.gateway-id", &gateway, true),
            ("route.origin", "CreateRoute", true),
            ("route.state", "active", true),
            ("route.state", "blackhole", false),
            ("route.nat-gateway-id", "nat-1", false),
            ("association.route-table-id", &table, true),
        ] {
            let form = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
            let found = read(&state, network::describe_route_tables, &form).contains(&table);
            assert_eq!(found, expected, "{name}={value}");
        }
    }

    #[test]
    fn vpcs_and_subnets_are_pending_at_first() {
        let mut state = State::default();
        let vpc = made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap();
        let id = field(&vpc, "vpcId");
        let subnet = made(&mut state, create_subnet, &[("VpcId", &id), ("CidrBlock", "10.1.0.0/24")]).unwrap();
        assert_eq!([field(&vpc, "state"), field(&subnet, "state")], ["pending", "pending"]);
        let of_vpc = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &*id)];
        let with = |wanted| [of_vpc[0], of_vpc[1], ("Filter.2.Name", "state"), ("Filter.2.Value.1", wanted)];
        type Describe = fn(&State, &Site, &Params) -> Answer;
        let calls = [(network::describe_vpcs as Describe, "vpcId"), (network::describe_subnets, "subnetId")];
        // In the past, or at a time that has not come yet.
        for (at, expected, other) in [
            (Moment::default(), "available", "pending"),
            (Moment::now().after(std::time::Duration::from_secs(60)), "pending", "available"),
        ] {
            state.networks.vpcs.values_mut().for_each(|vpc| vpc.made = Some(at));
            state.networks.subnets.values_mut().for_each(|subnet| subnet.made = Some(at));
            for (call, name) in calls {
                assert_eq!(field(&read(&state, call, &of_vpc), "state"), expected, "{name}");
                assert!(read(&state, call, &with(expected)).contains(name));
                assert!(!read(&state, call, &with(other)).contains(name));
            }
        }
    }

    #[test]
    fn networks_have_quotas() {
        let mut state = State::default();
        let vpc = field(&made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap(), "vpcId");
        // The default network's gateway, and the main table, count.
        let gateways: Vec<String> = (1..MOST_VPCS)
            .map(|_| field(&made(&mut state, create_gateway, &[]).unwrap(), "internetGatewayId"))
            .collect();
        assert_eq!(made(&mut state, create_gateway, &[]), Err("InternetGatewayLimitExceeded"));
        made(&mut state, attach_gateway, &[("InternetGatewayId", &gateways[0]), ("VpcId", &vpc)]).unwrap();
        let of = [("VpcId", &*vpc)];
        let tables: Vec<String> = (1..MOST_TABLES)
            .map(|_| field(&made(&mut state, create_route_table, &of).unwrap(), "routeTableId"))
            .collect();
        assert_eq!(made(&mut state, create_route_table, &of), Err("RouteTableLimitExceeded"));
        let mut route = |number: usize| {
            let to = format!("11.{number}.0.0/16");
            let form = [("RouteTableId", &*tables[0]), ("DestinationCidrBlock", &to), ("GatewayId", &gateways[0])];
            made(&mut state, create_route, &form)
        };
        (1..MOST_ROUTES).for_each(|number| drop(route(number).unwrap()));
        assert_eq!(route(MOST_ROUTES), Err("RouteLimitExceeded"));
        // A repeated call adds none.
        assert!(route(1).is_ok());
    }

    #[test]
    fn host_names_need_dns() {
        let mut state = State::default();
        let vpc = field(&made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap(), "vpcId");
        for (attribute, value, expected) in [
            ("EnableDnsSupport", "false", Ok(())),
            ("EnableDnsHostnames", "true", Err("InvalidParameterCombination")),
            ("EnableDnsHostnames", "false", Ok(())),
            ("EnableDnsSupport", "true", Ok(())),
            ("EnableDnsHostnames", "true", Ok(())),
        ] {
            let form = [("VpcId", &*vpc), (&*format!("{attribute}.Value"), value)];
            assert_eq!(made(&mut state, modify_vpc_attribute, &form).map(drop), expected, "{attribute}={value}");
        }
    }
}
