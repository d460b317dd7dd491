//! DNS messages (RFC 1035): queries with one question, and the responses to them.

use super::{DnsAnswer, DnsRecord, DnsStatus};
use crate::name;
use crate::route53::records;

/// The class of the Internet, and the type of the pseudo-record of EDNS (RFC 6891).
const INTERNET: u16 = 1;
const OPT: u16 = 41;
/// The maximum size of a response over UDP without EDNS, and with it.
const PLAIN: usize = 512;
const EXTENDED: usize = 1232;

/// A query.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    id: u16,
    opcode: u8,
    wants_recursion: bool,
    /// In Route 53's form.
    pub name: String,
    labels: Vec<Vec<u8>>,
    kind: u16,
    class: u16,
    /// The size of a response over UDP that the client accepts, if it uses EDNS.
    size: Option<usize>,
}

impl Query {
    /// Parses a message; `None` if it is not a query with one question.
    pub fn parse(bytes: &[u8]) -> Option<Query> {
        let number = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let flags = number(2)?;
        if flags & 0x8000 != 0 || number(4)? != 1 {
            return None;
        }
        let (mut at, mut labels) = (12, Vec::new());
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            match length {
                0 => break,
                // A question has nothing before it that it could point to.
                1..=63 => labels.push(bytes.get(at..at + length)?.to_vec()),
                _ => return None,
            }
            at += length;
        }
        let (kind, class) = (number(at)?, number(at + 2)?);
        at += 4;
        let has_opt = number(10)? > 0 && bytes.get(at) == Some(&0) && number(at + 1) == Some(OPT);
        let size = has_opt.then(|| number(at + 3)).flatten().map(|size| usize::from(size).clamp(PLAIN, EXTENDED));
        let opcode = u8::try_from((flags >> 11) & 0xf).ok()?;
        Some(Query {
            id: number(0)?,
            opcode,
            wants_recursion: flags & 0x0100 != 0,
            name: name::of_labels(&labels),
            labels,
            kind,
            class,
            size,
        })
    }

    /// Returns the queried record type; `None` if this server has no records of it.
    pub fn kind(&self) -> Option<&'static str> {
        records::kind(self.kind)
    }

    /// Whether it is an ordinary question.
    pub fn is_plain(&self) -> bool {
        self.opcode == 0 && self.class == INTERNET
    }

    /// Returns the maximum size of a response over UDP.
    pub fn most(&self) -> usize {
        self.size.unwrap_or(PLAIN)
    }

    /// Returns the response of `most` bytes at most; records that do not fit are left out, and the response tells the
    /// client to repeat the query over TCP.
    pub fn response(&self, answer: Option<&DnsAnswer>, most: usize) -> Vec<u8> {
        let whole = self.written(answer, true);
        if whole.len() <= most { whole } else { self.written(answer, false) }
    }

    fn written(&self, answer: Option<&DnsAnswer>, with_records: bool) -> Vec<u8> {
        let code = match answer.map(|answer| answer.status) {
            Some(DnsStatus::NoError) => 0,
            Some(DnsStatus::ServerFailure) => 2,
            Some(DnsStatus::NoName) => 3,
            // Not implemented.
            None => 4,
        };
        let mut flags = 0x8080 | u16::from(self.opcode) << 11 | code;
        if self.wants_recursion {
            flags |= 0x0100;
        }
        if !with_records {
            flags |= 0x0200;
        }
        let none: &[DnsRecord] = &[];
        let (found, authority) = match answer {
            Some(answer) if with_records => (answer.records.as_slice(), answer.authority.as_slice()),
            _ => (none, none),
        };
        let written = |records: &[DnsRecord]| -> Vec<Vec<u8>> { records.iter().filter_map(written).collect() };
        let (found, authority) = (written(found), written(authority));
        let count = |records: &[Vec<u8>]| u16::try_from(records.len()).unwrap_or(u16::MAX);
        let counts = [1, count(&found), count(&authority), u16::from(self.size.is_some())];
        let mut bytes =
            [self.id, flags].iter().chain(&counts).flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
        for label in &self.labels {
            bytes.push(u8::try_from(label.len()).unwrap_or_default());
            bytes.extend(label);
        }
        bytes.push(0);
        bytes.extend([self.kind, self.class].iter().flat_map(|number| number.to_be_bytes()));
        bytes.extend(found.into_iter().chain(authority).flatten());
        if self.size.is_some() {
            bytes.push(0);
            bytes.extend([OPT, EXTENDED as u16, 0, 0, 0].iter().flat_map(|number| number.to_be_bytes()));
        }
        bytes
    }
}

fn written(record: &DnsRecord) -> Option<Vec<u8>> {
    let data = records::encoded(record.kind, &record.value).ok()?;
    let mut bytes = records::in_message(&record.name);
    bytes.extend([records::number(record.kind)?, INTERNET].iter().flat_map(|number| number.to_be_bytes()));
    bytes.extend(record.ttl.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    bytes.extend(data);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(with_opt: bool) -> Vec<u8> {
        let mut bytes = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03WWW\x01a\x00\x00\x01\x00\x01".to_vec();
        if with_opt {
            bytes[11] = 1;
            bytes.extend(b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00");
        }
        bytes
    }

    fn answer(count: usize) -> DnsAnswer {
        let record = DnsRecord { name: "www.a.".to_owned(), kind: "A", ttl: 60, value: "127.0.0.1".to_owned() };
        DnsAnswer { status: DnsStatus::NoError, records: vec![record; count], authority: Vec::new() }
    }

    #[test]
    fn a_response_repeats_the_question_and_has_the_records() {
        let query = Query::parse(&asked(false)).unwrap();
        assert_eq!((query.name.as_str(), query.kind(), query.most()), ("www.a.", Some("A"), 512));
        let expected = [
            b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03WWW\x01a\x00\x00\x01\x00\x01".as_slice(),
            b"\x03www\x01a\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01",
        ];
        assert_eq!(query.response(Some(&answer(1)), 512), expected.concat());
        let cut = query.response(Some(&answer(50)), 512);
        assert_eq!((cut[2] & 0x02, cut.len()), (0x02, expected[0].len()));
        let extended = Query::parse(&asked(true)).unwrap();
        assert_eq!(extended.most(), 1232);
        assert!(extended.response(Some(&answer(1)), 1232).ends_with(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"));
        assert_eq!(extended.response(None, 512)[3] & 0xf, 4);
    }

    #[test]
    fn what_is_no_query_is_ignored() {
        let whole = asked(false);
        for cut in 0..whole.len() {
            assert_eq!(Query::parse(&whole[..cut]), None, "cut after {cut}");
        }
        let mut response = whole.clone();
        response[2] |= 0x80;
        assert_eq!(Query::parse(&response), None);
        let mut pointer = whole;
        pointer[12] = 0xc0;
        assert_eq!(Query::parse(&pointer), None);
    }
}
