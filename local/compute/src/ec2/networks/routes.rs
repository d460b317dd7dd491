//! Route tables, their routes and associations.

use super::subnets::known_subnet;
use super::vpcs::default_is_fixed;
use super::{done, violation};
use crate::Site;
use crate::ec2::network::{self, Block, route_tables, vpc};
use crate::ec2::tags;
use crate::state::{RouteTable, Routed, State, new_id};
use kit::query::{Answer, ApiError, Params, Xml};

pub(super) const MOST_TABLES: usize = 200;
pub(super) const MOST_ROUTES: usize = 50;

pub fn create_route_table(state: &mut State, site: &Site, params: &Params) -> Answer {
    let of = params.required("VpcId")?;
    vpc(state, site, of)?;
    let tags = tags::specified(params, "route-table")?;
    let token = params.text("ClientToken").map(str::to_owned);
    let before = state.networks.route_tables.values().find(|table| token.is_some() && table.token == token);
    let table = match before {
        Some(table) if table.vpc != of => {
            let text = "The client token has already been used with other parameters.";
            return Err(ApiError::new("IdempotentParameterMismatch", text));
        }
        Some(table) => table.clone(),
        None if route_tables(state, site).iter().filter(|table| table.vpc == of).count() >= MOST_TABLES => {
            let text = "The maximum number of route tables has been reached.";
            return Err(ApiError::new("RouteTableLimitExceeded", text));
        }
        None => {
            let id = new_id("rtb");
            let (routes, associations) = Default::default();
            let table = RouteTable { id: id.clone(), vpc: of.to_owned(), is_main: false, routes, associations, token };
            state.networks.route_tables.insert(id.clone(), table.clone());
            state.tag(&id, tags);
            table
        }
    };
    let mut xml = Xml::new();
    xml.within("routeTable", |xml| network::write_route_table(xml, state, site, &table));
    Ok(xml)
}

pub(super) fn table(state: &State, site: &Site, id: &str) -> Result<RouteTable, ApiError> {
    let unknown = || ApiError::new("InvalidRouteTableID.NotFound", format!("The routeTable ID '{id}' does not exist"));
    let known = route_tables(state, site).into_iter().find(|table| table.id == id).ok_or_else(unknown)?;
    match state.networks.route_tables.contains_key(id) {
        true => Ok(known),
        false => Err(default_is_fixed()),
    }
}

pub fn create_route(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let known = table(state, site, id)?;
    let route = route(state, site, params, &known)?;
    if known.routes.contains(&route) {
        return done();
    }
    if known.routes.iter().any(|other| other.to == route.to) {
        let text = format!("The route identified by {} already exists.", route.to);
        return Err(ApiError::new("RouteAlreadyExists", text));
    }
    // The local route is one of them.
    if known.routes.len() + 1 >= MOST_ROUTES {
        return Err(ApiError::new("RouteLimitExceeded", "The maximum number of routes has been reached."));
    }
    state.networks.route_tables.get_mut(id).expect("table() found it").routes.push(route);
    done()
}

pub fn replace_route(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let known = table(state, site, id)?;
    let route = route(state, site, params, &known)?;
    let table = state.networks.route_tables.get_mut(id).expect("table() found it");
    let Some(there) = table.routes.iter_mut().find(|other| other.to == route.to) else {
        let to = route.to;
        let text = format!("There is no route defined for '{to}' in the route table. Use CreateRoute instead.");
        return Err(ApiError::new("InvalidParameterValue", text));
    };
    *there = route;
    done()
}

