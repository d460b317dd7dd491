//! Variables of a Lambda function that are kept in AWS: in Secrets Manager, or in Parameter Store.
//!
//! The configuration of the function has references only, in the variable [`VARIABLE`]. Call [`enter`] first in `main`,
//! before there are threads and before anything reads the environment:
//!
//! ```no_run
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     secret_environment::enter()?;
//!     // JWT_SECRET is a variable like any other from here on.
//!     Ok(())
//! }
//! ```
//!
//! It reads the values with the function's role, and replaces the process by itself with the values as variables, so that
//! every library sees them. Without references it returns at once.

mod aws;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The variable with the references, as a JSON object: `{"JWT_SECRET":{"secret":"app/jwt","key":"value"}}`. The deployer
/// sets it.
pub const VARIABLE: &str = "DEPLOYER_SECRETS";

/// Where a value is kept. Members that are not known, such as the version that the deployer saw, are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Reference {
    /// The name of a secret.
    secret: Option<String>,
    /// A member of its text, which is JSON.
    key: Option<String>,
    /// The name of a parameter.
    parameter: Option<String>,
}

/// Why the variables cannot be set. No error contains a value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The references cannot be read.
    #[error("{VARIABLE} is not valid: {0}")]
    References(String),
    /// AWS refuses to return the value.
    #[error("{variable} cannot be read from {place}: {why}")]
    Refused {
        /// The variable.
        variable: String,
        /// The secret or parameter.
        place: String,
        /// AWS's message.
        why: String,
    },
    /// The value cannot be a variable.
    #[error("{variable} cannot be set from {place}: {why}")]
    Unfit {
        /// The variable.
        variable: String,
        /// The secret or parameter.
        place: String,
        /// The problem.
        why: &'static str,
    },
    /// The environment lacks what a call of AWS needs.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// The process could not be replaced.
    #[error("the program cannot be started with its variables: {0}")]
    Start(#[from] std::io::Error),
}

/// Sets the variables that are kept in AWS, by starting this program once more in the same process. Returns if there are
/// none, which is so in the program that it starts.
///
/// Errors: a value cannot be read. Then the program should end: it would start without its variables.
pub fn enter() -> Result<(), Error> {
    let Some(references) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else { return Ok(()) };
    let values = values(parse(&references)?)?;
    restart(values).map(|never| match never {})
}

fn parse(references: &str) -> Result<BTreeMap<String, Reference>, Error> {
    let parsed: BTreeMap<String, Reference> =
        serde_json::from_str(references).map_err(|error| Error::References(error.to_string()))?;
    match parsed.iter().find(|(_, it)| it.secret.is_some() == it.parameter.is_some()) {
        Some((variable, _)) => Err(Error::References(format!("{variable} needs a secret or a parameter"))),
        None => Ok(parsed),
    }
}

/// The time for all values: Lambda ends the initialisation after ten seconds, and reports only that.
const WITHIN: Duration = Duration::from_secs(8);

fn values(references: BTreeMap<String, Reference>) -> Result<BTreeMap<String, String>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let aws = Arc::new(aws::Aws::of_environment()?);
        all(&aws, references, Instant::now() + WITHIN).await
    })
}

/// Reads every value, all at once.
async fn all(
    aws: &Arc<aws::Aws>,
    references: BTreeMap<String, Reference>,
    end: Instant,
) -> Result<BTreeMap<String, String>, Error> {
    let mut reads = JoinSet::new();
    for (variable, reference) in references {
        let aws = Arc::clone(aws);
        reads.spawn(async move { reference.read(&aws, &variable, end).await.map(|value| (variable, value)) });
    }
    let mut values = BTreeMap::new();
    while let Some(read) = reads.join_next().await {
        let (variable, value) = read.map_err(std::io::Error::other)??;
        values.insert(variable, value);
    }
    Ok(values)
}

fn restart(values: BTreeMap<String, String>) -> Result<Infallible, Error> {
    let arguments = std::env::args_os().skip(1);
    let mut program = Command::new(std::env::current_exe()?);
    Err(program.args(arguments).env_remove(VARIABLE).envs(values).exec().into())
}

impl Reference {
    fn place(&self) -> String {
        match (&self.secret, &self.parameter) {
            (Some(name), _) => format!("the secret {name}"),
            (None, name) => format!("the parameter {}", name.as_deref().unwrap_or_default()),
        }
    }

    fn call(&self) -> aws::Call {
        match &self.secret {
            Some(name) => aws::Call {
                service: "secretsmanager",
                endpoint: "SECRETS_MANAGER",
                target: "secretsmanager.GetSecretValue",
                body: serde_json::json!({ "SecretId": name }),
            },
            None => aws::Call {
                service: "ssm",
                endpoint: "SSM",
                target: "AmazonSSM.GetParameter",
                body: serde_json::json!({ "Name": self.parameter, "WithDecryption": true }),
            },
        }
    }

