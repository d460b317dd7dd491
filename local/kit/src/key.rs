//! Keys of AWS Key Management Service (KMS). There is no KMS here: a well-formed name stands for a key that exists, but for
//! the names below, so that errors can be tried out.

use crate::ACCOUNT;
use crate::call::Need;

/// The id of a key that does not exist.
pub const ABSENT_ID: &str = "00000000-0000-0000-0000-000000000000";

/// An alias that does not exist.
pub const ABSENT_ALIAS: &str = "alias/absent";

/// The prefix of the aliases of AWS's own keys, followed by the name of a service.
const OF_AWS: &str = "alias/aws/";

/// The services that have a key of their own in each account.
const WITH_KEY: &[&str] = &["dynamodb", "ebs", "lambda", "s3", "secretsmanager", "ssm"];

/// A key that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its ARN.
    pub arn: String,
    /// The alias that it was named by.
    alias: Option<String>,
    /// Whether it is AWS's own: all users of the account may use it by way of its service.
    is_of_aws: bool,
}

/// Why a name stands for no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is not the name of a key.
    Malformed,
    /// It is the name of a key of another region.
    Elsewhere,
    /// There is no such key.
    Absent,
}

impl Key {
    /// Finds a key by its id, its ARN, its alias or the ARN of its alias.
    pub fn find(name: &str, region: &str) -> Result<Key, Unusable> {
        let name = match name.strip_prefix("arn:") {
            Some(rest) => match rest.splitn(5, ':').collect::<Vec<_>>()[..] {
                [_, "kms", there, _, _] if there != region => return Err(Unusable::Elsewhere),
                [partition, "kms", _, account, rest] if is_account(account) && partition.starts_with("aws") => {
                    match rest.strip_prefix("key/") {
                        Some(id) => return known(id, name.to_owned()),
                        None if account == ACCOUNT => rest,
                        None => return Err(Unusable::Absent),
                    }
                }
                _ => return Err(Unusable::Malformed),
            },
            None => name,
        };
        match name.strip_prefix("alias/") {
            Some(alias) if alias.is_empty() || !alias.bytes().all(is_of_aliases) => Err(Unusable::Malformed),
            Some(_) if name == ABSENT_ALIAS => Err(Unusable::Absent),
            Some(_) => {
                let service = name.strip_prefix(OF_AWS);
                if service.is_some_and(|service| !WITH_KEY.contains(&service)) {
                    return Err(Unusable::Absent);
                }
                let arn = own_arn(region, &id_of(region, name));
                Ok(Key { arn, alias: Some(name.to_owned()), is_of_aws: service.is_some() })
            }
            None => known(name, own_arn(region, name)),
        }
    }

    /// The permission to use it by way of a service; `None` for a key of AWS.
    pub fn need(&self, action: &str, service: &str, region: &str) -> Option<Need> {
        let need = Need::new(format!("kms:{action}"), &self.arn);
        let need = need.knowing("kms:ViaService", Some(format!("{service}.{region}.amazonaws.com")));
        (!self.is_of_aws).then(|| need.knowing("kms:ResourceAliases", self.alias.clone()))
    }
}

fn own_arn(region: &str, id: &str) -> String {
    format!("arn:aws:kms:{region}:{ACCOUNT}:key/{id}")
}

fn known(id: &str, arn: String) -> Result<Key, Unusable> {
    match () {
        () if !is_id(id) => Err(Unusable::Malformed),
        () if id == ABSENT_ID => Err(Unusable::Absent),
        () => Ok(Key { arn, alias: None, is_of_aws: false }),
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_of_aliases(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_-".contains(&byte)
}

/// Whether this is the id of a key, or of one of several regions.
fn is_id(id: &str) -> bool {
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    match id.strip_prefix("mrk-") {
        Some(rest) => is_hex(rest, 32),
        None => {
            let parts: Vec<&str> = id.split('-').collect();
            parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| is_hex(part, length))
        }
    }
}

/// The id of the key of an alias, which is always the same.
fn id_of(region: &str, alias: &str) -> String {
    // FNV-1a.
    let step = |sum: u128, byte: u8| (sum ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    let sum = region.bytes().chain(alias.bytes()).fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step);
    uuid::Uuid::from_u128(sum).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "us-east-1";

    fn arn(region: &str, rest: &str) -> String {
        format!("arn:aws:kms:{region}:123456789012:{rest}")
    }

    #[test]
    fn a_key_is_found_by_each_of_its_names() {
        let id = "12345678-1234-1234-1234-123456789012";
        let found = |name: &str| Key::find(name, HERE).map(|key| key.arn);
        assert_eq!(found(id), Ok(format!("arn:aws:kms:{HERE}:{ACCOUNT}:key/{id}")));
        assert_eq!(found(&arn(HERE, &format!("key/{id}"))), Ok(arn(HERE, &format!("key/{id}"))));
        assert_eq!(found("alias/app"), found(&format!("arn:aws:kms:{HERE}:{ACCOUNT}:alias/app")));
        assert_ne!(found("alias/app"), found("alias/other"));
        assert_ne!(found("alias/app"), Key::find("alias/app", "eu-west-3").map(|key| key.arn));
    }

    #[test]
    fn unusable_keys_are_refused_with_the_reason() {
        let elsewhere = arn("eu-west-3", "key/12345678-1234-1234-1234-123456789012");
        for (name, expected) in [
            ("", Unusable::Malformed),
            ("app", Unusable::Malformed),
            ("alias/", Unusable::Malformed),
            ("alias/a b", Unusable::Malformed),
            (arn(HERE, "key/app").as_str(), Unusable::Malformed),
            (elsewhere.as_str(), Unusable::Elsewhere),
            (ABSENT_ID, Unusable::Absent),
            (ABSENT_ALIAS, Unusable::Absent),
            ("alias/aws/app", Unusable::Absent),
            (arn(HERE, "alias/app").as_str(), Unusable::Absent),
        ] {
            assert_eq!(Key::find(name, HERE), Err(expected), "{name:?}");
        }
    }

    #[test]
    fn keys_of_aws_need_no_permission_of_their_own() {
        assert_eq!(Key::find("alias/aws/s3", HERE).unwrap().need("Decrypt", "s3", HERE), None);
        let need = Key::find("alias/app", HERE).unwrap().need("Decrypt", "s3", HERE).unwrap();
        let keys: Vec<(&str, &str)> = need.keys.iter().map(|(name, value)| (&**name, value.as_str())).collect();
        let expected = [("kms:ViaService", "s3.us-east-1.amazonaws.com"), ("kms:ResourceAliases", "alias/app")];
        assert_eq!((need.action.as_str(), keys), ("kms:Decrypt", expected.to_vec()));
    }
}
