//! Keys of AWS Key Management Service (KMS) that exist: the deployer creates none.

use std::{fmt, str::FromStr};

/// A key of the account, or of another one that shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionKey(String);

/// The prefix of aliases.
const ALIAS: &str = "alias/";

impl EncryptionKey {
    /// Its ARN, or `alias/NAME`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is named by an alias.
    pub fn is_alias(&self) -> bool {
        self.0.starts_with(ALIAS)
    }

    /// The region in its ARN; `None` for an alias, which is looked up in the region of its user.
    pub fn region(&self) -> Option<&str> {
        if self.is_alias() { None } else { self.0.split(':').nth(3) }
    }
}

impl fmt::Display for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EncryptionKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("alias/aws/") {
            return Err("that is a key of AWS, and its policy is fixed: name a key of your own".into());
        }
        if let Some(name) = text.strip_prefix(ALIAS) {
            let is_valid = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
            let fits = (1..=250).contains(&name.len()) && name.chars().all(is_valid);
            return if fits { Ok(EncryptionKey(text.into())) } else { Err(HELP.into()) };
        }
        if is_key_arn(text) { Ok(EncryptionKey(text.into())) } else { Err(HELP.into()) }
    }
}

const HELP: &str = "write the ARN of the key, such as \
                    arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012; buckets and services \
                    also take its alias, such as alias/app";

/// Whether a text is the ARN of a key, which an alias's is not.
fn is_key_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match parts[..] {
        ["arn", partition, "kms", region, account, rest] => {
            partition.starts_with("aws")
                && is_word(partition)
                && is_word(region)
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && rest.strip_prefix("key/").is_some_and(is_word)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kms:eu-west-3:123456789012:key/12345678-1234-1234-1234-123456789012";

    #[test]
    fn a_key_is_an_arn_or_an_alias() {
        let read = |text: &str| text.parse::<EncryptionKey>();
        let key = read(ARN).unwrap();
        assert_eq!((key.as_str(), key.is_alias(), key.region()), (ARN, false, Some("eu-west-3")));
        assert!(read("arn:aws:kms:eu-west-3:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab").is_ok());
        let alias = read("alias/app/data").unwrap();
        assert_eq!((alias.is_alias(), alias.region()), (true, None));
    }

    #[test]
    fn anything_else_is_refused() {
        let others = [
            "",
            "app",
            "alias/",
            "alias/a b",
            "alias/aws/s3",
            "12345678-1234-1234-1234-123456789012",
            "arn:aws:kms:eu-west-3:123456789012:alias/app",
            "arn:aws:kms:eu-west-3:1:key/12345678-1234-1234-1234-123456789012",
            "arn:aws:kms:eu-west-3:123456789012:key/",
            "arn:aws:s3:eu-west-3:123456789012:key/a",
        ];
        for other in others {
            assert!(other.parse::<EncryptionKey>().is_err(), "{other:?}");
        }
    }
}
