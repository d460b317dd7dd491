//! The control pages of a local AWS (`/_local`): its journal, its fault rules and its chaos.

use reqwest::Client;
use serde_json::{Value, json};

use crate::until;

/// The control pages of one server.
#[derive(Debug, Clone)]
pub struct Control {
    client: Client,
    base: String,
}

impl Control {
    /// The control pages of the server at `endpoint`.
    #[must_use]
    pub fn of(endpoint: &str) -> Control {
        let client = Client::builder().no_proxy().build().expect("a client can be made");
        Control { client, base: format!("{endpoint}/_local") }
    }

    /// Fetches a page, such as `requests` or `status`.
    pub async fn get(&self, page: &str) -> Value {
        let answer = self.client.get(format!("{}/{page}", self.base)).send().await.expect("the server answers");
        answer.json().await.expect("the page is JSON")
    }

    /// The answered calls, oldest first; each has its `service`, `operation` and `status`.
    pub async fn journal(&self) -> Vec<Value> {
        match self.get("requests").await {
            Value::Array(calls) => calls,
            other => panic!("the journal is a list, not {other}"),
        }
    }

    /// How often an operation was called.
    pub async fn calls(&self, operation: &str) -> usize {
        self.journal().await.iter().filter(|call| call["operation"] == operation).count()
    }

    /// Adds a fault rule, or a list of them, and returns their ids (local/README.md, "Faults on demand").
    pub async fn inject(&self, rules: &Value) -> Vec<u64> {
        let call = self.client.post(format!("{}/faults", self.base)).body(rules.to_string());
        let answer = call.send().await.expect("the server answers");
        let status = answer.status();
        let answer: Value = answer.json().await.expect("the answer is JSON");
        assert!(status.is_success(), "{rules}: {answer}");
        let ids = answer["ids"].as_array().expect("a list of ids");
        ids.iter().map(|id| id.as_u64().expect("an id is a number")).collect()
    }

    /// Injects this error into the next call of an operation.
    pub async fn refuse(&self, operation: &str, status: u16, code: &str) {
        let error = json!({ "status": status, "code": code, "message": "as the test asked" });
        self.inject(&json!({ "match": { "operation": operation, "times": 1 }, "fault": error })).await;
    }

    /// Holds the next call of an operation before or after its effect (`hold-before`, `hold-after`), and returns the id
    /// of the rule. The call continues when the rule is removed.
    pub async fn hold(&self, operation: &str, how: &str) -> u64 {
        self.inject(&json!({ "match": { "operation": operation, "times": 1 }, "fault": how })).await[0]
    }

    /// Waits until a rule has matched a call.
    pub async fn has_fired(&self, rule: u64) {
        until("the rule to fire", async || {
            let rules = self.get("faults").await;
            let rules = rules["rules"].as_array().expect("a list of rules");
            let rule = rules.iter().find(|one| one["id"] == rule).expect("the rule exists");
            rule["fired"].as_u64() > Some(0)
        })
        .await;
    }

    /// Deletes a page: `faults` removes every rule, `faults/ID` one. Calls held by them continue. Returns the status.
    pub async fn delete(&self, page: &str) -> u16 {
        let answer = self.client.delete(format!("{}/{page}", self.base)).send().await.expect("the server answers");
        answer.status().as_u16()
    }

    /// Turns these kinds of chaos on, and all others off.
    pub async fn set_chaos(&self, kinds: &[&str]) {
        let call = self.client.put(format!("{}/chaos", self.base)).body(json!({ "kinds": kinds }).to_string());
        assert!(call.send().await.expect("the server answers").status().is_success(), "{kinds:?}");
    }
}
