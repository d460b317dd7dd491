//! The script that reads the values kept in AWS.

use super::environment::assignment;
use super::{Error, PAUSE_S, StoredVariable, UserData};
use crate::config::{self, Store};

/// Turns the answer of `get-secret-value` or `get-parameter` into a line of an environment file: systemd takes a quoted
/// value over several lines, in which only these four characters are escaped. Of a noncharacter of Unicode it would drop the
/// whole file, and log the value (docs/aws.md §23.3). No message of the filter contains a value.
const ASSIGNMENT: &str = r#"(.SecretString//.Parameter.Value)|if $key=="" then . else (try(fromjson|.[$key])catch null|if type=="string" or .==null then . else tojson end) end|if .==null then error("there is no such text") else explode|if any(.==0) then error("it has a NUL character") elif any(.>64975 and .<65008 or .%65536>65533) then error("it has a character that no variable can have") else "\($name)=\"\(map(if .==34 or .==36 or .==92 or .==96 then 92,. else . end)|implode)\"" end end"#;

/// The script's message about a value that it cannot read. The name of the variable follows.
pub const UNREADABLE: &str = "deployer: cannot read";

impl UserData {
    /// The script that reads the values kept in AWS with the role of the instance, just before the program starts. They
    /// pass through pipes and variables of the shell, never through arguments, which others see. What the script prints is
    /// in the journal and in reports: names, and the messages of the AWS CLI, which contain no values.
    pub(super) fn stored_values_file(&self) -> Result<String, Error> {
        if self.stored.is_empty() {
            return Ok(String::new());
        }
        let (unit, region) = (self.unit(), &self.region);
        let (mut marks, mut reads) = (String::new(), String::new());
        for StoredVariable { variable, value, version } in &self.stored {
            let mark = assignment(variable, format!("{value} {version}").trim_end())?;
            marks += &format!("    # {mark}");
            let config::StoredValue { store, name, key } = value;
            for word in [name].into_iter().chain(key) {
                check_quotable(word)?;
            }
            let read = match store {
                Store::Secret => format!("secretsmanager get-secret-value $to --secret-id '{name}'"),
                Store::Parameter => format!("ssm get-parameter $to --with-decryption --name '{name}'"),
            };
            let key = key.as_deref().unwrap_or_default();
            let and = if reads.is_empty() { "" } else { " &&\n" };
            reads += &format!(
                "{and}      what='{variable} from the {} {name}' && it=$(aws {read}) && echo \"$it\" | jq -r --arg name {variable} --arg key '{key}' \"$as\"",
                store.word()
            );
        }
        Ok(format!(
            "\
- path: /opt/{unit}/secrets
  permissions: '0644'
  content: |
{marks}\
\x20   umask 077
    to='--region {region} --output json --cli-connect-timeout 5 --cli-read-timeout 10'
    as='{ASSIGNMENT}'
    {{
{reads}
    }} > /run/{unit}/environment || {{
      echo \"{UNREADABLE} $what\"
      sleep {PAUSE_S}
      false
    }}
"
        ))
    }
}

/// Checks that a word can stand between single quotes in a script.
fn check_quotable(text: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/@:+=".contains(c);
    if text.chars().all(is_plain) { Ok(()) } else { Err(Error::Word { text: text.into() }) }
}

#[cfg(test)]
mod tests {
    use super::super::rendered::{commands, variables};
    use super::super::tests::{contents, postagram, stored};
    use super::*;

    fn with_stored_values() -> UserData {
        let all = [
            stored("DB", Store::Parameter, "/app/db", None),
            stored("JWT_SECRET", Store::Secret, "app/jwt", Some("value")),
        ];
        UserData { stored: all.into(), ..postagram(&[("A", "1")]) }
    }

    #[test]
    fn values_kept_in_aws_are_read_before_the_program_starts() {
        let yaml = contents(&with_stored_values());
        let unit = yaml["write_files"][2]["content"].as_str().unwrap();
        let lines: Vec<&str> = unit.lines().filter(|line| line.contains("/run/") || line.contains("untime")).collect();
        let run = "EnvironmentFile=-/run/postagram-web/environment";
        assert_eq!(lines, ["RuntimeDirectory=postagram-web", "RuntimeDirectoryMode=0700", run]);
        let before: Vec<&str> = unit.lines().filter(|line| line.starts_with("ExecStartPre=")).collect();
        assert_eq!(before.last(), Some(&"ExecStartPre=+/usr/bin/bash /opt/postagram-web/secrets"));
        assert!(unit.contains("\nTimeoutStartSec=300\n"), "longer than the calls take that are tried again");
        let text = with_stored_values().render().unwrap();
        assert_eq!(super::super::stored_values(&text), [(Store::Parameter, "/app/db"), (Store::Secret, "app/jwt")]);
        // A variable that looks like a mark is not one.
        let other = postagram(&[("A", "secret x 7"), ("B", "/secrets # C=\"secret y 7\"")]).render().unwrap();
        assert_eq!(super::super::stored_values(&other), []);
        assert_eq!(yaml["write_files"][3]["path"], "/opt/postagram-web/secrets");
        let script = yaml["write_files"][3]["content"].as_str().unwrap().replace(ASSIGNMENT, "FILTER");
        expect_test::expect![[r#"
            # DB="parameter /app/db 7"
            # JWT_SECRET="secret app/jwt, key value 7"
            umask 077
            to='--region us-east-1 --output json --cli-connect-timeout 5 --cli-read-timeout 10'
            as='FILTER'
            {
              what='DB from the parameter /app/db' && it=$(aws ssm get-parameter $to --with-decryption --name '/app/db') && echo "$it" | jq -r --arg name DB --arg key '' "$as" &&
              what='JWT_SECRET from the secret app/jwt' && it=$(aws secretsmanager get-secret-value $to --secret-id 'app/jwt') && echo "$it" | jq -r --arg name JWT_SECRET --arg key 'value' "$as"
            } > /run/postagram-web/environment || {
              echo "deployer: cannot read $what"
              sleep 15
              false
            }
        "#]]
        .assert_eq(&script);
        assert!(!ASSIGNMENT.contains('\''), "it stands between single quotes");
    }

    #[test]
    fn another_version_of_a_value_is_another_variable_and_nothing_else() {
        let (text, mut other) = (with_stored_values().render().unwrap(), with_stored_values());
        other.stored[1].version = "8".into();
        let other = other.render().unwrap();
        assert_eq!(commands(&text), commands(&other));
        assert_eq!(variables(&text).unwrap()["JWT_SECRET"], "secret app/jwt, key value 7");
        assert_eq!(variables(&other).unwrap()["JWT_SECRET"], "secret app/jwt, key value 8");
        assert_eq!(variables(&text).unwrap().len(), 4);
        let quoted = UserData { stored: vec![stored("A", Store::Secret, "it's", None)], ..postagram(&[]) };
        assert_eq!(quoted.render(), Err(Error::Word { text: "it's".into() }));
    }
}
