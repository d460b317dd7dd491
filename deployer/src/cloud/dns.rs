//! Which name servers DNS has for a zone: one query, and the part of its answer that we need.
//!
//! The query is sent to the resolvers of this machine, which answer what clients of the zone get.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::local_page;
use crate::machine::platform;

/// What DNS knows about the name servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameServers {
    /// These, in lower case and without the dot at the end.
    Named(Vec<String>),
    /// None: the zone is not delegated, or its name servers do not answer for it.
    None,
    /// No resolver answered.
    Unknown,
}

const PORT: u16 = 53;
/// How long to wait for an answer, and how often to ask.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const TRIES: usize = 2;
/// The longest answer over UDP without extensions (RFC 1035, section 4.2.1).
const LONGEST: usize = 512;

/// The resolvers of this machine; none if they are unknown.
pub fn resolvers() -> Vec<SocketAddr> {
    platform::resolvers().into_iter().map(|address: IpAddr| SocketAddr::new(address, PORT)).collect()
}

/// The DNS server of the local AWS at this endpoint; `None` if it is another emulator.
pub async fn resolver_of(endpoint: &str) -> Option<SocketAddr> {
    local_page::get(endpoint, local_page::HEALTH).await?["dns"].as_str()?.parse().ok()
}

/// Asks these resolvers, one after another, for the name servers of a zone.
pub async fn name_servers(zone: &str, resolvers: &[SocketAddr]) -> NameServers {
    for resolver in resolvers.iter().flat_map(|resolver| [resolver; TRIES]) {
        let answer = timeout(ANSWER_WITHIN, ask(zone, *resolver)).await;
        if let Ok(Ok(Some(answer))) = answer {
            return answer;
        }
    }
    NameServers::Unknown
}

async fn ask(zone: &str, resolver: SocketAddr) -> std::io::Result<Option<NameServers>> {
    let any: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    let id = RandomState::new().build_hasher().finish() as u16;
    let Some(query) = query(id, zone) else { return Ok(None) };
    socket.send(&query).await?;
    let mut buffer = [0; LONGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // An answer to another query is ignored.
        if let Some(answer) = understood(&buffer[..length], id) {
            return Ok(Some(answer));
        }
    }
}

const TYPE_NS: u16 = 2;
const CLASS_IN: u16 = 1;
/// A standard query that asks for recursion.
const RECURSION_DESIRED: u16 = 0x0100;
const IS_ANSWER: u16 = 0x8000;
/// The response codes that we tell apart (RFC 1035, section 4.1.1).
const NO_ERROR: u16 = 0;
const SERVER_FAILURE: u16 = 2;
const NO_SUCH_NAME: u16 = 3;

/// The query for the name servers of a zone; `None` if it is not a name.
fn query(id: u16, zone: &str) -> Option<Vec<u8>> {
    let mut query = Vec::new();
    for field in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        query.extend(field.to_be_bytes());
    }
    for label in zone.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        query.push(length);
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(TYPE_NS.to_be_bytes());
    query.extend(CLASS_IN.to_be_bytes());
    Some(query)
}

