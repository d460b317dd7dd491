//! The keys of KMS that tables are encrypted with (docs/aws.md §5.2). dynoxide stores rows in the clear: a key decides who
//! may use a table, and what its description says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use kit::answer::Refusal;
use kit::call::Need;
use kit::key::{Key, Unusable};
use kit::speed::Speed;
use kit::store;

use super::invalid;

/// The key of a specification that names none.
const KEY_OF_DYNAMODB: &str = "alias/aws/dynamodb";

/// The service, as in the condition key `kms:ViaService`.
const SERVICE: &str = "dynamodb";

/// How long a change takes, in seconds, and its minimum here at any speed.
const CHANGING_S: u64 = 10;
const LEAST_CHANGING: Duration = Duration::from_millis(200);

/// The changes of a table's key within a day.
const MOST_CHANGES: usize = 4;
const DAY_S: u64 = 86_400;

/// What giving a table a key needs.
const TO_ENCRYPT: &[&str] =
    &["CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"];

/// The actions on rows.
const ON_ROWS: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "ConditionCheckItem",
    "DeleteItem",
    "GetItem",
    "PartiQLDelete",
    "PartiQLInsert",
    "PartiQLSelect",
    "PartiQLUpdate",
    "PutItem",
    "Query",
    "Scan",
    "UpdateItem",
];

/// The keys of the tables of a region. They are kept in a file.
#[derive(Debug)]
pub(super) struct TableKeys {
    region: String,
    speed: Speed,
    file: PathBuf,
    kept: Mutex<BTreeMap<String, TableKey>>,
    changing: Mutex<BTreeMap<String, Instant>>,
}

/// The key of a table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct TableKey {
    /// As the caller named it; `None` for DynamoDB's own.
    name: Option<String>,
    /// When it was changed, as times since 1970.
    changes: Vec<Duration>,
}

impl TableKeys {
    /// Reads what an earlier server has kept in this file.
    pub(super) fn open(file: &Path, region: &str, speed: Speed) -> anyhow::Result<TableKeys> {
        let kept = Mutex::new(store::read_json(file)?.unwrap_or_default());
        Ok(TableKeys { region: region.to_owned(), speed, file: file.to_owned(), kept, changing: Mutex::default() })
    }

    /// Returns the key that a specification names; `None` for DynamoDB's own.
    pub(super) fn wanted(&self, specification: &Value) -> Result<Option<Key>, Refusal> {
        let name = specification["KMSMasterKeyId"].as_str();
        let kind = specification["SSEType"].as_str();
        if kind.is_some_and(|kind| kind != "KMS") {
            return Err(wrong("SSEType must be KMS"));
        }
        if specification["Enabled"] != true {
            return match name.or(kind) {
                Some(_) => Err(wrong("SSEType and KMSMasterKeyId need an SSESpecification that is enabled")),
                None => Ok(None),
            };
        }
        if name.is_some() && kind.is_none() {
            return Err(wrong("SSEType KMS is required if KMSMasterKeyId is specified"));
        }
        let name = name.unwrap_or(KEY_OF_DYNAMODB);
        Key::find(name, &self.region).map(Some).map_err(|why| match why {
            Unusable::Malformed => wrong(&format!("Invalid keyId {name}")),
            Unusable::Elsewhere => wrong(&format!("Invalid arn {name}")),
            Unusable::Absent => wrong(&format!("Key {name} does not exist")),
        })
    }

    /// Records the key of a new table.
    ///
    /// Errors: the record cannot be written.
    pub(super) fn created(&self, table: &str, specification: &Value) -> Result<(), Refusal> {
        self.changing.lock().remove(table);
        let kept = TableKey { name: name_of(specification), changes: Vec::new() };
        self.keep(table, kept)
    }

