//! Fault injection, before or after a call takes effect.
//!
//! Rules define exactly which call fails and how, for tests; chaos makes a share of all calls fail, for manual use.
//! Both are deterministic: a rule counts the calls it matches, and chaos derives what happens to the nth call of an
//! operation from its seed.

mod answers;
mod chaos;
mod rates;
mod rule;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use chaos::{Chaos, ChaosKind, UnknownChaos};
use chaos::{Dice, Mishap};
use kit::answer::Refusal;
use kit::call::{Call, Request};
use rates::Buckets;
use rule::{FaultRule, Injected, Known};

/// The faults injected into a call.
#[derive(Debug, Default)]
pub struct Fate {
    /// The delay before anything else.
    pub latency: Duration,
    /// The fault, if any.
    pub act: Option<Act>,
}

/// A fault of a call.
#[derive(Debug)]
pub enum Act {
    /// It fails and has no effect.
    Refuse(Refusal),
    /// It takes effect but returns an error.
    RefuseAfter(Refusal),
    /// The connection is cut, and the call has no effect.
    ResetBefore,
    /// It takes effect; the connection is cut instead of a response.
    ResetAfter,
    /// Half of the response's body is sent.
    Truncate,
    /// It is held until released, and then takes effect.
    HoldBefore(CancellationToken),
    /// It takes effect; the response is held until released.
    HoldAfter(CancellationToken),
}

impl Act {
    /// Returns its name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Act::Refuse(_) => "refused",
            Act::RefuseAfter(_) => "refused-after",
            Act::ResetBefore => "reset-before",
            Act::ResetAfter => "reset-after",
            Act::Truncate => "truncate",
            Act::HoldBefore(_) => "hold-before",
            Act::HoldAfter(_) => "hold-after",
        }
    }
}

/// The faults of one server.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
    /// Publishes the chaos, for the kinds that are not faults of calls.
    chaos: watch::Sender<Chaos>,
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<ActiveRule>,
    last_id: u64,
    chaos: Chaos,
    dice: Dice,
    rates: Buckets,
    /// The number of changes of each role and profile.
    changes: BTreeMap<String, u64>,
}

/// A rule and its counters.
#[derive(Debug)]
struct ActiveRule {
    id: u64,
    rule: FaultRule,
    matched: u64,
    fired: u64,
    /// Cancelled when the rule is removed, to release the calls it holds.
    released: CancellationToken,
}

impl Faults {
    /// Faults with this chaos and without rules.
    pub fn new(chaos: Chaos) -> Faults {
        let faults = Faults::default();
        faults.set_chaos(chaos);
        faults
    }

    /// Decides the faults of a call. Must be called once for each call, because it counts them.
    pub fn judge(&self, call: &Call, caller: &str, request: &Request) -> Fate {
        let mut inner = self.inner();
        let mut fate = Fate::default();
        for kept in &mut inner.rules {
            if kept.meets(call, caller, request) {
                fate.latency += kept.rule.latency();
                fate.act = fate.act.or_else(|| kept.act(call));
            }
        }
        // A CORS preflight is not an API call.
        if fate.act.is_none() && call.operation != "Preflight" {
            let Inner { chaos, dice, rates, .. } = &mut *inner;
            if chaos.kinds.contains(&ChaosKind::Rates) && !rates.take(call, Instant::now()) {
                fate.act = act(&Known::Throttle, call, None);
                return fate;
            }
            match dice.throw(chaos, call) {
                Some(Mishap::Known(known)) => fate.act = act(&known, call, None),
                Some(Mishap::Slow(time)) => fate.latency += time,
                None => (),
            }
        }
        fate
    }

    /// Returns the delays of an object's next event, one for each delivery.
    pub fn deliveries(&self, bucket: &str, key: &str) -> Vec<Duration> {
        let Inner { chaos, dice, .. } = &mut *self.inner();
        dice.deliveries(chaos, bucket, key)
    }

