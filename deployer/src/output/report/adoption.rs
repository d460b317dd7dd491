//! Prints which resources a stack can take over, for people and as JSON.

use std::collections::BTreeMap;

use console::measure_text_width;
use serde_json::{Value as Json, json};

use super::{
    escape,
    plan::{INDENT, Places, Values, details, name, print, room, step_json},
    say,
};
use crate::{
    engine::{Finding, Owner, Plan, Planned, Resource as _, Step, Tags},
    kinds::{
        certificate::Certificate, elastic_address::ElasticAddress, internet_gateway::InternetGateway,
        route_table::RouteTable, subnet::Subnet, vpc::Vpc,
    },
};

/// Kinds without names: they are identified by our tags, so existing ones cannot be found. Each with a note on the field
/// of `stack.yaml` that uses an existing one instead.
const BY_TAGS: &[(&[&str], &str)] = &[
    (
        &[Certificate::KIND],
        "a certificate has no name to look for: to use an existing one, write `certificate: ARN` for the service",
    ),
    (
        &[ElasticAddress::KIND],
        "an elastic IP address has no name to look for: `up` allocates another one for the service",
    ),
    (
        &[InternetGateway::KIND, RouteTable::KIND, Subnet::KIND, Vpc::KIND],
        "a network has no name to look for: to use an existing one, write its ids under `network`",
    ),
];

/// CloudFormation's tag, which a resource keeps when it is taken out of its CloudFormation stack (docs/aws.md §2.5).
const CLOUDFORMATION: &str = "aws:cloudformation:stack-name";

/// The word of a finding in JSON, and the heading above its resources.
fn words(finding: Finding) -> (&'static str, &'static str) {
    match finding {
        Finding::Free => ("free", "can be taken over; below each, what the next `up` changes"),
        Finding::Fixed => ("fixed", "not taken over: `up` cannot change these fields of them"),
        Finding::Foreign => ("foreign", "never taken over: they have another owner"),
        Finding::Settling => ("settling", "not taken over yet: AWS is changing them"),
        Finding::Unread => ("unread", "not looked for yet: they need resources that are missing or not ours"),
        Finding::Part => ("part", "without tags: owned with the resource that they are part of"),
        Finding::Ours => ("ours", "in the stack already"),
        Finding::Absent => ("absent", "not found; the next `up` creates them"),
    }
}

/// One resource, in words.
struct Row {
    finding: Finding,
    address: String,
    name: String,
    details: Vec<String>,
}

impl Row {
    fn of(line: &Planned, places: Places) -> Row {
        let finding = line.finding();
        let mut details = match (&line.step, finding) {
            (Step::Foreign { owner, .. }, _) => vec![format!("belongs to {owner}")],
            (Step::Wait(state), _) => vec![format!("is {state}")],
            (Step::Pending(on), Finding::Unread) => on.iter().map(|address| format!("needs {address}")).collect(),
            (step, _) => details(step, Values::Hidden, places, room()),
        };
        if let (Finding::Free, Some(Owner::Tags(tags))) = (finding, &line.owner) {
            details.extend(made_by_cloudformation(tags));
        }
        let name = if is_by_tags(line) { String::new() } else { line.name.clone() };
        Row { finding, address: line.address.to_string(), name, details }
    }
}

fn made_by_cloudformation(tags: &Tags) -> Option<String> {
    let stack = tags.get(CLOUDFORMATION)?;
    Some(format!("made by CloudFormation: take it out of stack {stack} if it is still in it"))
}

fn is_by_tags(line: &Planned) -> bool {
    BY_TAGS.iter().any(|(kinds, _)| kinds.contains(&line.address.kind))
}

/// Prints every resource that `stack.yaml` describes, grouped by finding.
pub fn findings(plan: &Plan, places: Places) {
    let rows: Vec<Row> = plan.lines.iter().map(|line| Row::of(line, places)).collect();
    table(&rows).iter().for_each(|line| print(line));
    notes(plan).into_iter().for_each(say);
}

