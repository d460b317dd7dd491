//! The JSON Schema of `stack.yaml`, for editors, derived from the table of its fields.

use serde_json::{Value, json};

use super::{
    FAMILIES, HTTPS_PORT, REFERENCES, RESERVED_BY_LAMBDA, SIZES,
    fields::{Field, ValueType, Variables, below},
    regions,
};

/// The schema as a document.
pub fn schema() -> String {
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stack.yaml",
        "description": "The stack that `deployer up` deploys.",
    });
    add_fields(&mut document, "");
    format!("{document:#}\n")
}

/// Makes `value` an object schema with the fields below this path.
fn add_fields(value: &mut Value, path: &str) {
    let fields: Vec<&Field> = below(path).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.key()).collect();
    value["type"] = json!("object");
    value["additionalProperties"] = json!(false);
    value["required"] = json!(required);
    value["properties"] = fields.iter().map(|field| (field.key().to_owned(), described(field))).collect();
    // A program is either built, or prebuilt, or a folder with what runs it: a command, or a runtime of Lambda.
    let has = |key: &str| fields.iter().any(|field| field.key() == key);
    if has("binary") {
        let mut programs = vec![json!({ "required": ["package"] }), json!({ "required": ["binary"] })];
        let (with_files, more): (&[&str], &[&str]) = match has("runtime") {
            true => (&["runtime", "handler"][..], &[][..]),
            false => (&["run"][..], &["packages", "setup"][..]),
        };
        let required = [&["files"][..], with_files].concat();
        programs.push(json!({ "required": required }));
        let need_files = with_files.iter().chain(more).map(|key| ((*key).to_owned(), json!(["files"])));
        value["dependentRequired"] = need_files.collect();
        value["oneOf"] = json!(programs);
    }
    // A network is either made or exists.
    if fields.iter().any(|field| field.key() == "own") {
        value["oneOf"] = json!([{ "required": ["own"] }, { "required": ["vpc", "subnets"] }]);
    }
}

fn described(field: &Field) -> Value {
    let mut value = match &field.value_type {
        ValueType::Name => name(),
        ValueType::Region => json!({ "enum": regions().collect::<Vec<_>>() }),
        ValueType::Account => json!({ "type": "string", "pattern": "^[0-9]{12}$" }),
        ValueType::Text => json!({ "type": "string" }),
        ValueType::Path(usual) => json!({ "type": "string", "default": usual }),
        ValueType::Like(pattern, example) => json!({ "type": "string", "pattern": pattern, "examples": [example] }),
        ValueType::Block(usual) => {
            json!({ "type": "string", "pattern": "^[0-9.]+/(1[6-9]|2[0-5])$", "default": usual })
        }
        ValueType::InstanceType => instance_type(),
        ValueType::OneOf(texts) => json!({ "enum": texts, "default": texts[0] }),
        ValueType::Among(texts) => json!({ "enum": texts }),
        ValueType::OneOfNumbers(numbers) => json!({ "enum": numbers }),
        ValueType::Number { least, most, usual } => {
            let mut number = json!({ "type": "integer", "minimum": least, "maximum": most });
            usual.iter().for_each(|usual| number["default"] = json!(usual));
            number
        }
        ValueType::Minutes { .. } => {
            json!({ "anyOf": [{ "const": 0 }, { "type": "string", "pattern": "^(0|[0-9]+m)$" }] })
        }
        ValueType::Switch => json!({ "type": "boolean", "default": false }),
        ValueType::Statuses(usual) => json!({ "type": ["string", "integer"], "default": usual }),
        ValueType::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        ValueType::SomeTexts(usual) => {
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1, "default": [usual] })
        }
        ValueType::SomeOf(texts) => json!({ "type": "array", "items": { "enum": texts }, "minItems": 1 }),
        ValueType::Tags => tags(),
        ValueType::Variables(purpose) => variables(*purpose),
        ValueType::Accesses => {
            json!({ "type": "object", "additionalProperties": { "enum": ["read", "write", "read_write"] } })
        }
        ValueType::Headers => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
        }
        ValueType::Value => json!({}),
        ValueType::Values => json!({ "type": "object" }),
        ValueType::Fields => with_fields(field),
        ValueType::TextOrFields => json!({ "oneOf": [{ "type": "string" }, with_fields(field)] }),
        ValueType::WordOrFields(words) => json!({ "oneOf": [{ "enum": words }, with_fields(field)] }),
        ValueType::Entries(one) => entries(field, one),
    };
    value["description"] = json!(field.words);
    // A load balancer uses plain HTTP.
    if field.path == "services.*.load_balancer.port" {
        value["not"] = json!({ "const": HTTPS_PORT });
    }
    value
}

fn with_fields(field: &Field) -> Value {
    let mut value = json!({});
    add_fields(&mut value, field.path);
    value
}

fn entries(field: &Field, one: &str) -> Value {
    let mut entry = json!({ "description": one });
    add_fields(&mut entry, &format!("{}.*", field.path));
    // An entry without required fields may be empty: `logs:` is a bucket.
    if entry["required"] == json!([]) && entry.get("oneOf").is_none() {
        entry["type"] = json!(["object", "null"]);
    }
    json!({ "type": "object", "propertyNames": name(), "additionalProperties": entry })
}

fn name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z][a-z0-9]*(-[a-z0-9]+)*$" })
}

fn instance_type() -> Value {
    let families: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
    let pattern = format!("^({})\\.({})$", families.join("|"), SIZES.join("|"));
    json!({ "type": "string", "pattern": pattern, "examples": ["t3.micro", "t4g.small"] })
}

fn tags() -> Value {
    let reserved = "^([aA][wW][sS]|[dD][eE][pP][lL][oO][yY][eE][rR]):";
    json!({
        "type": "object",
        "maxProperties": 40,
        "propertyNames": { "maxLength": 128, "not": { "pattern": reserved } },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

/// A variable whose value is kept in AWS.
fn stored_value(place: &str) -> Value {
    let mut properties = json!({ place: { "type": "string" } });
    if place == "secret" {
        properties["key"] = json!({ "type": "string" });
    }
    json!({ "type": "object", "additionalProperties": false, "required": [place], "properties": properties })
}

/// A variable whose value plans may hide.
fn marked() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["value"],
        "properties": {
            "value": { "type": ["string", "number", "boolean", "null"] },
            "sensitive": { "type": "boolean", "default": false },
        },
    })
}

fn variables(whose: Variables) -> Value {
    let names = match whose {
        Variables::Function => {
            format!("^(?!({}|{REFERENCES})$)[A-Za-z][A-Za-z0-9_]+$", RESERVED_BY_LAMBDA.join("|"))
        }
        Variables::Service => "^(?!PORT$)[A-Za-z_][A-Za-z0-9_]*$".into(),
        Variables::Outputs => "^[A-Za-z_][A-Za-z0-9_]*$".into(),
    };
    let text = json!({ "type": ["string", "number", "boolean", "null"] });
    let value = match whose {
        Variables::Outputs => text,
        Variables::Function | Variables::Service => {
            json!({ "anyOf": [text, stored_value("secret"), stored_value("parameter"), marked()] })
        }
    };
    json!({
        "type": "object",
        "propertyNames": { "pattern": names },
        "additionalProperties": value,
        "examples": [{ "BUCKET": "${buckets.images.name}" }],
    })
}