/// Returns the route that a call describes, whose gateway must be in the VPC of the table.
fn route(state: &State, site: &Site, params: &Params, table: &RouteTable) -> Result<Routed, ApiError> {
    let (to, gateway) = (params.required("DestinationCidrBlock")?, params.required("GatewayId")?);
    let Ok(block) = to.parse::<Block>() else {
        let text =
            format!("Value ({to}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.");
        return Err(ApiError::new("InvalidParameterValue", text));
    };
    match network::gateways(state, site).get(gateway) {
        None => {
            let text = format!("The gateway ID '{gateway}' does not exist");
            return Err(ApiError::new("InvalidGatewayID.NotFound", text));
        }
        Some(at) if at.as_deref() != Some(table.vpc.as_str()) => {
            let text = format!("route table {} and network gateway {gateway} belong to different networks", table.id);
            return Err(ApiError::new("InvalidParameterValue", text));
        }
        Some(_) => (),
    }
    let own = vpc(state, site, &table.vpc)?.cidr;
    if own.parse::<Block>().is_ok_and(|own| own.contains(block)) {
        let text = "Route target is not supported. This route only supports interface and instance targets.";
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    Ok(Routed { to: block.to_string(), gateway: gateway.to_owned() })
}

pub fn delete_route(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let to = params.required("DestinationCidrBlock")?;
    let known = table(state, site, id)?;
    if vpc(state, site, &known.vpc)?.cidr == to {
        let text = format!("cannot remove local route {to} in route table {id}");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    if !known.routes.iter().any(|route| route.to == to) {
        let text = format!("no route with destination-cidr-block {to} in route table {id}");
        return Err(ApiError::new("InvalidRoute.NotFound", text));
    }
    state.networks.route_tables.get_mut(id).expect("table() found it").routes.retain(|route| route.to != to);
    done()
}

pub fn associate(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (id, of) = (params.required("RouteTableId")?, params.required("SubnetId")?);
    let (known, subnet) = (table(state, site, id)?, known_subnet(state, site, of)?);
    if known.vpc != subnet.vpc {
        let text = format!("route table {id} and subnet {of} belong to different networks");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let mut tables = state.networks.route_tables.values();
    let existing = tables.find_map(|table| {
        let at = table.associations.iter().find(|(_, subnet)| *subnet == of);
        at.map(|(association, _)| (table.id.clone(), association.clone()))
    });
    let association = match existing {
        Some((there, association)) if there == id => association,
        Some(_) => {
            let text = format!("the specified association for route table {id} conflicts with an existing association");
            return Err(ApiError::new("Resource.AlreadyAssociated", text));
        }
        None => new_id("rtbassoc"),
    };
    let table = state.networks.route_tables.get_mut(id).expect("table() found it");
    table.associations.insert(association.clone(), of.to_owned());
    let mut xml = Xml::new();
    xml.text("associationId", association).within("associationState", |xml| {
        xml.text("state", "associated");
    });
    Ok(xml)
}

pub fn replace_association(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (association, id) = (params.required("AssociationId")?, params.required("RouteTableId")?);
    let known = table(state, site, id)?;
    let unknown = || unknown_association(association);
    let there = table_of(state, association).ok_or_else(unknown)?;
    if there.vpc != known.vpc {
        let text = format!("route table {id} and association {association} belong to different networks");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let there = there.id.clone();
    let tables = &mut state.networks.route_tables;
    let subnet = tables.get_mut(&there).and_then(|table| table.associations.remove(association)).ok_or_else(unknown)?;
    let new = new_id("rtbassoc");
    tables.get_mut(id).expect("table() found it").associations.insert(new.clone(), subnet);
    let mut xml = Xml::new();
    xml.text("newAssociationId", new).within("associationState", |xml| {
        xml.text("state", "associated");
    });
    Ok(xml)
}

/// Returns the route table that has an association.
pub fn table_of<'a>(state: &'a State, association: &str) -> Option<&'a RouteTable> {
    state.networks.route_tables.values().find(|table| table.associations.contains_key(association))
}

fn unknown_association(id: &str) -> ApiError {
    ApiError::new("InvalidAssociationID.NotFound", format!("The association ID '{id}' does not exist"))
}

pub fn disassociate(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("AssociationId")?;
    if route_tables(state, site).iter().any(|table| table.is_main && network::main_association(table) == id) {
        let text = format!("cannot disassociate the main route table association {id}");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let mut tables = state.networks.route_tables.values_mut();
    if !tables.any(|table| table.associations.remove(id).is_some()) {
        return Err(unknown_association(id));
    }
    done()
}

pub fn delete_route_table(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let known = table(state, site, id)?;
    if known.is_main || !known.associations.is_empty() {
        return Err(violation("routeTable", id));
    }
    state.networks.route_tables.remove(id);
    state.tags.remove(id);
    done()
}
