use serde_json::{Value, json};

use super::*;
use crate::config::Config;

/// A description with an entry `x` in every section, and none of the optional fields of its mappings.
fn description() -> Value {
    json!({
        "name": "app", "region": "us-east-1", "tags": {}, "outputs": {},
        "roles": { "existing": "R", "instance_profile": "R" },
        "network": { "vpc": "vpc-0", "subnets": ["subnet-0", "subnet-1"] },
        "buckets": { "x": { "cors": { "methods": ["GET"] }, "on_upload": { "function": "x" }, "lifecycle": {} } },
        "tables": { "x": {
            "partition_key": { "name": "k" }, "sort_key": { "name": "s" },
            "indexes": { "xxx": { "partition_key": { "name": "a" }, "sort_key": { "name": "b" } } },
            "local_indexes": { "yyy": { "sort_key": { "name": "c" } } },
        } },
        "functions": { "x": { "package": "x", "environment": {}, "uses": { "buckets": {}, "tables": {} } } },
        "services": { "x": {
            "package": "x", "instance_type": "t3.micro", "instances": {}, "health_check": {}, "load_balancer": {},
            "environment": {}, "uses": { "buckets": {}, "tables": {} },
        } },
        "verify": { "steps": { "x": { "request": "GET /", "headers": {}, "expect": { "headers": {}, "json": {} },
            "capture": { "x": { "json": "/x" } },
        } } },
    })
}

/// The same with the service behind another one.
fn described_behind() -> Value {
    let mut described = description();
    let services = described["services"].as_object_mut().expect("it is a mapping");
    services.insert("y".into(), services["x"].clone());
    let behind = services["x"].as_object_mut().expect("it is a mapping");
    behind.remove("load_balancer");
    behind.insert("behind".into(), json!({ "service": "y", "path": "/x" }));
    described
}

#[test]
fn the_reader_reads_every_field() {
    Config::parse("stack.yaml", &description().to_string()).unwrap_or_else(|errors| panic!("{errors}"));
    // No value is wrong for a field that accepts any.
    for field in FIELDS.iter().filter(|field| !matches!(field.value_type, ValueType::Value)) {
        let is_behind = field.path.starts_with("services.*.behind.");
        let mut described = if is_behind { described_behind() } else { description() };
        let (above, key) = field.path.rsplit_once('.').unwrap_or(("", field.path));
        // No field accepts this: a switch no number, and every other field no switch.
        let wrong = if matches!(field.value_type, ValueType::Switch) { json!(7) } else { json!(true) };
        let mut mapping = &mut described;
        for part in above.split('.').filter(|part| !part.is_empty()) {
            let fields = mapping.as_object_mut().expect("it is a mapping");
            let below = if part == "*" { fields.values_mut().next() } else { fields.get_mut(part) };
            mapping = below.expect("every mapping is described");
        }
        for (key_of_one, other) in [("binary", "package"), ("files", "package"), ("header", "json")] {
            if key == key_of_one {
                mapping.as_object_mut().expect("it is a mapping").remove(other);
            }
        }
        if key == "own" {
            for other in ["vpc", "subnets"] {
                mapping.as_object_mut().expect("it is a mapping").remove(other);
            }
        }
        if ["runtime", "handler"].contains(&key) {
            let function = mapping.as_object_mut().expect("it is a mapping");
            function.remove("package");
            function.extend(
                [("files", "x"), ("runtime", RUNTIMES[0]), ("handler", "x.y")]
                    .map(|(key, text)| (key.into(), json!(text))),
            );
        }
        if ["run", "packages", "setup"].contains(&key) {
            mapping.as_object_mut().expect("it is a mapping").remove("package");
            (mapping["files"], mapping["run"]) = (json!("x"), json!("x"));
        }
        mapping[key] = wrong;
        let errors = Config::parse("stack.yaml", &described.to_string()).expect_err(field.path);
        let is_about_it = |message: &str| match field.value_type {
            ValueType::Statuses(_) => message.contains("HTTP statuses"),
            _ => message.contains(key) && message.contains("should be"),
        };
        assert!(errors.problems.iter().any(|problem| is_about_it(&problem.message)), "{}: {errors}", field.path);
    }
}

