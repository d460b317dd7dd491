//! Blocks of addresses for networks.

use std::{fmt, net::Ipv4Addr, ops::RangeInclusive, str::FromStr};

/// A block of IPv4 addresses, such as `10.0.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    base: u32,
    bits: u8,
}

/// The sizes of a network whose quarters are subnets: a VPC is a /16 at most, and a load balancer needs a /27
/// (docs/aws.md §8.1).
const SIZES: RangeInclusive<u8> = 16..=25;

/// The private addresses (RFC 1918).
const PRIVATE: [Block; 3] = [
    Block { base: 10 << 24, bits: 8 },
    Block { base: (172 << 24) | (16 << 16), bits: 12 },
    Block { base: (192 << 24) | (168 << 16), bits: 16 },
];

impl Default for Block {
    fn default() -> Self {
        Block { base: 10 << 24, bits: 16 }
    }
}

impl Block {
    /// Reads the block of a network.
    ///
    /// Errors: what to write instead.
    pub fn of_network(text: &str) -> Result<Block, String> {
        let block: Block = text.parse().map_err(|()| format!("write an IPv4 block such as {}", Block::default()))?;
        if block.to_string() != text {
            return Err(format!("write {block}, the block that contains this address"));
        }
        if !SIZES.contains(&block.bits) {
            let (largest, smallest) = (SIZES.start(), SIZES.end());
            return Err(format!(
                "use /{largest} to /{smallest}: a VPC is not larger, and subnets of a smaller one have no room for a load \
                 balancer"
            ));
        }
        if !PRIVATE.iter().any(|private| private.bits <= block.bits && private.overlaps(block)) {
            return Err(format!("use private addresses: a part of {}", PRIVATE.map(|it| it.to_string()).join(", ")));
        }
        Ok(block)
    }

    /// Its four quarters, in order.
    pub fn quarters(self) -> [Block; 4] {
        let bits = (self.bits + 2).min(32);
        [0, 1, 2, 3]
            .map(|number: u32| Block { base: self.base | number.checked_shl(32 - u32::from(bits)).unwrap_or(0), bits })
    }

    /// Whether it has addresses in common with another one.
    pub fn overlaps(self, other: Block) -> bool {
        let mask = mask(self.bits.min(other.bits));
        self.base & mask == other.base & mask
    }
}

fn mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

/// Any block, as EC2 writes them; bits beyond its size count as zero.
impl FromStr for Block {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').ok_or(())?;
        let address: Ipv4Addr = address.parse().map_err(drop)?;
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32).ok_or(())?;
        Ok(Block { base: u32::from(address) & mask(bits), bits })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_a_private_block_with_room_for_load_balancers() {
        for text in ["10.0.0.0/16", "10.255.0.0/25", "172.16.0.0/16", "172.31.255.128/25", "192.168.0.0/16"] {
            assert_eq!(Block::of_network(text).map(|block| block.to_string()).as_deref(), Ok(text));
        }
        for (text, remedy) in [
            ("", "write an IPv4 block such as 10.0.0.0/16"),
            ("10.0.0.0", "write an IPv4 block"),
            ("fd00::/16", "write an IPv4 block"),
            ("10.0.0.0/33", "write an IPv4 block"),
            ("10.0.0.0/+16", "write 10.0.0.0/16, the block"),
            ("10.0.7.0/16", "write 10.0.0.0/16, the block"),
            ("10.0.0.0/8", "use /16 to /25"),
            ("10.0.0.0/26", "use /16 to /25"),
            ("0.0.0.0/0", "use /16 to /25"),
            ("172.32.0.0/16", "use private addresses"),
            ("192.169.0.0/20", "use private addresses"),
            ("127.0.0.0/16", "use private addresses"),
        ] {
            let refused = Block::of_network(text).expect_err(text);
            assert!(refused.starts_with(remedy), "{text}: {refused}");
        }
    }

    #[test]
    fn quarters_are_disjoint_parts_of_their_block() {
        for text in ["10.0.0.0/16", "192.168.7.128/25"] {
            let block = Block::of_network(text).expect("valid");
            let quarters = block.quarters();
            for (index, quarter) in quarters.iter().enumerate() {
                assert!(quarter.overlaps(block) && quarter.bits == block.bits + 2, "{quarter}");
                assert!(quarters[..index].iter().all(|other| !other.overlaps(*quarter)), "{quarters:?}");
            }
        }
        let quarters = Block::default().quarters().map(|quarter| quarter.to_string());
        assert_eq!(quarters, ["10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18", "10.0.192.0/18"]);
        assert_eq!("0.0.0.0/0".parse::<Block>().map(|all| all.overlaps(Block::default())), Ok(true));
    }
}
