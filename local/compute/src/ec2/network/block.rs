//! Ranges of addresses.

use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use crate::state::Subnet;

impl Subnet {
    /// Returns an address in the subnet that depends only on `text`.
    pub fn address_for(&self, text: &str) -> String {
        let digest = Sha256::digest(text);
        let (base, size) = self.cidr.parse::<Block>().map_or((0, 16), |block| (block.base, block.size()));
        let number = (u64::from(digest[0] % 16) << 8) | u64::from(4 + digest[1] % 250);
        // The first four addresses and the last one are AWS's.
        let offset = if number < size - 1 { number } else { 4 + number % (size - 5) };
        Ipv4Addr::from(base + u32::try_from(offset).unwrap_or(4)).to_string()
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first address.
    pub base: u32,
    /// The number of leading bits that its addresses have in common.
    pub bits: u32,
}

impl Block {
    /// Returns the number of its addresses.
    pub fn size(self) -> u64 {
        1 << (32 - self.bits)
    }

    /// Whether it contains another one.
    pub fn contains(self, other: Block) -> bool {
        self.bits <= other.bits && self.overlaps(other)
    }

    /// Whether they have addresses in common.
    pub fn overlaps(self, other: Block) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.bits.min(other.bits)).unwrap_or(0);
        self.base & mask == other.base & mask
    }
}

impl std::str::FromStr for Block {
    type Err = ();

    fn from_str(text: &str) -> Result<Block, ()> {
        let (address, bits) = text.split_once('/').ok_or(())?;
        let (address, bits) = (address.parse::<Ipv4Addr>().map_err(|_| ())?, bits.parse::<u32>().map_err(|_| ())?);
        if bits > 32 {
            return Err(());
        }
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Ok(Block { base: u32::from(address) & mask, bits })
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::Block;
    use crate::state::Subnet;

    #[test]
    fn addresses_are_inside_their_subnet_and_not_reserved() {
        for cidr in ["172.31.16.0/20", "10.0.1.0/24", "10.0.0.16/28"] {
            let (id, vpc, zone) = Default::default();
            let subnet =
                Subnet { id, vpc, zone, cidr: cidr.to_owned(), public_addresses: true, is_default: false, made: None };
            let block: Block = cidr.parse().unwrap();
            for number in 0..200 {
                let address: Block = format!("{}/32", subnet.address_for(&format!("i-{number}"))).parse().unwrap();
                let offset = u64::from(address.base - block.base);
                assert!(block.contains(address) && offset >= 4 && offset < block.size() - 1, "{cidr}: {address}");
            }
        }
    }
}
