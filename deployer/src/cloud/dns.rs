//! Which name servers DNS has for a zone: one query, and the part of its answer that we need.
//!
//! The query is sent to the resolvers of this machine, which answer what clients of the zone get: over UDP, and once more
//! over TCP if the answer is too long.

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

/// The name servers of a zone, according to DNS.
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

/// Asks these resolvers, one after another, for the name servers of a zone. A resolver that cannot reach them may have
/// a fault of its own, so only the failure of all resolvers means that there are none.
pub async fn name_servers(zone: &str, resolvers: &[SocketAddr]) -> NameServers {
    let mut failures = 0;
    for resolver in resolvers {
        match asked(zone, *resolver).await {
            Some(DnsAnswer::Known(known)) => return known,
            Some(DnsAnswer::Failure) => failures += 1,
            Some(DnsAnswer::Truncated) | None => (),
        }
    }
    if failures > 0 && failures == resolvers.len() { NameServers::None } else { NameServers::Unknown }
}

/// The answer of a resolver, if it gives one.
async fn asked(zone: &str, resolver: SocketAddr) -> Option<DnsAnswer> {
    let mut last = None;
    for _ in 0..TRIES {
        let mut answer = within(ask(zone, resolver)).await;
        if answer == Some(DnsAnswer::Truncated) {
            answer = within(ask_over_tcp(zone, resolver)).await;
        }
        match answer {
            Some(DnsAnswer::Known(_)) => return answer,
            _ => last = answer.or(last),
        }
    }
    last
}

async fn within(ask: impl Future<Output = std::io::Result<Option<DnsAnswer>>>) -> Option<DnsAnswer> {
    timeout(ANSWER_WITHIN, ask).await.ok()?.ok()?
}

async fn ask(zone: &str, resolver: SocketAddr) -> std::io::Result<Option<DnsAnswer>> {
    let any: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    let Some(query) = query(random_id(), zone) else { return Ok(None) };
    socket.send(&query).await?;
    let mut buffer = [0; LONGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // An answer to another query is ignored.
        if let Some(answer) = understood(&buffer[..length], &query) {
            return Ok(Some(answer));
        }
    }
}

/// The same over TCP, where each message follows its length (RFC 1035, section 4.2.2).
async fn ask_over_tcp(zone: &str, resolver: SocketAddr) -> std::io::Result<Option<DnsAnswer>> {
    let Some(query) = query(random_id(), zone) else { return Ok(None) };
    let Ok(length) = u16::try_from(query.len()) else { return Ok(None) };
    let mut stream = TcpStream::connect(resolver).await?;
    stream.write_all(&[&length.to_be_bytes(), &query[..]].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(understood(&answer, &query))
}

fn random_id() -> u16 {
    RandomState::new().build_hasher().finish() as u16
}

/// The answer of one resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DnsAnswer {
    /// The servers answered.
    Known(NameServers),
    /// The lookup failed: the servers that the zone is delegated to do not answer for it, or the resolver has a fault.
    Failure,
    /// The answer is longer than UDP carries.
    Truncated,
}

const TYPE_NS: u16 = 2;
const CLASS_IN: u16 = 1;
/// A standard query with recursion desired.
const RECURSION_DESIRED: u16 = 0x0100;
const IS_ANSWER: u16 = 0x8000;
const IS_TRUNCATED: u16 = 0x0200;
/// The length of the header, after which the question begins.
const HEADER: usize = 12;
/// The response codes that we distinguish (RFC 1035, section 4.1.1).
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

