//! The JSON Schema of `stack.yaml`, for editors: made from the same tables that the reader uses.

use serde_json::{Value, json};

use crate::config::{FAMILIES, METHODS, REGIONS, RESERVED_BY_LAMBDA, RETENTIONS, SIZES};

/// What any variable may be called.
const ANY_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// The schema as a document.
pub fn schema() -> String {
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stack.yaml",
        "description": "What `deployer up` brings to life.",
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "region"],
        "properties": {
            "name": described(name(), "The stack's name: the beginning of every name in the cloud."),
            "region": { "enum": REGIONS, "description": "Where it lives." },
            "account": { "type": "string", "pattern": "^[0-9]{12}$", "description": "The only account it may live in." },
            "tags": {
                "type": "object",
                "description": "Tags for everything.",
                "maxProperties": 40,
                "propertyNames": { "maxLength": 128, "not": { "pattern": "^([aA][wW][sS]|[dD][eE][pP][lL][oO][yY][eE][rR]):" } },
                "additionalProperties": { "type": ["string", "number", "boolean"] },
            },
            "roles": object(
                "Roles that exist and are used instead of own ones, as accounts of AWS Academy need.",
                json!({
                    "existing": text("The role of every function, such as LabRole."),
                    "instance_profile": text("The instance profile of every service, such as LabInstanceProfile."),
                }),
                &["existing"],
            ),
            "buckets": section("Private buckets.", bucket()),
            "tables": section("Tables, billed by request.", table()),
            "functions": section("Programs that run when something happens.", function()),
            "services": section("Programs on a group of instances behind a load balancer.", service()),
            "outputs": described(environment(ANY_NAME), "Outputs of the stack: see `deployer outputs`."),
        },
    });
    format!("{document:#}\n")
}

fn bucket() -> Value {
    let methods = json!({
        "type": "array", "items": { "enum": METHODS }, "minItems": 1, "description": "HTTP methods.",
    });
    let cors = json!({
        "origins": some_texts("Origins, or *.", "*"),
        "methods": methods,
        "headers": texts("Request headers."),
        "expose": texts("Response headers."),
        "max_age_s": number("How long a browser may remember the answer, in seconds.", 0, 65_535, None),
    });
    let upload = json!({
        "function": described(name(), "A function of this file."),
        "prefix": text("Only keys that begin so."),
        "suffix": text("Only keys that end so."),
    });
    let properties = json!({
        "cors": object("Which web pages may use it, and how.", cors, &["methods"]),
        "on_upload": object("The function to notify of uploads.", upload, &["function"]),
        "protect": boolean("Whether the deployer refuses to delete it."),
    });
    // `logs:` alone is a bucket, too.
    let mut bucket = object("A private bucket.", properties, &[]);
    bucket["type"] = json!(["object", "null"]);
    bucket
}

fn table() -> Value {
    let properties = json!({
        "partition_key": text("The attribute that is the partition key: a string. Fixed at creation."),
        "sort_key": text("The attribute that is the sort key: a string. Fixed at creation."),
        "protect": boolean("Whether AWS refuses to delete it."),
        "point_in_time_recovery": boolean("Whether it can be restored to any second of the last 35 days."),
    });
    object("A table.", properties, &["partition_key"])
}

fn function() -> Value {
    let properties = json!({
        "package": text("A package of the Cargo workspace around this file."),
        "binary": text("A finished program, relative to this file."),
        "architecture": { "enum": ["x86_64", "arm64"], "default": "x86_64", "description": "On which processors." },
        "memory_mb": number("Memory in MB.", 128, 10_240, 128),
        "timeout_s": number("The longest run, in seconds.", 1, 900, 30),
        "log_retention_days": { "enum": RETENTIONS, "description": "How long its log is kept; for ever when absent." },
        "environment": environment(&format!("^(?!({})$)[A-Za-z][A-Za-z0-9_]+$", RESERVED_BY_LAMBDA.join("|"))),
        "uses": uses(true),
    });
    one_program(object("A function.", properties, &[]))
}