fn table(rows: &[Row]) -> Vec<String> {
    let width = rows.iter().map(|row| measure_text_width(&row.address)).max().unwrap_or(0);
    let mut groups: BTreeMap<Finding, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(row.finding).or_default().push(row));
    let mut lines = Vec::new();
    for (finding, rows) in groups {
        lines.push(format!("{} ({})", words(finding).1, rows.len()));
        for row in rows {
            let before = format!("  {:width$}  ", escape::line(&row.address));
            lines.push(format!("{before}{}", name(&row.name, &before, "")).trim_end().to_owned());
            lines.extend(row.details.iter().map(|detail| format!("{INDENT}{}", escape::line(detail))));
        }
    }
    lines
}

/// Returns notes on the names of absent resources.
fn notes(plan: &Plan) -> Vec<&'static str> {
    let absent: Vec<&Planned> = plan.of_finding(Finding::Absent).collect();
    let is_named = absent.iter().any(|line| !line.name.is_empty() && !is_by_tags(line));
    let named = is_named.then_some(
        "resources with other names are not found: names follow from `name` and the entries of stack.yaml, and cannot be \
         set otherwise",
    );
    let by_tags = BY_TAGS.iter().filter(|(kinds, _)| absent.iter().any(|line| kinds.contains(&line.address.kind)));
    named.into_iter().chain(by_tags.map(|(_, note)| *note)).collect()
}

/// The findings as one JSON document.
pub fn findings_json(plan: &Plan, places: Places) -> String {
    let resource = |line: &Planned| {
        json!({
            "address": line.address.to_string(),
            "section": line.address.section,
            "name": line.name,
            "finding": words(line.finding()).0,
            "step": step_json(&line.step, Values::Hidden, places),
        })
    };
    let resources: Json = plan.lines.iter().map(resource).collect();
    format!("{:#}\n", json!({ "free": plan.of_finding(Finding::Free).count(), "resources": resources }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_made_by_cloudformation_are_named() {
        let tags = |key: &str| Tags::from([(key.to_owned(), "shop".to_owned())]);
        let words = made_by_cloudformation(&tags("aws:cloudformation:stack-name")).unwrap();
        assert_eq!(words, "made by CloudFormation: take it out of stack shop if it is still in it");
        assert_eq!(made_by_cloudformation(&tags("team")), None);
    }

    #[test]
    fn resources_are_grouped_in_80_columns() {
        let row = |finding, address: &str, name: &str, details: &[&str]| Row {
            finding,
            address: address.into(),
            name: name.into(),
            details: details.iter().map(|detail| (*detail).to_owned()).collect(),
        };
        let (images, table_name) = ("postagram-images-000000000000-us-east-1", "postagram-posts");
        let rows = [
            row(Finding::Absent, "auto_scaling_group.web", "postagram-web-8080", &[]),
            row(Finding::Free, "bucket.images", images, &["versioned: false → true (stack.yaml:12)"]),
            row(Finding::Fixed, "table.posts", table_name, &["partition_key: id → user"]),
            row(Finding::Foreign, "role.web-svc", "postagram-us-east-1-web-svc", &["belongs to stack \"\u{1b}[2J\""]),
            row(Finding::Unread, "listener.web", "", &["needs target_group.web"]),
            row(Finding::Settling, "load_balancer.web", "postagram-web", &["is provisioning"]),
            row(Finding::Part, "notification.images", images, &[]),
            row(Finding::Ours, "log_group.web-svc", "/deployer/postagram/web", &[]),
            row(Finding::Absent, "vpc.own", "", &[]),
        ];
        let lines = table(&rows);
        assert!(lines.iter().all(|line| measure_text_width(line) <= 80), "{lines:#?}");
        expect_test::expect![[r#"
            can be taken over; below each, what the next `up` changes (1)
              bucket.images           postagram-images-000000000000-us-east-1
                  versioned: false → true (stack.yaml:12)
            not taken over: `up` cannot change these fields of them (1)
              table.posts             postagram-posts
                  partition_key: id → user
            never taken over: they have another owner (1)
              role.web-svc            postagram-us-east-1-web-svc
                  belongs to stack "\u{1b}[2J"
            not taken over yet: AWS is changing them (1)
              load_balancer.web       postagram-web
                  is provisioning
            not looked for yet: they need resources that are missing or not ours (1)
              listener.web
                  needs target_group.web
            without tags: owned with the resource that they are part of (1)
              notification.images     postagram-images-000000000000-us-east-1
            in the stack already (1)
              log_group.web-svc       /deployer/postagram/web
            not found; the next `up` creates them (2)
              auto_scaling_group.web  postagram-web-8080
              vpc.own
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }
}
