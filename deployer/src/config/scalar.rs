//! Scalars with a form of their own: names, regions, types of instances, blocks of addresses and ports.

use std::{fmt, str::FromStr};

use super::aws_names::{FAMILIES, SIZES, regions};
use super::error;
use crate::package::Architecture;

/// A name of lower-case letters, digits and single hyphens, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub(super) String);

/// An AWS region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(pub(super) String);

/// An instance type, such as `t3.micro`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    pub(super) name: String,
    pub(super) architecture: Architecture,
}

/// A CIDR block, such as `0.0.0.0/0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cidr(pub(super) String);

/// A TCP port, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub(super) u16);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if letters && begins && !text.ends_with('-') && !text.contains("--") {
            return Ok(Name(text.into()));
        }
        Err("use lower-case letters, digits and single hyphens, beginning with a letter".into())
    }
}

impl Region {
    /// The region as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if regions().any(|known| known == text) {
            return Ok(Region(text.into()));
        }
        let no = format!("AWS has no region {text:?}");
        Err(match error::did_you_mean(text, regions()) {
            Some(meant) => format!("{no}; did you mean {meant:?}?"),
            None => format!("{no}; regions look like us-east-1"),
        })
    }
}

impl InstanceType {
    /// Its processor architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }
}

impl FromStr for InstanceType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (family, size) = text.split_once('.').ok_or("instance types look like t3.micro")?;
        let Some((_, architecture)) = FAMILIES.iter().find(|(name, _)| *name == family) else {
            return Err(match error::did_you_mean(family, FAMILIES.iter().map(|(name, _)| *name)) {
                Some(meant) => format!("did you mean {meant}.{size}?"),
                None => "families look like t3, t4g or m7i".into(),
            });
        };
        if !SIZES.contains(&size) {
            let meant = error::did_you_mean(size, SIZES.iter().copied()).unwrap_or("micro");
            return Err(format!("did you mean {family}.{meant}?"));
        }
        Ok(InstanceType { name: text.into(), architecture: *architecture })
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write an IPv4 block such as 0.0.0.0/0 or 203.0.113.7/32".to_owned();
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
        // Rust would also read `+8` and `08`.
        let plain = |read: &u32| *read <= 32 && read.to_string() == bits;
        let bits: u32 = bits.parse().ok().filter(plain).ok_or_else(wrong)?;
        let rest = u32::from(address).checked_shl(bits).unwrap_or(0);
        if rest != 0 {
            let kept = u32::from(address) & u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            return Err(format!("the block is {}/{bits}", std::net::Ipv4Addr::from(kept)));
        }
        Ok(Cidr(text.into()))
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.0
    }
}

macro_rules! displays {
    ($($type:ident . $field:tt),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$field)
            }
        }
    )*};
}

displays! { Name.0, Region.0, Cidr.0, InstanceType.name }
