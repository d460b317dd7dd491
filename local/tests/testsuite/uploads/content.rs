//! The bytes of large objects.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;

pub const PIECE: usize = 1 << 20;

/// Generates the bytes of an object of any size, each piece of them different, without holding the object.
pub struct Bytes {
    piece: Vec<u8>,
    pub size: u64,
}

impl Bytes {
    pub fn new(size: u64) -> Bytes {
        let mut dice = fastrand::Rng::with_seed(1);
        Bytes { piece: (0..PIECE).map(|_| dice.u8(..)).collect(), size }
    }

    /// Returns a piece by its number; `None` beyond the end.
    pub fn piece(&mut self, number: u64) -> Option<&[u8]> {
        let begin = number * PIECE as u64;
        let size = self.size.checked_sub(begin).filter(|left| *left > 0)?.min(PIECE as u64) as usize;
        self.piece[..8].copy_from_slice(&number.to_be_bytes());
        Some(&self.piece[..size])
    }

    fn each(&mut self, mut take: impl FnMut(&[u8])) {
        let mut number = 0;
        while let Some(piece) = self.piece(number) {
            take(piece);
            number += 1;
        }
    }

    /// Returns a range of the bytes, in memory.
    pub fn range(&mut self, range: std::ops::Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in range.start / PIECE as u64..range.end.div_ceil(PIECE as u64) {
            bytes.extend_from_slice(self.piece(number).expect("the range is inside"));
        }
        let start = (range.start % PIECE as u64) as usize;
        bytes[start..start + (range.end - range.start) as usize].to_vec()
    }

    pub fn sha256(&mut self) -> String {
        let mut hash = Sha256::new();
        self.each(|piece| hash.update(piece));
        hex::encode(hash.finalize())
    }

    pub fn etag(&mut self) -> String {
        let mut hash = Md5::new();
        self.each(|piece| hash.update(piece));
        format!("\"{}\"", hex::encode(hash.finalize()))
    }

    pub fn crc32(&mut self) -> String {
        let mut hash = crc32fast::Hasher::new();
        self.each(|piece| hash.update(piece));
        BASE64_STANDARD.encode(hash.finalize().to_be_bytes())
    }
}