/// Reads the answer to the query of this id; `None` if it is none, or is not well-formed.
fn understood(message: &[u8], id: u16) -> Option<NameServers> {
    let mut reader = Reader { message, at: 0 };
    let (of, flags) = (reader.number()?, reader.number()?);
    if of != id || flags & IS_ANSWER == 0 {
        return None;
    }
    let [questions, answers, _, _] = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
    match flags & 0xf {
        NO_ERROR => (),
        // The servers that the zone is delegated to do not answer for it.
        SERVER_FAILURE | NO_SUCH_NAME => return Some(NameServers::None),
        _ => return None,
    }
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let mut named = Vec::new();
    for _ in 0..answers {
        reader.name()?;
        let (kind, class) = (reader.number()?, reader.number()?);
        reader.skip(4)?;
        let length = usize::from(reader.number()?);
        let next = reader.at + length;
        if (kind, class) == (TYPE_NS, CLASS_IN) {
            named.push(reader.name()?);
        }
        reader.at = next;
    }
    named.sort();
    Some(if named.is_empty() { NameServers::None } else { NameServers::Named(named) })
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u16> {
        let bytes = self.message.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.at += length;
        (self.at <= self.message.len()).then_some(())
    }

    /// A name, which may end with a pointer to an earlier one (RFC 1035, section 4.1.4).
    fn name(&mut self) -> Option<String> {
        let (mut labels, mut at, mut after) = (Vec::new(), self.at, None);
        // Each pointer leads backwards, so there is an end.
        let mut earliest = self.message.len();
        loop {
            let length = usize::from(*self.message.get(at)?);
            match length {
                0 => break,
                1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + length)?;
                    labels.push(String::from_utf8_lossy(label).to_lowercase());
                    at += 1 + length;
                }
                0xc0.. => {
                    let to = (length & 0x3f) << 8 | usize::from(*self.message.get(at + 1)?);
                    if to >= earliest.min(at) {
                        return None;
                    }
                    after = after.or(Some(at + 2));
                    (at, earliest) = (to, to);
                }
                _ => return None,
            }
        }
        self.at = after.unwrap_or(at + 1);
        Some(labels.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with these records, each a type and its data.
    fn answer(code: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = query(7, "example.org").unwrap();
        message[2..4].copy_from_slice(&(IS_ANSWER | code).to_be_bytes());
        message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        for (kind, data) in records {
            // The name is a pointer to the question's.
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend(CLASS_IN.to_be_bytes());
            message.extend(300u32.to_be_bytes());
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        message
    }

    #[test]
    fn name_servers_are_read_with_and_without_compression() {
        let plain: &[u8] = b"\x06ns-512\x09awsdns-00\x03NET\x00";
        let packed: &[u8] = b"\x02ns\xc0\x0c";
        let named = understood(&answer(NO_ERROR, &[(TYPE_NS, plain), (1, &[1, 2, 3, 4]), (TYPE_NS, packed)]), 7);
        let names = ["ns-512.awsdns-00.net", "ns.example.org"].map(str::to_owned).to_vec();
        assert_eq!(named, Some(NameServers::Named(names)));
    }

    #[test]
    fn a_zone_without_delegation_has_none() {
        for code in [NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME] {
            assert_eq!(understood(&answer(code, &[]), 7), Some(NameServers::None), "{code}");
        }
        assert_eq!(understood(&answer(5, &[]), 7), None, "a resolver that refuses to answer knows nothing");
    }

    #[test]
    fn no_answer_breaks_the_reader() {
        let whole = answer(NO_ERROR, &[(TYPE_NS, b"\x02ns\xc0\x0c")]);
        assert_eq!(understood(&whole, 8), None, "the answer to another query");
        for length in 0..whole.len() {
            assert_eq!(understood(&whole[..length], 7), None, "cut after {length} bytes");
        }
        // A name that points to itself.
        let at = u8::try_from(answer(NO_ERROR, &[]).len() + 12).unwrap();
        assert_eq!(understood(&answer(NO_ERROR, &[(TYPE_NS, &[0xc0, at])]), 7), None);
    }

    #[tokio::test]
    async fn a_resolver_is_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; LONGEST];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            let id = u16::from_be_bytes([buffer[0], buffer[1]]);
            assert_eq!(Some(buffer[..length].to_vec()), query(id, "example.org"));
            let mut reply = answer(NO_ERROR, &[(TYPE_NS, b"\x02ns\xc0\x0c")]);
            reply[..2].copy_from_slice(&id.to_be_bytes());
            server.send_to(&reply, from).await.unwrap();
        };
        let resolvers = [address];
        let (answer, ()) = tokio::join!(name_servers("example.org.", &resolvers), serve);
        assert_eq!(answer, NameServers::Named(vec!["ns.example.org".into()]));
        assert_eq!(name_servers("example.org", &[]).await, NameServers::Unknown);
    }
}