    /// How long a change of a role or profile takes to be visible to other services.
    pub fn iam_lag(&self, name: &str) -> Duration {
        let mut inner = self.inner();
        if !inner.chaos.kinds.contains(&ChaosKind::IamLag) {
            return Duration::ZERO;
        }
        let count = inner.changes.entry(name.to_owned()).or_default();
        *count += 1;
        let count = *count;
        chaos::lag(inner.chaos.seed, name, count)
    }

    /// Whether this kind of chaos is enabled.
    pub fn has(&self, kind: ChaosKind) -> bool {
        self.inner().chaos.kinds.contains(&kind)
    }

    /// Subscribes to the chaos.
    pub fn chaos(&self) -> watch::Receiver<Chaos> {
        self.chaos.subscribe()
    }

    /// Adds a rule or a list of rules, all or none, and returns their IDs.
    pub fn add(&self, rules: &Value) -> Result<Value, String> {
        let list = match rules {
            Value::Array(list) => list.clone(),
            one => vec![one.clone()],
        };
        let read = |rule| serde_json::from_value::<FaultRule>(rule).map_err(|fault| fault.to_string());
        let list: Vec<FaultRule> = list.into_iter().map(read).collect::<Result<_, _>>()?;
        let mut inner = self.inner();
        let ids: Vec<u64> = list.into_iter().map(|rule| inner.push(rule)).collect();
        Ok(json!({ "ids": ids }))
    }

    /// Removes a rule and releases the calls it holds. Returns whether it existed.
    pub fn remove(&self, id: u64) -> bool {
        let mut inner = self.inner();
        let Some(at) = inner.rules.iter().position(|kept| kept.id == id) else {
            return false;
        };
        inner.rules.remove(at).released.cancel();
        true
    }

    /// Removes all rules and releases the calls they hold. Chaos is unchanged.
    pub fn clear(&self) {
        for kept in self.inner().rules.drain(..) {
            kept.released.cancel();
        }
    }

    /// Replaces the chaos and resets its counters.
    pub fn set_chaos(&self, chaos: Chaos) {
        let mut inner = self.inner();
        self.chaos.send_replace(chaos.clone());
        inner.chaos = chaos;
        inner.dice = Dice::default();
        inner.rates = Buckets::default();
        inner.changes.clear();
    }

    /// Returns the rules with their counters, and the chaos.
    pub fn show(&self) -> Value {
        let inner = self.inner();
        let rules: Vec<Value> = inner.rules.iter().map(ActiveRule::show).collect();
        json!({ "rules": rules, "chaos": inner.chaos, "over_rate": inner.rates.refused })
    }

    /// Ends every wait: the connections of held calls are cut.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Waits until the rule that holds a call is removed. Returns `false` if the server closes instead.
    pub async fn hold(&self, released: &CancellationToken) -> bool {
        tokio::select! {
            () = released.cancelled() => true,
            () = self.closing.cancelled() => false,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn push(&mut self, rule: FaultRule) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.rules.push(ActiveRule { id, rule, matched: 0, fired: 0, released: CancellationToken::new() });
        id
    }
}

impl ActiveRule {
    /// Counts the call if it matches the rule. Returns whether the rule applies to it.
    fn meets(&mut self, call: &Call, caller: &str, request: &Request) -> bool {
        if !self.rule.matching.fits(call, caller, request) {
            return false;
        }
        self.matched += 1;
        let hit = self.rule.matching.hits(self.matched);
        self.fired += u64::from(hit);
        hit
    }

    fn act(&self, call: &Call) -> Option<Act> {
        match self.rule.fault.as_ref()? {
            Injected::Known(known) => act(known, call, Some(&self.released)),
            Injected::Custom(refusal) => Some(Act::Refuse(refusal.clone())),
        }
    }