#[test]
fn the_reader_yields_the_defaults_of_the_table() {
    let config = Config::parse("stack.yaml", &description().to_string()).unwrap_or_else(|errors| panic!("{errors}"));
    let (bucket, table) = (&config.buckets["x"], &config.tables["x"]);
    let (index, local) = (&table.indexes["xxx"], &table.local_indexes["yyy"]);
    let (function, service) = (&config.functions["x"], &config.services["x"]);
    let (instances, health, balancer) = (&service.instances, &service.health_check, &service.load_balancer);
    let (_, request) = &config.verify.as_ref().expect("there are steps").steps[0];
    let allowed: Vec<String> = balancer.allow.iter().map(ToString::to_string).collect();
    let read = |path: &str| match path {
        "network.own" => crate::config::Block::default().to_string(),
        "buckets.*.cors.origins" => bucket.cors.as_ref().unwrap().origins.join(","),
        "buckets.*.protect" => bucket.protect.to_string(),
        "buckets.*.versioning" => bucket.versioning.to_string(),
        "buckets.*.namespace" => NAMESPACES[usize::from(bucket.is_account_regional)].to_owned(),
        "tables.*.partition_key.type" => table.partition_key.kind.to_owned(),
        "tables.*.sort_key.type" => table.sort_key.as_ref().unwrap().kind.to_owned(),
        "tables.*.indexes.*.partition_key.type" => index.partition_key.kind.to_owned(),
        "tables.*.indexes.*.sort_key.type" => index.sort_key.as_ref().unwrap().kind.to_owned(),
        "tables.*.local_indexes.*.sort_key.type" => local.sort_key.as_ref().unwrap().kind.to_owned(),
        "tables.*.stream" => table.stream.as_deref().unwrap_or("none").to_owned(),
        "tables.*.protect" => table.protect.to_string(),
        "tables.*.point_in_time_recovery" => table.point_in_time_recovery.to_string(),
        "functions.*.architecture" => function.architecture.name().to_owned(),
        "functions.*.memory_mb" => function.memory_mb.to_string(),
        "functions.*.timeout_s" => function.timeout_s.to_string(),
        "functions.*.tracing" => function.tracing.to_string(),
        "functions.*.uses.rekognition" => function.uses.rekognition.to_string(),
        "services.*.port" => u16::from(service.port).to_string(),
        "services.*.instances.min" => instances.min.to_string(),
        "services.*.instances.max" => instances.max.to_string(),
        "services.*.instances.cpu_percent" => instances.cpu_percent.to_string(),
        "services.*.health_check.path" => health.path.clone(),
        "services.*.health_check.interval_s" => health.interval_s.to_string(),
        "services.*.health_check.timeout_s" => health.timeout_s.to_string(),
        "services.*.health_check.healthy" => health.healthy.to_string(),
        "services.*.health_check.unhealthy" => health.unhealthy.to_string(),
        "services.*.health_check.matcher" => health.matcher.clone(),
        "services.*.load_balancer.port" => u16::from(balancer.port).to_string(),
        "services.*.load_balancer.allow" => allowed.join(","),
        "services.*.load_balancer.protect" => balancer.protect.to_string(),
        "services.*.load_balancer.internal" => balancer.internal.to_string(),
        "services.*.access_logs" => service.access_logs.to_string(),
        "services.*.disk_gb" => service.disk_gb.to_string(),
        "services.*.grace_period_s" => service.grace_period_s.to_string(),
        "verify.steps.*.expect.status" => request.expect.status.written.clone(),
        "verify.steps.*.timeout_s" => request.timeout_s.to_string(),
        "verify.steps.*.within_s" => request.within_s.to_string(),
        "verify.steps.*.always" => request.always.to_string(),
        other => panic!("the default of {other} is not compared"),
    };
    for field in FIELDS {
        let usual = match &field.value_type {
            ValueType::Number { usual, .. } => usual.map(|usual| usual.to_string()),
            ValueType::Switch => Some(false.to_string()),
            value_type => Some(value_type.usual_text().to_owned()).filter(|usual| !usual.is_empty()),
        };
        if let Some(usual) = usual {
            assert_eq!(read(field.path), usual, "{}", field.path);
        }
    }
}

#[test]
fn a_mapping_precedes_its_fields() {
    for (index, field) in FIELDS.iter().enumerate() {
        let above = field.path.rsplit_once('.').map(|(above, _)| above.trim_end_matches(".*"));
        let is_there = above.is_none_or(|above| FIELDS[..index].iter().any(|field| field.path == above));
        assert!(is_there, "{}", field.path);
    }
}

#[test]
fn a_place_in_the_file_finds_its_field() {
    assert_eq!(Field::at("services.web.instances.max").map(|field| field.path), Some("services.*.instances.max"));
    assert_eq!(Field::at("roles.existing").map(|field| field.path), Some("roles.existing"));
    assert!(Field::at("services.web.instances.most").is_none() && Field::at("").is_none());
    let keys: Vec<&str> = below("services.web.load_balancer").map(Field::key).collect();
    assert_eq!(keys, ["port", "allow", "protect", "internal", "waf"]);
    assert!(below("").map(Field::key).any(|key| key == "outputs"));
}