/// Parses the answer to this query; `None` for anything else.
fn understood(message: &[u8], query: &[u8]) -> Option<DnsAnswer> {
    let mut reader = Reader { message, at: 0 };
    reader.skip(2)?;
    let flags = reader.number()?;
    let [questions, answers, _, _] = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
    let asked = message.get(HEADER..query.len())?;
    let is_ours = message[..2] == query[..2] && asked.eq_ignore_ascii_case(&query[HEADER..]);
    if !is_ours || questions != 1 || flags & IS_ANSWER == 0 {
        return None;
    }
    match flags & 0xf {
        NO_ERROR if flags & IS_TRUNCATED != 0 => return Some(DnsAnswer::Truncated),
        NO_ERROR => (),
        SERVER_FAILURE => return Some(DnsAnswer::Failure),
        NO_SUCH_NAME => return Some(DnsAnswer::Known(NameServers::None)),
        _ => return None,
    }
    reader.at = query.len();
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
    Some(DnsAnswer::Known(if named.is_empty() { NameServers::None } else { NameServers::Named(named) }))
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
    use tokio::net::TcpListener;

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
        let named = read(&answer(NO_ERROR, &[(TYPE_NS, plain), (1, &[1, 2, 3, 4]), (TYPE_NS, packed)]));
        let names = ["ns-512.awsdns-00.net", "ns.example.org"].map(str::to_owned).to_vec();
        assert_eq!(named, Some(DnsAnswer::Known(NameServers::Named(names))));
    }

    /// Reads an answer to the query of `answer`.
    fn read(message: &[u8]) -> Option<DnsAnswer> {
        understood(message, &query(7, "Example.org").unwrap())
    }

    #[test]
    fn a_zone_without_delegation_has_none() {
        for code in [NO_ERROR, NO_SUCH_NAME] {
            assert_eq!(read(&answer(code, &[])), Some(DnsAnswer::Known(NameServers::None)), "{code}");
        }
        assert_eq!(read(&answer(SERVER_FAILURE, &[])), Some(DnsAnswer::Failure));
        assert_eq!(read(&answer(IS_TRUNCATED, &[])), Some(DnsAnswer::Truncated));
        assert_eq!(read(&answer(5, &[])), None, "a resolver that refuses to answer knows nothing");
    }

    #[test]
    fn no_answer_breaks_the_reader() {
        let whole = answer(NO_ERROR, &[(TYPE_NS, b"\x02ns\xc0\x0c")]);
        for (id, zone) in [(8, "example.org"), (7, "example.com"), (7, "example.or")] {
            assert_eq!(understood(&whole, &query(id, zone).unwrap()), None, "the answer to another query");
        }
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "cut after {length} bytes");
        }
        // A name that points to itself.
        let at = u8::try_from(answer(NO_ERROR, &[]).len() + 12).unwrap();
        assert_eq!(read(&answer(NO_ERROR, &[(TYPE_NS, &[0xc0, at])])), None);
    }

    /// A resolver that answers every query with this code, and over TCP with name servers.
    async fn resolver(code: u16) -> SocketAddr {
        let (server, stream) = loop {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(stream) = TcpListener::bind(server.local_addr().unwrap()).await {
                break (server, stream);
            }
        };
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; LONGEST];
            while let Ok((_, from)) = server.recv_from(&mut buffer).await {
                let reply = [&buffer[..2], &answer(code, &[])[2..]].concat();
                server.send_to(&reply, from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut client, _)) = stream.accept().await {
                let mut query = vec![0; client.read_u16().await.unwrap().into()];
                client.read_exact(&mut query).await.unwrap();
                let reply = answer(NO_ERROR, &[(TYPE_NS, b"\x02ns\xc0\x0c")]);
                let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
                client.write_all(&[&length, &query[..2], &reply[2..]].concat()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn only_the_failure_of_all_resolvers_means_that_there_are_none() {
        let (failing, empty, long) =
            (resolver(SERVER_FAILURE).await, resolver(NO_ERROR).await, resolver(IS_TRUNCATED).await);
        let refusing = resolver(5).await;
        let named = || NameServers::Named(vec!["ns.example.org".into()]);
        for (resolvers, known) in [
            (vec![long], named()),
            (vec![failing, long], named()),
            (vec![failing, empty], NameServers::None),
            (vec![failing, failing], NameServers::None),
            (vec![failing, refusing], NameServers::Unknown),
        ] {
            assert_eq!(name_servers("example.org", &resolvers).await, known, "{resolvers:?}");
        }
    }

    #[tokio::test]
    async fn a_resolver_is_queried() {
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
