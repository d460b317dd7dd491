//! Networks, with their subnets and routes, and security groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// The networks that the account has made; the default one is not stored.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Networks {
    pub vpcs: BTreeMap<String, Vpc>,
    pub subnets: BTreeMap<String, Subnet>,
    /// The internet gateways, each with the VPC that it is attached to.
    pub gateways: BTreeMap<String, Option<String>>,
    pub route_tables: BTreeMap<String, RouteTable>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vpc {
    pub id: String,
    pub cidr: String,
    pub dns_support: bool,
    pub dns_hostnames: bool,
    pub is_default: bool,
    /// When it was made; `None` if it was always there.
    #[serde(default)]
    pub made: Option<Moment>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subnet {
    pub id: String,
    pub vpc: String,
    pub cidr: String,
    pub zone: String,
    /// Whether instances get public addresses.
    pub public_addresses: bool,
    pub is_default: bool,
    /// When it was made; `None` if it was always there.
    #[serde(default)]
    pub made: Option<Moment>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteTable {
    pub id: String,
    pub vpc: String,
    pub is_main: bool,
    /// The routes, except the one within the VPC.
    pub routes: Vec<Routed>,
    /// The subnets by the ids of their associations.
    pub associations: BTreeMap<String, String>,
    /// The client token, which identifies a repeated call.
    #[serde(default)]
    pub token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// The destination.
    pub to: String,
    /// The internet gateway.
    pub gateway: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: String,
    pub name: String,
    /// Its VPC; empty for the default one.
    #[serde(default)]
    pub vpc: String,
    pub description: String,
    pub rules: Vec<SecurityGroupRule>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    pub id: String,
    pub egress: bool,
    pub traffic: Traffic,
    pub description: Option<String>,
}

/// The traffic that a rule allows, which identifies the rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Traffic {
    pub protocol: String,
    pub ports: Option<(i32, i32)>,
    pub peer: Peer,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    Cidr(String),
    Cidr6(String),
    Group(String),
}
