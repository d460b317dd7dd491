//! Services that share the load balancer of another one: which requests they get, and in which order that is decided.

use std::{cmp::Reverse, collections::BTreeMap};

use super::Name;

/// The part of a service behind the load balancer of another one. It has a path or a host, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The service with the load balancer.
    pub service: Name,
    /// The pattern of the path.
    pub path: Option<String>,
    /// The pattern of the host, in lower case: hosts are compared without case, and paths with it.
    pub host: Option<String>,
}

/// The longest pattern of a condition (docs/aws.md §9.10).
pub(super) const LONGEST: usize = 128;
/// The most wildcards of a rule.
pub(super) const MOST_WILDCARDS: usize = 6;
/// `*` stands for any characters, `?` for exactly one.
pub(super) const WILDCARDS: [char; 2] = ['*', '?'];
/// The characters of a path besides letters and digits.
pub(super) const IN_PATHS: &str = "_-.$/~\"'@:+&*?";
/// The characters of a host besides letters and digits.
pub(super) const IN_HOSTS: &str = "-.*?";

/// The number of classes of rules ([`Exactness::class`]).
const CLASSES: u16 = 4;
/// How many lengths of the known part of a pattern have priorities of their own. Longer ones share the last.
const LENGTHS: u16 = 125;
/// The most rules of a load balancer, so that all of them have priorities even if they are equally exact (docs/aws.md
/// §9.10).
const MOST_RULES: u16 = 100;
/// The most services behind another one: a change to HTTPS creates each rule at the other listener before it removes the
/// old one. The security group of a load balancer, which takes 60 rules, also has one for each service (docs/aws.md §15).
pub(super) const MOST_BEHIND: u16 = MOST_RULES / 2;

// The priorities of AWS are 1 to 50,000.
const _: () = assert!(CLASSES * LENGTHS * MOST_RULES == 50_000);

/// How exactly a rule describes its requests. The least value describes them most exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Exactness {
    /// A rule of one host precedes those of several hosts, which precede those of any host.
    class: u16,
    /// The length of the path before its first wildcard, or of the host after its last one.
    known: Reverse<usize>,
    /// The number of characters that are not wildcards.
    literal: Reverse<usize>,
    /// The number of `*`, which describe less than `?`.
    stars: usize,
}

impl Exactness {
    /// The first of the priorities for rules that are about as exact.
    fn first_priority(&self) -> u16 {
        let longest = LENGTHS - 1;
        let known = u16::try_from(self.known.0).unwrap_or(longest).min(longest);
        (self.class * LENGTHS + longest - known) * MOST_RULES + 1
    }
}

/// Returns the priorities of the rules of a load balancer, given by the names of the services, from 1 to 50,000.
///
/// The more exactly a rule describes its requests, the earlier it is evaluated: `/api/v2/*` before `/api/*`. Rules that are
/// equally exact are sorted by name. A new rule moves only rules that are about as exact.
pub fn priorities<'a>(rules: impl IntoIterator<Item = (&'a str, &'a Behind)>) -> BTreeMap<String, u16> {
    let mut rules: Vec<_> = rules.into_iter().map(|(service, behind)| (behind.exactness(), service)).collect();
    rules.sort();
    let mut last = 0;
    let next = |(exactness, service): (Exactness, &str)| {
        last = exactness.first_priority().max(last + 1);
        (service.to_owned(), last)
    };
    rules.into_iter().map(next).collect()
}

impl Behind {
    fn exactness(&self) -> Exactness {
        let is_exact = |text: &String| !text.contains(WILDCARDS);
        let class = match (&self.host, &self.path) {
            (Some(host), _) if is_exact(host) => 0,
            (Some(_), Some(_)) => 1,
            (Some(_), None) => 2,
            (None, _) => 3,
        };
        let known = match (&self.path, &self.host) {
            (Some(path), _) => known_length(path),
            (None, Some(host)) if class == 2 => known_length(&host.chars().rev().collect::<String>()),
            (None, _) => 0,
        };
        let texts = || self.path.iter().chain(&self.host).flat_map(|text| text.chars());
        let literal = texts().filter(|c| !WILDCARDS.contains(c)).count();
        let stars = texts().filter(|c| *c == '*').count();
        Exactness { class, known: Reverse(known), literal: Reverse(literal), stars }
    }

    /// The URL of the service, from the URL of the service with the load balancer.
    pub fn url(&self, front: &str) -> String {
        let (scheme, rest) = front.split_once("://").unwrap_or(("http", front));
        let host = match &self.host {
            Some(host) if !host.contains(WILDCARDS) => match rest.rsplit_once(':') {
                Some((_, port)) => format!("{host}:{port}"),
                None => host.clone(),
            },
            _ => rest.to_owned(),
        };
        format!("{scheme}://{host}{}", self.literal_path().trim_end_matches('/'))
    }

