//! The commands that read secrets and parameters: `aws secretsmanager`, `aws ssm`, and the filter of `jq` that turns their
//! answers into lines of an environment file.

use serde_json::{Value, json};

use super::commands::{Done, Tools};
use super::systemd::is_noncharacter;

/// `aws secretsmanager get-secret-value --secret-id NAME` and `aws ssm get-parameter --with-decryption --name NAME`, with
/// `--region` and `--output json`.
pub async fn aws(tools: &dyn Tools, arguments: &[&str]) -> Done {
    let refused = |why: String| Done::failed(format!("aws {}: {why}", arguments.join(" ")));
    let (operation, mut rest) = match arguments {
        ["secretsmanager", "get-secret-value", rest @ ..] => ("GetSecretValue", rest.iter()),
        ["ssm", "get-parameter", rest @ ..] => ("GetParameter", rest.iter()),
        _ => return refused("this does not exist on a local instance".to_owned()),
    };
    let (mut region, mut input, mut is_json) = (None, json!({}), false);
    while let Some(option) = rest.next() {
        if (*option, operation) == ("--with-decryption", "GetParameter") {
            input["WithDecryption"] = json!(true);
            continue;
        }
        let Some(value) = rest.next() else { return refused(format!("{option}: expected one argument")) };
        match (*option, operation) {
            ("--region", _) => region = Some(*value),
            ("--output", _) if *value == "json" => is_json = true,
            // The local AWS is always reached at once.
            ("--cli-connect-timeout" | "--cli-read-timeout", _) if value.parse::<u32>().is_ok() => (),
            ("--secret-id", "GetSecretValue") => input["SecretId"] = json!(value),
            ("--name", "GetParameter") => input["Name"] = json!(value),
            _ => return refused(format!("Unknown options: {option}")),
        }
    }
    if !is_json {
        return refused("only --output json exists on a local instance".to_owned());
    }
    match tools.value(region, operation, input).await {
        Ok(answer) => Done { output: format!("{answer:#}\n").into(), ..Done::default() },
        Err(why) => Done { status: 254, output: Vec::new(), errors: format!("\n{why}\n") },
    }
}

/// The filter of `jq` on a local instance: the text of a secret or parameter, or one field of its JSON, as an assignment of
/// systemd.exec(5).
pub const ASSIGNMENT: &str = r#"(.SecretString//.Parameter.Value)|if $key=="" then . else (try(fromjson|.[$key])catch null|if type=="string" or .==null then . else tojson end) end|if .==null then error("there is no such text") else explode|if any(.==0) then error("it has a NUL character") elif any(.>64975 and .<65008 or .%65536>65533) then error("it has a character that no variable can have") else "\($name)=\"\(map(if .==34 or .==36 or .==92 or .==96 then 92,. else . end)|implode)\"" end end"#;

/// `jq -r --arg name NAME --arg key KEY FILTER` with the filter above.
pub fn jq(name: &str, key: &str, input: &[u8]) -> Done {
    let failed =
        |why: &str| Done { status: 5, output: Vec::new(), errors: format!("jq: error (at <stdin>:1): {why}\n") };
    if input.iter().all(u8::is_ascii_whitespace) {
        return Done::default();
    }
    let Ok(answer) = serde_json::from_slice::<Value>(input) else {
        return Done { status: 2, output: Vec::new(), errors: "jq: parse error: Invalid literal\n".to_owned() };
    };
    let whole = answer["SecretString"].as_str().or(answer["Parameter"]["Value"].as_str());
    let text = match (whole, key) {
        (Some(text), "") => Some(text.to_owned()),
        (Some(text), key) => serde_json::from_str::<Value>(text).ok().and_then(|fields| match &fields[key] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }),
        (None, _) => None,
    };
    match text {
        None => failed("there is no such text"),
        Some(text) if text.contains('\0') => failed("it has a NUL character"),
        Some(text) if text.contains(is_noncharacter) => failed("it has a character that no variable can have"),
        Some(text) => {
            let mut line = format!("{name}=\"");
            for c in text.chars() {
                line.extend(['"', '$', '\\', '`'].contains(&c).then_some('\\'));
                line.push(c);
            }
            Done { output: format!("{line}\"\n").into(), ..Done::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::FakeTools;
    use crate::systemd::environment_file;

    /// The values of the variables that `jq` extracts from a response.
    fn value(answer: &Value, key: &str) -> Result<String, String> {
        let done = jq("V", key, answer.to_string().as_bytes());
        match done.status {
            0 => Ok(environment_file(&String::from_utf8(done.output).unwrap()).unwrap().remove("V").unwrap()),
            _ => Err(done.errors),
        }
    }

    #[test]
    fn any_text_survives_the_environment_file() {
        for text in [
            "\u{fdcf}\u{fdf0}\u{fffd}\u{10000}",
            "plain",
            "",
            "a\"b\\c$d`e",
            "two\nlines\n",
            "  é # ; %x ${Y} ",
            "'",
            "\\",
            "-----BEGIN\r\n\tx",
        ] {
            assert_eq!(value(&json!({ "SecretString": text }), "").as_deref(), Ok(text), "{text:?}");
            assert_eq!(value(&json!({ "Parameter": { "Value": text } }), "").as_deref(), Ok(text), "{text:?}");
            let fields = json!({ "k": text }).to_string();
            assert_eq!(value(&json!({ "SecretString": fields }), "k").as_deref(), Ok(text), "{text:?}");
        }
        assert_eq!(value(&json!({ "SecretString": r#"{"port":5432}"# }), "port").as_deref(), Ok("5432"));
    }

    #[test]
    fn what_is_no_text_is_an_error_that_does_not_contain_it() {
        for (answer, key) in [
            (json!({ "SecretBinary": "aHVudGVyMg==" }), ""),
            (json!({ "SecretString": "hunter2" }), "k"),
            (json!({ "SecretString": r#"{"other":"hunter2"}"# }), "k"),
            (json!({ "SecretString": r#"["hunter2"]"# }), "k"),
            (json!({ "SecretString": "hunter2\0" }), ""),
            (json!({ "SecretString": "hunter2\u{fdd0}" }), ""),
            (json!({ "SecretString": "hunter2\u{fffe}" }), ""),
            (json!({ "SecretString": "hunter2\u{10ffff}" }), ""),
        ] {
            let error = value(&answer, key).unwrap_err();
            assert!(error.starts_with("jq: error") && !error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_cli_reads_values_and_says_what_aws_refuses() {
        let tools = FakeTools::default();
        let run = async |line: &str| aws(&tools, &line.split(' ').collect::<Vec<_>>()).await;
        let done = run("secretsmanager get-secret-value --region r --output json --secret-id app/jwt").await;
        assert_eq!(serde_json::from_slice::<Value>(&done.output).unwrap()["SecretString"], "app/jwt");
        let done =
            run("ssm get-parameter --region r --output json --cli-connect-timeout 5 --with-decryption --name none")
                .await;
        assert_eq!((done.status, done.output.len()), (254, 0));
        assert!(done.errors.contains("(ParameterNotFound) when calling the GetParameter operation"), "{}", done.errors);
        for line in [
            "secretsmanager list-secrets --region r",
            "secretsmanager get-secret-value --region r --output text --secret-id s",
            "secretsmanager get-secret-value --region r --secret-id s",
            "secretsmanager get-secret-value --region r --output json --cli-read-timeout soon --secret-id s",
            "ssm get-parameter --output json --query Parameter.Value",
        ] {
            assert_ne!(run(line).await.status, 0, "{line}");
        }
    }
}
