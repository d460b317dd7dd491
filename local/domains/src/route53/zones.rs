//! Hosted zones.

use std::collections::BTreeMap;

use super::state::{RecordSet, Zone, key};

/// The domains of Amazon's name servers; each delegation set has one of each.
const SERVER_DOMAINS: [&str; 4] = ["com", "net", "org", "co.uk"];

/// Returns a new zone with its name servers and its SOA and NS records.
pub fn zone(id: &str, name: &str, caller_reference: &str, comment: Option<String>, now_ms: i64) -> Zone {
    let server = |(quarter, domain): (u32, &&str)| {
        let number = quarter * 512 + fastrand::u32(0..512);
        format!("ns-{number}.awsdns-{:02}.{domain}", number % 64)
    };
    let name_servers: Vec<String> = (0..).zip(&SERVER_DOMAINS).map(server).collect();
    let set = |kind: &str, ttl: u32, values: Vec<String>| RecordSet {
        name: name.to_owned(),
        kind: kind.to_owned(),
        ttl: Some(ttl),
        values,
        alias: None,
    };
    let first = &name_servers[0];
    let soa = format!("{first}. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400");
    let servers = name_servers.iter().map(|server| format!("{server}.")).collect();
    let records = BTreeMap::from([
        (key(name, "NS"), set("NS", 172_800, servers)),
        (key(name, "SOA"), set("SOA", 900, vec![soa])),
    ]);
    Zone {
        id: id.to_owned(),
        name: name.to_owned(),
        caller_reference: caller_reference.to_owned(),
        comment,
        name_servers,
        created_ms: now_ms,
        tags: BTreeMap::new(),
        records: records.clone(),
        served: records,
        coming: Vec::new(),
        busy_until_ms: now_ms,
    }
}

/// Whether a zone has only the records that it was created with.
pub fn is_empty(zone: &Zone) -> bool {
    zone.records.values().all(|record| record.name == zone.name && matches!(record.kind.as_str(), "NS" | "SOA"))
}

/// Returns a new ID with this prefix.
pub fn new_id(prefix: char) -> String {
    let letters = std::iter::repeat_with(|| fastrand::choice(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")).flatten();
    std::iter::once(prefix).chain(letters.take(20).map(|byte| char::from(*byte))).collect()
}
