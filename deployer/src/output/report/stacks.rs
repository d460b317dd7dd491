//! The stacks of an account, for people and as JSON.

use aws_smithy_types::{DateTime, date_time::Format};

use super::{
    line,
    status::{age, costs, now_s},
};
use crate::{
    cloud::stacks::{FoundStack, RemovalInstructions, Stacks, Unread},
    cost::existing::Sizes,
    output::{bytes, counted::counted},
};

/// Prints the stacks, and the regions that could not be read.
pub fn stacks(found: &Stacks) {
    lines(found, now_s()).iter().for_each(|text| line(text));
}

/// The stacks as one JSON document.
pub fn stacks_json(found: &Stacks) -> String {
    format!("{:#}\n", serde_json::to_value(found).expect("a list of stacks is plain data with string keys"))
}

fn lines(found: &Stacks, now_s: i64) -> Vec<String> {
    let mut lines = vec![match (&found.account, found.stacks.len()) {
        (None, _) => "no stacks: there is no local AWS here".to_owned(),
        (Some(account), 0) => format!("no stacks in account {account}"),
        (Some(account), count) => format!("{} in account {account}", counted(count, "stack")),
    }];
    found.stacks.iter().for_each(|it| stack(it, now_s, &mut lines));
    lines.extend(found.unread.iter().map(unread));
    lines
}

fn stack(it: &FoundStack, now_s: i64, lines: &mut Vec<String>) {
    let all: usize = it.resources.values().sum();
    let age = it.created.as_deref().and_then(|at| age(at, now_s)).map(|age| format!(", {age} old"));
    let owner = it.owner.as_ref().map(|owner| format!(", owner {owner}"));
    let (age, owner) = (age.unwrap_or_default(), owner.unwrap_or_default());
    lines.push(format!("{} in {}: {}{age}{owner}", it.name, it.region, counted(all, "resource")));
    lines.push(format!("  cost {}", costs(&it.cost, &it.region)));
    lines.extend(wrapped(sizes(&it.size).into_iter()));
    lines.extend(it.paused.iter().map(|since| format!("  paused since {since}")));
    let is_over = |time: &str| DateTime::from_str(time, Format::DateTime).is_ok_and(|at| at.secs() <= now_s);
    let ends = |time: &String| format!("  {} at {time}", if is_over(time) { "ended" } else { "ends" });
    lines.extend(it.ends.iter().map(ends));
    lines.extend(wrapped(it.resources.iter().map(|(kind, count)| counted(*count, kind))));
    match &it.remove {
        None => lines.push("  to remove it: by hand, because no stack.yaml can have this name".into()),
        Some(RemovalInstructions { stack_yaml: None, commands }) => {
            lines.push(format!("  to remove it: {}", commands.join(", then ")));
        }
        Some(RemovalInstructions { stack_yaml: Some(text), commands }) => {
            lines.push(format!("  to remove it: write these lines to {}.yaml", it.name));
            lines.extend(text.lines().map(|line| format!("    {line}")));
            lines.push(format!("  and run: {}", commands.join(", then ")));
        }
    }
}

/// The sizes of a stack in words. Leaves out what is zero or unknown.
fn sizes(size: &Sizes) -> Vec<String> {
    let with_bytes = |number: Option<u64>, bytes: Option<u64>, noun: &str| {
        let number = number.filter(|number| *number > 0)?;
        Some(format!("{} of {}", counted(number, noun), bytes::in_words(bytes.unwrap_or_default())))
    };
    let objects = with_bytes(size.objects, size.object_bytes, "object");
    let objects = objects.map(|words| format!("{}{words}", if size.more_objects { "more than " } else { "" }));
    let instances = size.instances.filter(|number| *number > 0).map(|number| counted(number, "instance"));
    [instances, objects, with_bytes(size.rows, size.row_bytes, "row")].into_iter().flatten().collect()
}

/// Joins words by commas, in lines that fit into 80 columns.
fn wrapped(words: impl Iterator<Item = String>) -> Vec<String> {
    const COLUMNS: usize = 80;
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(last) if last.len() + word.len() + 3 <= COLUMNS => *last += &format!(", {word}"),
            Some(last) => {
                last.push(',');
                lines.push(format!("  {word}"));
            }
            None => lines.push(format!("  {word}")),
        }
    }
    lines
}

