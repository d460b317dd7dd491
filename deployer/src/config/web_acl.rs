//! Web ACLs of AWS WAF that exist: the deployer creates none.

use std::str::FromStr;

/// The web ACL of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebAcl {
    /// None: one that the load balancer has is disassociated.
    None,
    /// The one with this ARN, whose scope is `REGIONAL`.
    Arn(String),
}

/// The word for no web ACL.
const NONE: &str = "none";

impl WebAcl {
    /// Its ARN.
    pub fn arn(&self) -> Option<&str> {
        match self {
            WebAcl::None => None,
            WebAcl::Arn(arn) => Some(arn),
        }
    }

    /// A part of its ARN: 1 is the partition, 3 the region, 4 the account.
    fn part(&self, at: usize) -> Option<&str> {
        self.arn()?.split(':').nth(at)
    }

    /// The partition in its ARN.
    pub fn partition(&self) -> Option<&str> {
        self.part(1)
    }

    /// The region in its ARN.
    pub fn region(&self) -> Option<&str> {
        self.part(3)
    }

    /// The account in its ARN.
    pub fn account(&self) -> Option<&str> {
        self.part(4)
    }
}

impl FromStr for WebAcl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(WebAcl::None);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        match parts[..] {
            ["arn", partition, "wafv2", region, account, rest]
                if partition.starts_with("aws") && is_word(partition) && is_word(region) && is_account(account) =>
            {
                if rest.starts_with("global/") {
                    return Err("that one is for CloudFront: name a web ACL of the scope REGIONAL".into());
                }
                let named = rest.strip_prefix("regional/webacl/").and_then(|rest| rest.split_once('/'));
                let is_name = |name: &str| {
                    (1..=128).contains(&name.len()) && name.split('_').all(|it| it.is_empty() || is_word(it))
                };
                match named {
                    Some((name, id)) if is_name(name) && is_word(id) => Ok(WebAcl::Arn(text.into())),
                    _ => Err(HELP.into()),
                }
            }
            _ => Err(HELP.into()),
        }
    }
}

const HELP: &str = "write the ARN of a web ACL, arn:aws:wafv2:REGION:ACCOUNT:regional/webacl/NAME/ID (`aws wafv2 \
                    list-web-acls --scope REGIONAL` lists them), or `none`";

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str =
        "arn:aws:wafv2:eu-west-3:123456789012:regional/webacl/my_acl-1/12345678-1234-1234-1234-123456789012";

    #[test]
    fn a_web_acl_is_a_regional_arn_or_none() {
        let web_acl: WebAcl = ARN.parse().unwrap();
        assert_eq!(web_acl.arn(), Some(ARN));
        let parts = (web_acl.partition(), web_acl.region(), web_acl.account());
        assert_eq!(parts, (Some("aws"), Some("eu-west-3"), Some("123456789012")));
        let none: WebAcl = "none".parse().unwrap();
        assert_eq!((none.arn(), none.region()), (None, None));
    }

    #[test]
    fn anything_else_is_refused() {
        let others = [
            "",
            "None",
            "my_acl-1",
            "12345678-1234-1234-1234-123456789012",
            "arn:aws:wafv2:us-east-1:123456789012:global/webacl/a/b",
            "arn:aws:wafv2:us-east-1:123456789012:regional/rulegroup/a/b",
            "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/a",
            "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/a/b/c",
            "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/a b/c",
            "arn:aws:wafv2:us-east-1:1:regional/webacl/a/b",
            "arn:aws:wafv2::123456789012:regional/webacl/a/b",
            "arn:aws:waf-regional:us-east-1:123456789012:webacl/a",
        ];
        for other in others {
            assert!(other.parse::<WebAcl>().is_err(), "{other:?}");
        }
    }
}
