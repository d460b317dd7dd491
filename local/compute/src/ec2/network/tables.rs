//! Route tables, as they are described.

use super::regions::{known, stable_id};
use super::{is_attached, route_tables, vpc};
use crate::Site;
use crate::state::{RouteTable, Routed, State};
use kit::query::{Answer, Filters, Params, Xml, fact};

pub fn describe_route_tables(state: &State, site: &Site, params: &Params) -> Answer {
    let all = route_tables(state, site);
    let wanted = params.texts("RouteTableId");
    let ids: Vec<&str> = all.iter().map(|table| table.id.as_str()).collect();
    known(&wanted, &ids, "InvalidRouteTableID.NotFound", "routeTable ID")?;
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for table in &all {
        let routes = routes_of(state, site, table);
        let passes = filters.pass(state.tags_of(&table.id), |name| match name {
            "association.main" => fact(table.is_main),
            "association.route-table-association-id" => {
                let main = table.is_main.then(|| main_association(table));
                Some(main.into_iter().chain(table.associations.keys().cloned()).collect())
            }
            "association.route-table-id" => {
                let has_some = table.is_main || !table.associations.is_empty();
                Some(has_some.then(|| table.id.clone()).into_iter().collect())
            }
            "association.subnet-id" => Some(table.associations.values().cloned().collect()),
            "owner-id" => fact(&site.account),
            "route.destination-cidr-block" => Some(each(&routes, |route| &route.to)),
            "route.gateway-id" => Some(each(&routes, |route| &route.gateway)),
            "route.origin" => Some(each(&routes, |route| route.origin)),
            "route.state" => Some(each(&routes, |route| route.state)),
            // Routes have no other destinations and targets here.
            "association.gateway-id"
            | "route.destination-ipv6-cidr-block"
            | "route.destination-prefix-list-id"
            | "route.egress-only-internet-gateway-id"
            | "route.instance-id"
            | "route.nat-gateway-id"
            | "route.transit-gateway-id"
            | "route.vpc-peering-connection-id" => Some(Vec::new()),
            "route-table-id" => fact(&table.id),
            "vpc-id" => fact(&table.vpc),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&table.id)) {
            found.push(table);
        }
    }
    let mut xml = Xml::new();
    xml.set("routeTableSet", found, |xml, table| write_route_table(xml, state, site, table));
    Ok(xml)
}

/// The id of a main table's association with its VPC.
pub fn main_association(table: &RouteTable) -> String {
    stable_id("rtbassoc", &table.id)
}

/// A route, as lists show it.
struct Shown {
    to: String,
    gateway: String,
    state: &'static str,
    origin: &'static str,
}

/// Returns the routes of a table, of which the first is the local one of its VPC.
fn routes_of(state: &State, site: &Site, table: &RouteTable) -> Vec<Shown> {
    let to = vpc(state, site, &table.vpc).map(|vpc| vpc.cidr).unwrap_or_default();
    let local = Shown { to, gateway: "local".to_owned(), state: "active", origin: "CreateRouteTable" };
    let others = table.routes.iter().map(|Routed { to, gateway }| Shown {
        to: to.clone(),
        gateway: gateway.clone(),
        state: if is_attached(state, site, gateway, &table.vpc) { "active" } else { "blackhole" },
        origin: "CreateRoute",
    });
    std::iter::once(local).chain(others).collect()
}

/// Returns a property of each route.
fn each(routes: &[Shown], of: impl Fn(&Shown) -> &str) -> Vec<String> {
    routes.iter().map(|route| of(route).to_owned()).collect()
}

/// Writes a route table.
pub fn write_route_table(xml: &mut Xml, state: &State, site: &Site, table: &RouteTable) {
    xml.text("routeTableId", &table.id).text("vpcId", &table.vpc).text("ownerId", &site.account);
    xml.set("routeSet", routes_of(state, site, table), |xml, route| {
        xml.text("destinationCidrBlock", route.to).text("gatewayId", route.gateway).text("state", route.state);
        xml.text("origin", route.origin);
    });
    let main = table.is_main.then(|| (main_association(table), None));
    let others = table.associations.iter().map(|(id, subnet)| (id.clone(), Some(subnet)));
    xml.set("associationSet", main.into_iter().chain(others), |xml, (id, subnet)| {
        xml.text("routeTableAssociationId", id).text("routeTableId", &table.id).text("main", subnet.is_none());
        xml.maybe("subnetId", subnet).within("associationState", |xml| {
            xml.text("state", "associated");
        });
    });
    xml.set("propagatingVgwSet", None::<()>, |_, ()| ()).tag_set(state.tags_of(&table.id));
}