fn service() -> Value {
    let families: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
    let types = format!("^({})\\.({})$", families.join("|"), SIZES.join("|"));
    let instances = json!({
        "min": number("At least so many.", 0, 100, 1),
        "max": number("At most so many.", 1, 100, 4),
        "cpu_percent": number("The CPU use that the group aims at.", 10, 100, 50),
    });
    let check = json!({
        "path": text("The path it asks for."),
        "interval_s": number("Every so many seconds.", 5, 300, 10),
        "timeout_s": number("How long it waits for the answer, in seconds.", 2, 120, 5),
        "healthy": number("So many good answers make it healthy.", 2, 10, 2),
        "unhealthy": number("So many bad ones make it unhealthy.", 2, 10, 2),
        "matcher": { "type": ["string", "integer"], "description": "The good statuses, such as 200 or 200-299." },
    });
    let mut public = number("The public port, for plain HTTP.", 1, 65_535, 80);
    public["not"] = json!({ "const": 443 });
    let balancer = json!({
        "port": public,
        "allow": some_texts("Who may come: blocks of addresses.", "0.0.0.0/0"),
    });
    let properties = json!({
        "package": text("A package of the Cargo workspace around this file."),
        "binary": text("A finished program, relative to this file."),
        "port": number("Where it listens.", 1, 65_535, 8080),
        "instance_type": { "type": "string", "pattern": types, "description": "On which machines; their processors follow.",
            "examples": ["t3.micro", "t4g.small"] },
        "instances": object("How many instances, and what makes them more or fewer.", instances, &[]),
        "health_check": { "oneOf": [text("The path to request."), object("The health check.", check, &[])] },
        "load_balancer": object("Where users find it.", balancer, &[]),
        "image": { "type": "string", "pattern": "^ami-[0-9a-f]+$", "description": "A machine image to stay with." },
        "disk_gb": number("The root disk in GB.", 8, 16_384, 8),
        "grace_period_s": number("How long a new instance may be unhealthy, in seconds.", 30, 7_200, 240),
        "environment": environment("^(?!PORT$)[A-Za-z_][A-Za-z0-9_]*$"),
        "uses": uses(false),
    });
    one_program(object("A service.", properties, &["instance_type"]))
}

fn uses(rekognition: bool) -> Value {
    let access = json!({ "type": "object", "additionalProperties": { "enum": ["read", "write", "read_write"] } });
    let mut properties = json!({ "buckets": access, "tables": access });
    if rekognition {
        properties["rekognition"] = boolean("Whether it asks Rekognition for labels.");
    }
    object("What it uses, and so what it may do.", properties, &[])
}

fn one_program(mut value: Value) -> Value {
    value["oneOf"] = json!([{ "required": ["package"] }, { "required": ["binary"] }]);
    value
}

fn section(description: &str, entry: Value) -> Value {
    json!({ "type": "object", "description": description, "propertyNames": name(), "additionalProperties": entry })
}

fn object(description: &str, properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// Variables, whose names match `names`.
fn environment(names: &str) -> Value {
    json!({
        "type": "object",
        "description": "Variables. ${buckets.images.name} and the like stand for what AWS will say; $${ for ${ itself.",
        "propertyNames": { "pattern": names },
        "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        "examples": [{ "BUCKET": "${buckets.images.name}" }],
    })
}

fn name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z][a-z0-9]*(-[a-z0-9]+)*$" })
}

fn described(mut value: Value, description: &str) -> Value {
    value["description"] = json!(description);
    value
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn texts(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn boolean(description: &str) -> Value {
    json!({ "type": "boolean", "default": false, "description": description })
}

fn some_texts(description: &str, usual: &str) -> Value {
    let mut texts = texts(description);
    (texts["minItems"], texts["default"]) = (json!(1), json!([usual]));
    texts
}

fn number(description: &str, least: i64, most: i64, usual: impl Into<Option<i64>>) -> Value {
    let mut number = json!({ "type": "integer", "minimum": least, "maximum": most, "description": description });
    if let Some(usual) = usual.into() {
        number["default"] = json!(usual);
    }
    number
}