    /// Reads the value of a variable.
    async fn read(&self, aws: &aws::Aws, variable: &str, end: Instant) -> Result<String, Error> {
        let refused = |why| Error::Refused { variable: variable.to_owned(), place: self.place(), why };
        let call = self.call();
        let answer = tokio::time::timeout_at(end, aws.call(&call)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())));
        let answer = answer.map_err(refused)?;
        let unfit = |why| Error::Unfit { variable: variable.to_owned(), place: self.place(), why };
        self.value(&answer).map_err(unfit)
    }

    /// The value in an answer.
    fn value(&self, answer: &Value) -> Result<String, &'static str> {
        let whole = answer["SecretString"].as_str().or(answer["Parameter"]["Value"].as_str());
        let whole = whole.ok_or("it is not a text")?;
        let text = match &self.key {
            None => whole.to_owned(),
            Some(key) => {
                let fields: Value = serde_json::from_str(whole).map_err(|_| "it is not JSON, and `key` is set")?;
                match &fields[key.as_str()] {
                    Value::Null => return Err("its JSON has no such key"),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                }
            }
        };
        if text.contains('\0') { Err("it has a NUL character") } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// AWS at an address.
    fn at(address: std::net::SocketAddr) -> Arc<aws::Aws> {
        let credentials = aws_credential_types::Credentials::new("AKIA", "secret", None, None, "test");
        Arc::new(aws::Aws::of("us-east-1".into(), credentials, Some(format!("http://{address}"))))
    }

    fn two() -> BTreeMap<String, Reference> {
        parse(r#"{"A":{"secret":"s"},"B":{"secret":"s"}}"#).unwrap()
    }

    #[tokio::test]
    async fn values_are_read_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Neither gets an answer before both have sent their requests.
        let server = std::thread::spawn(move || {
            let both = [listener.accept().unwrap().0, listener.accept().unwrap().0];
            let body = r#"{"SecretString":"v"}"#;
            for mut connection in both {
                let mut asked = Vec::new();
                let mut part = [0; 1024];
                while !String::from_utf8_lossy(&asked).contains(r#"{"SecretId":"s"}"#) {
                    let length = std::io::Read::read(&mut connection, &mut part).unwrap();
                    asked.extend_from_slice(&part[..length]);
                }
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                std::io::Write::write_all(&mut connection, answer.as_bytes()).unwrap();
            }
        });
        let values = all(&at(address), two(), Instant::now() + WITHIN).await.unwrap();
        assert_eq!(values, BTreeMap::from([("A".into(), "v".into()), ("B".into(), "v".into())]));
        server.join().unwrap();
    }

    #[tokio::test]
    async fn without_an_answer_in_time_the_error_names_the_variable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let one = BTreeMap::from([two().pop_last().unwrap()]);
        let error = all(&at(listener.local_addr().unwrap()), one, Instant::now()).await.unwrap_err();
        assert_eq!(error.to_string(), "B cannot be read from the secret s: no answer within 8 s");
    }

    #[test]
    fn references_name_one_place_each() {
        let parsed = parse(r#"{"A":{"secret":"s","key":"k","version":"1"},"B":{"parameter":"/p"}}"#).unwrap();
        assert_eq!((parsed["A"].place(), parsed["B"].place()), ("the secret s".into(), "the parameter /p".into()));
        for text in ["", "[]", r#"{"A":{}}"#, r#"{"A":{"secret":"s","parameter":"p"}}"#] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("DEPLOYER_SECRETS is not valid: "), "{error}");
        }
    }

    #[test]
    fn a_value_is_the_text_or_one_member_of_its_json() {
        let read = |reference: &str, text: &str| {
            let reference = &parse(&format!(r#"{{"A":{reference}}}"#)).unwrap()["A"];
            reference.value(&json!({ "SecretString": text }))
        };
        assert_eq!(read(r#"{"secret":"s"}"#, "a\nb").as_deref(), Ok("a\nb"));
        assert_eq!(read(r#"{"secret":"s","key":"k"}"#, r#"{"k":"v"}"#).as_deref(), Ok("v"));
        assert_eq!(read(r#"{"secret":"s","key":"k"}"#, r#"{"k":5432}"#).as_deref(), Ok("5432"));
        for text in ["hunter2", r#"{"other":"hunter2"}"#, r#"["hunter2"]"#] {
            assert!(read(r#"{"secret":"s","key":"k"}"#, text).is_err(), "{text}");
        }
        assert!(read(r#"{"secret":"s"}"#, "a\0").is_err());
        let parameter = parse(r#"{"A":{"parameter":"p"}}"#).unwrap();
        assert_eq!(parameter["A"].value(&json!({ "Parameter": { "Value": "v" } })).as_deref(), Ok("v"));
        assert_eq!(parameter["A"].value(&json!({ "SecretBinary": "aA==" })), Err("it is not a text"));
    }
}