    /// Changes the key of a table.
    ///
    /// Errors: DynamoDB refuses the change, or the record cannot be written.
    pub(super) fn change(&self, table: &str, specification: &Value) -> Result<(), Refusal> {
        let wanted = self.wanted(specification)?;
        let mut kept = self.kept.lock().get(table).cloned().unwrap_or_default();
        let found = |name: &Option<String>| name.as_deref().and_then(|name| Key::find(name, &self.region).ok());
        match (found(&kept.name), &wanted) {
            (None, None) => return Err(wrong("Table is already encrypted by default")),
            (Some(key), Some(wanted)) if key.arn == wanted.arn => {
                return Err(wrong("Table is already encrypted by given KMSMasterKeyId"));
            }
            _ => (),
        }
        let (now, day) = (now(), self.speed.takes(DAY_S));
        kept.changes.retain(|at| now.saturating_sub(*at) < day);
        // Going back to DynamoDB's own key is always possible.
        if wanted.is_some() && kept.changes.len() >= MOST_CHANGES {
            // On AWS, the time at which the window ends, and the pause after which there is one more, are in it, too.
            let text = format!(
                "Subscriber limit exceeded: Encryption mode changes are limited in the 24h window. Number of updates today: {}",
                kept.changes.len()
            );
            return Err(Refusal::new(400, "LimitExceededException", text));
        }
        kept.changes.push(now);
        kept.name = name_of(specification);
        self.keep(table, kept)?;
        let takes = self.speed.takes(CHANGING_S).max(LEAST_CHANGING);
        self.changing.lock().insert(table.to_owned(), Instant::now() + takes);
        Ok(())
    }

    /// Adds the encryption to the description of a table.
    pub(super) fn show(&self, table: &str, description: &mut Value) {
        let is_changing = self.changing.lock().get(table).is_some_and(|until| *until > Instant::now());
        let is_new = description["TableStatus"] == "CREATING";
        if let Some(key) = self.of(table) {
            let status = match (is_new, is_changing) {
                (true, _) => "ENABLING",
                (false, true) => "UPDATING",
                (false, false) => "ENABLED",
            };
            description["SSEDescription"] = json!({ "Status": status, "SSEType": "KMS", "KMSMasterKeyArn": key.arn });
        } else if is_changing {
            description["SSEDescription"] = json!({ "Status": "DISABLING", "SSEType": "KMS" });
        }
    }

    /// The permissions on keys of a call that needs these permissions.
    pub(super) fn needs(&self, needs: &[Need], specification: &Value) -> Vec<Need> {
        let mut keys = Vec::new();
        if let Ok(Some(key)) = self.wanted(specification) {
            keys.extend(TO_ENCRYPT.iter().filter_map(|action| key.need(action, SERVICE, &self.region)));
        }
        for need in needs {
            let is_on_rows = need.action.strip_prefix("dynamodb:").is_some_and(|action| ON_ROWS.contains(&action));
            let table = need.resource.split_once(":table/").map(|(_, name)| name.split('/').next().unwrap_or(name));
            let key = table.filter(|_| is_on_rows).and_then(|table| self.of(table));
            keys.extend(key.and_then(|key| key.need("Decrypt", SERVICE, &self.region)));
        }
        keys
    }

    fn of(&self, table: &str) -> Option<Key> {
        let name = self.kept.lock().get(table)?.name.clone()?;
        Key::find(&name, &self.region).ok()
    }

    fn keep(&self, table: &str, new: TableKey) -> Result<(), Refusal> {
        let mut kept = self.kept.lock();
        if kept.get(table).is_none() && new.name.is_none() && new.changes.is_empty() {
            return Ok(());
        }
        let before = kept.insert(table.to_owned(), new);
        store::write_json(&self.file, &*kept).map_err(|fault| {
            match before {
                Some(before) => drop(kept.insert(table.to_owned(), before)),
                None => drop(kept.remove(table)),
            }
            let text = format!("the local AWS cannot write {}: {fault}", self.file.display());
            Refusal::new(500, "InternalServerError", text)
        })
    }
}

/// The name of the key in a valid specification.
fn name_of(specification: &Value) -> Option<String> {
    let name = specification["KMSMasterKeyId"].as_str().unwrap_or(KEY_OF_DYNAMODB);
    (specification["Enabled"] == true).then(|| name.to_owned())
}