    /// The URL to open, from the URL of the service: `/api/*` includes `/api/`, and not `/api`.
    pub fn url_to_open(&self, url: &str) -> String {
        let path = self.literal_path();
        if path.len() > 1 && path.ends_with('/') { format!("{url}/") } else { url.to_owned() }
    }

    /// The path before its first wildcard.
    fn literal_path(&self) -> &str {
        let path = self.path.as_deref().unwrap_or_default();
        &path[..path.find(WILDCARDS).unwrap_or(path.len())]
    }

    /// Its conditions, for people.
    pub fn words(&self) -> String {
        let (host, path) = (self.host.as_deref().unwrap_or_default(), self.path.as_deref().unwrap_or_default());
        format!("{host}{path}")
    }
}

/// The number of characters before the first wildcard, and one more without any.
fn known_length(pattern: &str) -> usize {
    pattern.find(WILDCARDS).unwrap_or(pattern.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(host: &str, path: &str) -> Behind {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Behind { service: "web".parse().expect("a name"), path: given(path), host: given(host) }
    }

    #[test]
    fn the_more_exact_rule_is_evaluated_first_whatever_the_names() {
        let longest = format!("/{}", "x".repeat(LONGEST - 1));
        let in_order = [
            ("api.example.org", longest.as_str()),
            ("api.example.org", "/v2/*"),
            ("api.example.org", "/*"),
            ("api.example.org", ""),
            ("*.example.org", "/v2/*"),
            ("*.api.example.org", ""),
            ("*.example.org", ""),
            ("", &longest),
            ("", "/api/v2/*"),
            ("", "/api/*/photos/*.jpg"),
            ("", "/api/*.jpg"),
            ("", "/api/?"),
            ("", "/api/*"),
            ("", "/api"),
            ("", "/api*"),
            ("", "*"),
        ];
        let all: Vec<Behind> = in_order.iter().map(|(host, path)| behind(host, path)).collect();
        // The names are in the order, against it, and have no influence.
        for name in [|at: usize| format!("s{at:02}"), |at: usize| format!("s{:02}", 99 - at)] {
            let names: Vec<String> = (0..all.len()).map(name).collect();
            let priorities = priorities(names.iter().map(String::as_str).zip(&all));
            let in_order: Vec<u16> = names.iter().map(|name| priorities[name]).collect();
            assert!(in_order.is_sorted_by(|one, next| one < next), "{in_order:?}");
            assert!((1..=50_000).contains(&in_order[0]) && in_order[all.len() - 1] <= 50_000, "{in_order:?}");
        }
    }

    #[test]
    fn as_many_equal_rules_as_aws_allows_have_priorities_in_the_order_of_their_names() {
        let (any, least) = (behind("", "/*"), behind("", "*"));
        let names: Vec<String> = (0..MOST_RULES).map(|at| format!("s{at:03}")).collect();
        for rule in [any, least] {
            let priorities = priorities(names.iter().rev().map(|name| (name.as_str(), &rule)));
            let in_order: Vec<u16> = names.iter().map(|name| priorities[name]).collect();
            assert!(in_order.is_sorted_by(|one, next| one + 1 == *next), "{in_order:?}");
            assert!(in_order.iter().all(|priority| *priority <= 50_000), "{in_order:?}");
        }
    }

    #[test]
    fn another_rule_leaves_the_priorities_of_more_and_less_exact_ones() {
        let (long, short, between) = (behind("", "/api/v2/*"), behind("", "/*"), behind("", "/api/*"));
        let before = priorities([("long", &long), ("short", &short)]);
        let after = priorities([("long", &long), ("a", &between), ("short", &short)]);
        assert_eq!((before["long"], before["short"]), (after["long"], after["short"]));
    }

    #[test]
    fn the_url_of_a_service_is_that_of_the_load_balancer_with_its_host_and_path() {
        for (host, path, front, url) in [
            ("", "/api/*", "http://lb.example", "http://lb.example/api"),
            ("", "/api", "http://127.0.0.1:4000", "http://127.0.0.1:4000/api"),
            ("", "/*/api", "http://lb.example", "http://lb.example"),
            ("api.example.org", "", "http://127.0.0.1:4000", "http://api.example.org:4000"),
            ("api.example.org", "/v2/*", "https://example.org", "https://api.example.org/v2"),
            ("*.example.org", "", "https://example.org", "https://example.org"),
        ] {
            assert_eq!(behind(host, path).url(front), url);
        }
    }

    #[test]
    fn the_url_to_open_is_one_that_the_rule_includes() {
        for (path, opened) in [
            ("/api/*", "http://lb.example/api/"),
            ("/api/", "http://lb.example/api/"),
            ("/api*", "http://lb.example/api"),
            ("/api", "http://lb.example/api"),
            ("/*", "http://lb.example"),
        ] {
            let behind = behind("", path);
            assert_eq!(behind.url_to_open(&behind.url("http://lb.example")), opened);
        }
    }
}