    fn show(&self) -> Value {
        let mut shown = json!(self.rule);
        shown["id"] = json!(self.id);
        shown["matched"] = json!(self.matched);
        shown["fired"] = json!(self.fired);
        shown
    }
}

fn act(known: &Known, call: &Call, released: Option<&CancellationToken>) -> Option<Act> {
    let released = || released.cloned().unwrap_or_default();
    Some(match known {
        Known::Throttle => Act::Refuse(answers::throttled(call)),
        Known::Internal => Act::Refuse(answers::internal(call)),
        Known::InternalAfter => Act::RefuseAfter(answers::internal(call)),
        Known::Unavailable => Act::Refuse(answers::unavailable(call)),
        Known::ExpiredCredentials => Act::Refuse(answers::expired(call)),
        Known::ResetBefore => Act::ResetBefore,
        Known::ResetAfter => Act::ResetAfter,
        Known::Truncate => Act::Truncate,
        Known::HoldBefore => Act::HoldBefore(released()),
        Known::HoldAfter => Act::HoldAfter(released()),
        Known::Slow => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::answer::Protocol;

    fn call(operation: &str) -> Call {
        Call::writing("dynamodb", operation, Protocol::Json10)
    }

    fn request(body: &str) -> Request {
        Request {
            method: http::Method::POST,
            path: "/".into(),
            query: String::new(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
            upload: None,
        }
    }

    /// Returns which of ten calls of an operation fail.
    fn hits(faults: &Faults, operation: &str) -> Vec<u32> {
        let hit = |_: &u32| faults.judge(&call(operation), "account", &request("")).act.is_some();
        (1..=10).filter(hit).collect()
    }

    #[test]
    fn a_rule_hits_from_its_nth_call_as_often_as_it_says() {
        for (matching, expected) in [
            (json!({ "operation": "PutItem", "nth_call": 3 }), vec![3]),
            (json!({ "operation": "Put*", "nth_call": 3, "times": 2 }), vec![3, 4]),
            (json!({ "service": "dynamodb", "times": 2 }), vec![1, 2]),
            (json!({ "mutating": true }), (1..=10).collect()),
            (json!({ "mutating": false }), vec![]),
            (json!({ "service": "s3" }), vec![]),
            (json!({ "caller": "account", "nth_call": 10 }), vec![10]),
            (json!({ "caller": "web" }), vec![]),
            (json!({ "contains": "ada" }), vec![]),
        ] {
            let faults = Faults::default();
            faults.add(&json!({ "match": matching, "fault": "throttle" })).unwrap();
            assert_eq!(hits(&faults, "PutItem"), expected, "{matching}");
        }
    }

    #[test]
    fn latencies_add_up_and_the_first_fault_wins() {
        let faults = Faults::default();
        let rules = json!([
            { "latency_ms": 20 },
            { "fault": "reset-before", "latency_ms": 10 },
            { "match": { "contains": "USER#ada" }, "fault": { "status": 400, "code": "ValidationException", "message": "no" } },
        ]);
        assert_eq!(faults.add(&rules).unwrap(), json!({ "ids": [1, 2, 3] }));
        let fate = faults.judge(&call("PutItem"), "account", &request("a USER#ada b"));
        assert_eq!(fate.latency, Duration::from_millis(30));
        assert!(matches!(fate.act, Some(Act::ResetBefore)));
        assert!(faults.remove(2) && !faults.remove(2));
        let fate = faults.judge(&call("PutItem"), "account", &request("a USER#ada b"));
        assert!(matches!(fate.act, Some(Act::Refuse(refusal)) if refusal.code == "ValidationException"));
        assert_eq!(faults.show()["rules"][1]["fired"], 2);
        faults.clear();
        assert_eq!(faults.show()["rules"], json!([]));
    }

    #[test]
    fn invalid_rules_are_refused_as_a_whole_with_the_known_names() {
        let faults = Faults::default();
        let error = faults.add(&json!([{ "fault": "500" }, { "fault": "explode" }])).unwrap_err();
        assert!(error.contains("no fault \"explode\"") && error.contains("reset-before"), "{error}");
        let error = faults.add(&json!({ "match": { "verb": "x" } })).unwrap_err();
        assert!(error.contains("unknown field `verb`"), "{error}");
        let error = faults.add(&json!({ "match": { "nth_call": 0 }, "fault": "500" })).unwrap_err();
        assert!(error.contains("counts from 1"), "{error}");
        assert!(faults.add(&json!({ "match": { "service": "s3" } })).is_err(), "a rule that does nothing");
        assert_eq!(faults.show()["rules"], json!([]));
    }

    #[tokio::test]
    async fn a_held_call_continues_when_its_rule_is_removed_and_is_cut_at_the_end() {
        let faults = Faults::default();
        faults.add(&json!({ "fault": "hold-before" })).unwrap();
        let held = |fate: Fate| match fate.act {
            Some(Act::HoldBefore(token)) => token,
            other => panic!("{other:?}"),
        };
        let first = held(faults.judge(&call("PutItem"), "account", &request("")));
        faults.remove(1);
        assert!(faults.hold(&first).await);
        faults.add(&json!({ "fault": "hold-before" })).unwrap();
        let second = held(faults.judge(&call("PutItem"), "account", &request("")));
        faults.close();
        assert!(!faults.hold(&second).await);
    }

    #[test]
    fn chaos_is_determined_by_its_seed() {
        let fates = |seed: u64| {
            let faults = Faults::new(Chaos { kinds: [ChaosKind::Throttle, ChaosKind::Reset].into(), seed });
            let fate = |_| format!("{:?}", faults.judge(&call("PutItem"), "account", &request("")).act);
            (0..200).map(fate).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
        let hit = fates(1).iter().filter(|fate| *fate != "None").count();
        assert!((20..=60).contains(&hit), "{hit} of 200");
    }

    #[test]
    fn slow_throttle_and_expiry_chaos_hit_calls() {
        let fates = |kind: Option<ChaosKind>| -> Vec<Fate> {
            let faults = Faults::new(Chaos { kinds: kind.into_iter().collect(), seed: 1 });
            (0..400).map(|_| faults.judge(&call("TagResource"), "account", &request(""))).collect()
        };
        let hit = |fates: Vec<Fate>, is_hit: fn(&Fate) -> bool| fates.iter().filter(|fate| is_hit(fate)).count();
        let slow: fn(&Fate) -> bool = |fate| fate.act.is_none() && fate.latency >= Duration::from_millis(200);
        let refused: fn(&Fate) -> bool = |fate| matches!(fate.act, Some(Act::Refuse(_)));
        let expired: fn(&Fate) -> bool =
            |fate| matches!(&fate.act, Some(Act::Refuse(refusal)) if refusal.code.starts_with("ExpiredToken"));
        for (kind, is_hit, expected) in [
            (ChaosKind::Slow, slow, 40..=120),
            // The rate is 5 per second, so 400 calls at once exceed it.
            (ChaosKind::Rates, refused, 200..=399),
            (ChaosKind::ExpiredCredentials, expired, 1..=30),
        ] {
            let number = hit(fates(Some(kind)), is_hit);
            assert!(expected.contains(&number), "{kind:?}: {number} of 400");
            assert_eq!(hit(fates(None), is_hit), 0, "{kind:?} on a good day");
        }
    }

    #[test]
    fn events_are_delivered_at_once_or_with_notify_lag_late_and_twice() {
        assert_eq!(Faults::default().deliveries("images", "a"), [Duration::ZERO]);
        let delays = |seed: u64| {
            let faults = Faults::new(Chaos { kinds: [ChaosKind::S3NotifyLag].into(), seed });
            (0..100).map(|number| faults.deliveries("images", &number.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
        let twice = delays(1).iter().filter(|delays| delays.len() == 2).count();
        assert!((15..=55).contains(&twice), "{twice} of 100");
        assert!(!delays(1).iter().map(|delays| delays[0]).is_sorted());
    }

    #[test]
    fn other_operations_do_not_change_the_fate_of_the_nth_call() {
        let chaos = || Chaos { kinds: [ChaosKind::Errors].into(), seed: 7 };
        let (alone, mixed) = (Faults::new(chaos()), Faults::new(chaos()));
        for _ in 0..100 {
            mixed.judge(&call("Query"), "account", &request(""));
            let one = format!("{:?}", alone.judge(&call("PutItem"), "account", &request("")).act);
            assert_eq!(one, format!("{:?}", mixed.judge(&call("PutItem"), "account", &request("")).act));
        }
    }
}
