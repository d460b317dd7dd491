//! The JSON Schema and the reference agree with the reader.

use std::{collections::BTreeSet, path::Path};

use deployer::config::Config;
use serde_json::{Value, json};

use super::read;

#[test]
fn the_schema_for_editors_is_current() {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack.schema.json");
    let copy = std::fs::read_to_string(copy).unwrap_or_default();
    assert!(copy == deployer::config::schema::schema(), "refresh it: cargo run -- schema > stack.schema.json");
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/stack.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- fields -->\n").expect("the place of the table");
    let (_, after) = rest.split_once("<!-- end of fields -->").expect("the end of the table");
    let table = deployer::config::fields::reference();
    let current = format!("{before}<!-- fields -->\n{table}<!-- end of fields -->{after}");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, current).unwrap();
    } else {
        assert!(text == current, "refresh it: UPDATE_REFERENCE=1 cargo test --test testsuite the_reference");
    }
}

fn schema() -> Value {
    serde_json::from_str(&deployer::config::schema::schema()).unwrap()
}

/// A description with every mapping whose keys are defined by the format, and where the schema describes each mapping.
fn every_mapping() -> (Value, Vec<(&'static str, String)>) {
    let variables = json!({ "AA": { "secret": "s" }, "BB": { "parameter": "p" }, "CC": { "value": "v" } });
    let text = json!({
        "name": "app", "region": "us-east-1", "roles": { "existing": "R", "instance_profile": "R" },
        "network": { "vpc": "vpc-0", "subnets": ["subnet-0", "subnet-1"] },
        "buckets": { "b": { "cors": { "methods": ["GET"] }, "on_upload": { "function": "f" }, "lifecycle": {} } },
        "tables": { "t": {
            "partition_key": { "name": "k" }, "sort_key": { "name": "s" },
            "indexes": { "one": { "partition_key": { "name": "a" }, "sort_key": { "name": "b" } } },
            "local_indexes": { "two": { "sort_key": { "name": "c" } } },
        } },
        "functions": { "f": { "package": "f", "uses": {}, "environment": variables } },
        "services": { "s": {
            "environment": variables, "package": "s", "instance_type": "t3.micro", "instances": {}, "health_check": {}, "load_balancer": {}, "uses": {},
        }, "t": {
            "package": "t", "instance_type": "t3.micro", "behind": { "service": "s", "path": "/t" },
        } },
        "verify": { "service": "s", "steps": { "v": { "request": "GET /", "expect": {}, "capture": { "c": { "json": "/id" } } } } },
    });
    let entry = |section: &str| format!("/properties/{section}/additionalProperties");
    let variable = |section: &str, form: usize| {
        format!("{}/properties/environment/additionalProperties/anyOf/{form}", entry(section))
    };
    let below = |section: &str, key: &str| format!("{}/properties/{key}", entry(section));
    let index = below("tables", "indexes/additionalProperties");
    let local_index = below("tables", "local_indexes/additionalProperties");
    let step = "/properties/verify/properties/steps/additionalProperties".to_owned();
    let mappings = vec![
        ("", String::new()),
        ("/roles", "/properties/roles".into()),
        ("/network", "/properties/network/oneOf/1".into()),
        ("/buckets/b", entry("buckets")),
        ("/buckets/b/cors", below("buckets", "cors")),
        ("/buckets/b/on_upload", below("buckets", "on_upload")),
        ("/buckets/b/lifecycle", below("buckets", "lifecycle")),
        ("/tables/t", entry("tables")),
        ("/tables/t/partition_key", below("tables", "partition_key/oneOf/1")),
        ("/tables/t/sort_key", below("tables", "sort_key/oneOf/1")),
        ("/tables/t/indexes/one", index.clone()),
        ("/tables/t/indexes/one/partition_key", format!("{index}/properties/partition_key/oneOf/1")),
        ("/tables/t/indexes/one/sort_key", format!("{index}/properties/sort_key/oneOf/1")),
        ("/tables/t/local_indexes/two", local_index.clone()),
        ("/tables/t/local_indexes/two/sort_key", format!("{local_index}/properties/sort_key/oneOf/1")),
        ("/functions/f", entry("functions")),
        ("/functions/f/uses", below("functions", "uses")),
        ("/functions/f/environment/AA", variable("functions", 1)),
        ("/functions/f/environment/BB", variable("functions", 2)),
        ("/functions/f/environment/CC", variable("functions", 3)),
        ("/services/s", entry("services")),
        ("/services/s/environment/AA", variable("services", 1)),
        ("/services/s/environment/BB", variable("services", 2)),
        ("/services/s/environment/CC", variable("services", 3)),
        ("/services/s/instances", below("services", "instances")),
        ("/services/s/health_check", below("services", "health_check/oneOf/1")),
        ("/services/s/load_balancer", below("services", "load_balancer/oneOf/1")),
        ("/services/s/uses", below("services", "uses")),
        ("/services/t/behind", below("services", "behind")),
        ("/verify", "/properties/verify".into()),
        ("/verify/steps/v", step.clone()),
        ("/verify/steps/v/expect", format!("{step}/properties/expect")),
        ("/verify/steps/v/capture/c", format!("{step}/properties/capture/additionalProperties")),
    ];
    (text, mappings)
}

#[test]
fn the_schema_has_the_keys_of_the_reader() {
    let (text, mappings) = every_mapping();
    let schema = schema();
    read(&text.to_string());
    for (place, described) in &mappings {
        let mut text = text.clone();
        text.pointer_mut(place).unwrap()["not-a-key-of-ours"] = json!(1);
        let problems = Config::parse("stack.yaml", &text.to_string()).unwrap_err().problems;
        let help = problems[0].help.as_deref().unwrap();
        let known = help.strip_prefix("known keys: ").unwrap_or_else(|| panic!("{place}: {help}"));
        let known: BTreeSet<&str> = known.split(", ").collect();
        let properties = schema.pointer(described).unwrap()["properties"].as_object().unwrap();
        assert_eq!(properties.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "{place}");
    }
    assert_eq!(mappings.len(), mappings_in(&schema), "a mapping of the schema is not in this test");
}

fn mappings_in(schema: &Value) -> usize {
    let own = usize::from(schema["properties"].is_object());
    let parts = schema.as_object().map(|parts| parts.values().map(mappings_in).sum::<usize>());
    let items = schema.as_array().map(|items| items.iter().map(mappings_in).sum::<usize>());
    own + parts.or(items).unwrap_or_default()
}

#[test]
fn the_schema_has_the_defaults_of_the_reader() {
    let (text, _) = every_mapping();
    let config = read(&text.to_string());
    let (function, service) = (&config.functions["f"], &config.services["s"]);
    let (instances, health) = (&service.instances, &service.health_check);
    let schema = schema();
    let usual = |pointer: &str| schema.pointer(pointer).unwrap()["default"].as_u64().unwrap();
    let functions = "/properties/functions/additionalProperties/properties";
    let services = "/properties/services/additionalProperties/properties";
    for (pointer, taken) in [
        (format!("{functions}/memory_mb"), function.memory_mb),
        (format!("{functions}/timeout_s"), function.timeout_s),
        (format!("{services}/port"), service.port.into()),
        (format!("{services}/disk_gb"), service.disk_gb),
        (format!("{services}/grace_period_s"), service.grace_period_s),
        (format!("{services}/load_balancer/oneOf/1/properties/port"), service.load_balancer.port.into()),
        (format!("{services}/instances/properties/min"), instances.min),
        (format!("{services}/instances/properties/max"), instances.max),
        (format!("{services}/instances/properties/cpu_percent"), instances.cpu_percent),
        (format!("{services}/health_check/oneOf/1/properties/interval_s"), health.interval_s),
        (format!("{services}/health_check/oneOf/1/properties/timeout_s"), health.timeout_s),
        (format!("{services}/health_check/oneOf/1/properties/healthy"), health.healthy),
        (format!("{services}/health_check/oneOf/1/properties/unhealthy"), health.unhealthy),
    ] {
        assert_eq!(usual(&pointer), u64::from(taken), "{pointer}");
    }
}