fn wrong(text: &str) -> Refusal {
    invalid(&format!("One or more parameter values were invalid: {text}"))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(dir: &Path, speed: Speed) -> TableKeys {
        TableKeys::open(&dir.join("keys.json"), "us-east-1", speed).unwrap()
    }

    fn with(name: &str) -> Value {
        json!({ "Enabled": true, "SSEType": "KMS", "KMSMasterKeyId": name })
    }

    fn code<T>(answer: Result<T, Refusal>) -> String {
        answer.err().map(|refusal| refusal.code).unwrap_or_default()
    }

    #[test]
    fn a_key_is_kept_and_shown() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path(), Speed::FAST);
        keys.created("posts", &with("alias/app")).unwrap();
        keys.created("other", &Value::Null).unwrap();
        let again = super::tests::keys(dir.path(), Speed::FAST);
        for keys in [keys, again] {
            let shown = |table: &str, status: &str| {
                let mut description = json!({ "TableStatus": status });
                keys.show(table, &mut description);
                description["SSEDescription"].clone()
            };
            let arn = Key::find("alias/app", "us-east-1").unwrap().arn;
            let expected = |status| json!({ "Status": status, "SSEType": "KMS", "KMSMasterKeyArn": arn });
            assert_eq!(shown("posts", "ACTIVE"), expected("ENABLED"));
            assert_eq!(shown("posts", "CREATING"), expected("ENABLING"));
            assert_eq!(shown("other", "ACTIVE"), Value::Null);
        }
    }

    #[test]
    fn changes_are_limited_and_take_time() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path(), Speed::REAL);
        assert_eq!(code(keys.change("posts", &json!({ "Enabled": false }))), "ValidationException");
        for name in ["alias/a", "alias/b", "alias/c", "alias/d"] {
            keys.change("posts", &with(name)).unwrap();
            assert_eq!(code(keys.change("posts", &with(name))), "ValidationException");
        }
        let mut shown = json!({ "TableStatus": "ACTIVE" });
        keys.show("posts", &mut shown);
        assert_eq!(shown["SSEDescription"]["Status"], "UPDATING");
        assert_eq!(code(keys.change("posts", &with("alias/e"))), "LimitExceededException");
        keys.change("posts", &json!({ "Enabled": false })).unwrap();
    }

    #[test]
    fn encryption_that_dynamodb_refuses_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path(), Speed::FAST);
        for wrong in [
            with("app"),
            with(kit::key::ABSENT_ID),
            json!({ "Enabled": true, "SSEType": "AES256" }),
            json!({ "Enabled": false, "KMSMasterKeyId": "alias/app" }),
            json!({ "Enabled": true, "KMSMasterKeyId": "alias/app" }),
        ] {
            assert_eq!(code(keys.wanted(&wrong)), "ValidationException", "{wrong}");
        }
        assert!(keys.wanted(&json!({ "Enabled": false })).unwrap().is_none());
        assert!(keys.wanted(&Value::Null).unwrap().is_none());
    }

    #[test]
    fn rows_of_a_table_with_a_key_need_the_right_to_decrypt() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path(), Speed::FAST);
        keys.created("posts", &with("alias/app")).unwrap();
        let needed = |action: &str, resource: &str| {
            let need = Need::new(action, format!("arn:aws:dynamodb:us-east-1:000000000000:table/{resource}"));
            let needs = keys.needs(&[need], &Value::Null);
            needs.into_iter().map(|need| need.action).collect::<Vec<_>>()
        };
        assert_eq!(needed("dynamodb:GetItem", "posts"), ["kms:Decrypt"]);
        assert_eq!(needed("dynamodb:Query", "posts/index/by-user"), ["kms:Decrypt"]);
        assert_eq!(needed("dynamodb:DescribeTable", "posts"), Vec::<String>::new());
        assert_eq!(needed("dynamodb:GetItem", "other"), Vec::<String>::new());
        assert_eq!(keys.needs(&[], &with("alias/other")).len(), TO_ENCRYPT.len());
    }
}
