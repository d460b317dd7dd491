//! Services that share the load balancer of another one: which requests they get, and in which order that is decided.

use super::Name;

/// The part of a service behind the load balancer of another one. It has a path or a host, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The service with the load balancer.
    pub service: Name,
    /// The pattern of the path.
    pub path: Option<String>,
    /// The pattern of the host.
    pub host: Option<String>,
}

/// The longest pattern of a condition (docs/aws.md §9.9).
pub(super) const LONGEST: usize = 128;
/// The most wildcards of a rule.
pub(super) const MOST_WILDCARDS: usize = 6;
/// The characters of a path besides letters and digits.
pub(super) const IN_PATHS: &str = "_-.$/~\"'@:+&*?";
/// The characters of a host besides letters and digits.
pub(super) const IN_HOSTS: &str = "-.*?";

/// How exactly a rule describes hosts, the most exact first: a rule of one host is evaluated before those of several.
const CLASSES: u32 = 4;
/// How many lengths of a pattern are told apart: up to the longest one, and one more without wildcards.
const LENGTHS: u32 = LONGEST as u32 + 2;
/// How many rules of the same class and length have priorities of their own.
const SLOTS: u32 = 50_000 / (CLASSES * LENGTHS);

impl Behind {
    /// The priority of the rule of the service with this name: 1 to 50,000, where the lowest is evaluated first.
    ///
    /// It follows from the rule alone, so that it stays the same whatever other rules there are. The more exactly a rule
    /// describes its requests, the earlier it is evaluated: `/api/v2/*` before `/api/*`. Rules that are equally exact are
    /// told apart by the name; two of them may have the same priority, which `checks.rs` refuses.
    pub fn priority(&self, service: &str) -> u16 {
        let is_exact = |text: &String| !text.contains(['*', '?']);
        let class = match (&self.host, &self.path) {
            (Some(host), _) if is_exact(host) => 0,
            (Some(_), Some(_)) => 1,
            (Some(_), None) => 2,
            (None, _) => 3,
        };
        let known = match (&self.path, &self.host) {
            (Some(path), _) => exactness(path),
            (None, Some(host)) if class == 2 => exactness(&host.chars().rev().collect::<String>()),
            (None, _) => 0,
        };
        let place = (class * LENGTHS + (LENGTHS - 1).saturating_sub(known)) * SLOTS + spread(service) % SLOTS;
        u16::try_from(place + 1).unwrap_or(50_000)
    }

    /// The URL of the service, given that of the service with the load balancer.
    pub fn url(&self, front: &str) -> String {
        let (scheme, rest) = front.split_once("://").unwrap_or(("http", front));
        let host = match &self.host {
            Some(host) if !host.contains(['*', '?']) => match rest.rsplit_once(':') {
                Some((_, port)) => format!("{host}:{port}"),
                None => host.clone(),
            },
            _ => rest.to_owned(),
        };
        let path = self.path.as_deref().unwrap_or_default();
        let path = &path[..path.find(['*', '?']).unwrap_or(path.len())];
        format!("{scheme}://{host}{}", path.trim_end_matches('/'))
    }

    /// Its conditions, for people.
    pub fn words(&self) -> String {
        let (host, path) = (self.host.as_deref().unwrap_or_default(), self.path.as_deref().unwrap_or_default());
        format!("{host}{path}")
    }
}

/// The number of characters before the first wildcard, and one more without any.
fn exactness(pattern: &str) -> u32 {
    let known = pattern.find(['*', '?']).unwrap_or(pattern.len() + 1);
    u32::try_from(known).unwrap_or(u32::MAX)
}

/// A number that follows from a name, alike on every machine (FNV-1a).
fn spread(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(host: &str, path: &str) -> Behind {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Behind { service: "web".parse().expect("a name"), path: given(path), host: given(host) }
    }

    #[test]
    fn the_more_exact_rule_comes_first_whatever_the_names() {
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
            ("", "/api"),
            ("", "/api*"),
            ("", "*"),
        ];
        for (at, (host, path)) in in_order.iter().enumerate() {
            for (later_host, later_path) in &in_order[at + 1..] {
                for (name, other) in [("a", "z"), ("z", "a"), ("api", "api")] {
                    let (one, later) =
                        (behind(host, path).priority(name), behind(later_host, later_path).priority(other));
                    assert!(
                        1 <= one && one < later && later <= 50_000,
                        "{host}{path} {one}, {later_host}{later_path} {later}"
                    );
                }
            }
        }
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
}
