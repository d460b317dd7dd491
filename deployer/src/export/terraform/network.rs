//! The network that a stack makes for its services.

use super::{
    Sheet, Terraform,
    hcl::{Body, Expr},
    sheet::link,
};
use crate::{
    cloud::aws::Aws,
    engine::{Fault, Live},
    kinds::{internet_gateway::InternetGateway, route_table::RouteTable, subnet::Subnet, vpc::Vpc},
};

impl Terraform for Vpc {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let body = Body::new().text("cidr_block", &live.settings.block).set("tags", sheet.tags());
        let address = sheet.add("aws_vpc", &live.output.id, body);
        sheet.know(&live.output.id, format!("{address}.id"));
        Ok(())
    }
}

impl Terraform for InternetGateway {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let vpc = live.settings.vpc.as_deref().map(link);
        let body = Body::new().set_some("vpc_id", vpc).set("tags", sheet.tags());
        let address = sheet.add("aws_internet_gateway", &live.output.id, body);
        sheet.know(&live.output.id, format!("{address}.id"));
        Ok(())
    }
}

impl Terraform for RouteTable {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let route = |gateway: &String| Body::new().text("cidr_block", ANYWHERE).set("gateway_id", link(gateway));
        let body = Body::new()
            .set("vpc_id", link(&live.settings.vpc))
            .set("tags", sheet.tags())
            .blocks("route", live.settings.default_route.iter().map(route));
        let address = sheet.add("aws_route_table", &live.output.id, body);
        sheet.know(&live.output.id, format!("{address}.id"));
        Ok(())
    }
}

/// The destination of the default route.
const ANYWHERE: &str = "0.0.0.0/0";

impl Terraform for Subnet {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let (settings, id) = (&live.settings, &live.output.id);
        let body = Body::new()
            .set("vpc_id", link(&self.vpc))
            .text("availability_zone", &self.zone)
            .text("cidr_block", &settings.block)
            .flag("map_public_ip_on_launch", settings.public_addresses)
            .set("tags", sheet.tags());
        let address = sheet.add("aws_subnet", id, body);
        sheet.know(id, format!("{address}.id"));
        if let Some(table) = &settings.route_table {
            let body =
                Body::new().set("subnet_id", Expr::raw(format!("{address}.id"))).set("route_table_id", link(table));
            sheet.add("aws_route_table_association", &format!("{id}/{table}"), body);
        }
        Ok(())
    }
}