fn unread(it: &Unread) -> String {
    let kinds: Vec<&str> = it.kinds.iter().copied().collect();
    format!("could not read {}: {} ({})", it.region, it.why, kinds.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::cost::Cost;

    #[test]
    fn each_stack_is_shown_with_its_resources_and_how_to_remove_it() {
        let resources = BTreeMap::from([
            ("auto_scaling_group", 1),
            ("bucket", 2),
            ("function", 1),
            ("instance_profile", 1),
            ("launch_template", 1),
            ("load_balancer", 1),
        ]);
        let commands = vec!["deployer down --file old.yaml".into()];
        let (region, owner) = ("us-east-1".to_owned(), Some("ada".into()));
        let stack_yaml = Some("name: old\nregion: us-east-1\naccount: \"012345678901\"\n".into());
        let old = FoundStack {
            name: "old".into(),
            region: region.clone(),
            owner,
            created: Some("1970-01-01T00:00:00Z".into()),
            paused: Some("1970-01-02T00:00:00Z".into()),
            ends: Some("1970-01-05T00:00:00Z".into()),
            resources,
            size: Sizes {
                instances: Some(1),
                objects: Some(1_000),
                more_objects: true,
                object_bytes: Some(3_400_000),
                rows: Some(31),
                row_bytes: Some(2_100),
            },
            cost: Cost { monthly: Some(36.99), ..Cost::default() },
            remove: Some(RemovalInstructions { stack_yaml, commands }),
            has_anchor: true,
        };
        let odd = FoundStack { name: "a;b".into(), region, resources: [("role", 1)].into(), ..FoundStack::default() };
        let kinds = BTreeSet::from(["function", "table"]);
        let unread = vec![Unread { region: "eu-west-3".into(), kinds, why: "denied".into() }];
        let found = Stacks { account: Some("012345678901".into()), stacks: vec![old, odd], unread };
        expect_test::expect![[r#"
            2 stacks in account 012345678901
            old in us-east-1: 7 resources, 3 d old, owner ada
              cost about $36.99 a month (prices of 2026-07-20)
              1 instance, more than 1000 objects of 3.4 MB, 31 rows of 2.1 kB
              paused since 1970-01-02T00:00:00Z
              ends at 1970-01-05T00:00:00Z
              1 auto_scaling_group, 2 buckets, 1 function, 1 instance_profile,
              1 launch_template, 1 load_balancer
              to remove it: write these lines to old.yaml
                name: old
                region: us-east-1
                account: "012345678901"
              and run: deployer down --file old.yaml
            a;b in us-east-1: 1 resource
              cost unknown
              1 role
              to remove it: by hand, because no stack.yaml can have this name
            could not read eu-west-3: denied (function, table)
        "#]]
        .assert_eq(&(lines(&found, 3 * 86_400).join("\n") + "\n"));
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let stack = FoundStack { remove: Some(RemovalInstructions::default()), ..FoundStack::default() };
        let (kinds, region, why) = (BTreeSet::new(), String::new(), String::new());
        let found = Stacks { account: None, stacks: vec![stack], unread: vec![Unread { region, kinds, why }] };
        let json: serde_json::Value = serde_json::from_str(&stacks_json(&found)).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&json), ["account", "stacks", "unread"]);
        let stack = ["cost", "created", "ends", "name", "owner", "paused", "region", "remove", "resources", "size"];
        assert_eq!(keys(&json["stacks"][0]), stack);
        assert_eq!(keys(&json["stacks"][0]["cost"]), ["monthly", "prices_date", "prices_region"]);
        let size = ["instances", "more_objects", "object_bytes", "objects", "row_bytes", "rows"];
        assert_eq!(keys(&json["stacks"][0]["size"]), size);
        assert_eq!(keys(&json["stacks"][0]["remove"]), ["commands", "stack_yaml"]);
        assert_eq!(keys(&json["unread"][0]), ["kinds", "region", "why"]);
    }
}
