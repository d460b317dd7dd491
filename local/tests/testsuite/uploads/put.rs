//! Uploads, signed in each way, with or without a fault.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::content::{Bytes, PIECE};

/// How a body is signed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    Hash,
    Unsigned,
    Chunks,
    ChunksAndTrailer,
    UnsignedTrailer,
}

impl Mode {
    pub const ALL: [Mode; 5] =
        [Mode::Hash, Mode::Unsigned, Mode::Chunks, Mode::ChunksAndTrailer, Mode::UnsignedTrailer];

    fn name(self, bytes: &mut Bytes) -> String {
        match self {
            Mode::Hash => bytes.sha256(),
            Mode::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Mode::Chunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Mode::ChunksAndTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Mode::UnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        }
    }

    pub fn is_chunked(self) -> bool {
        !matches!(self, Mode::Hash | Mode::Unsigned)
    }

    fn is_signed_by_chunk(self) -> bool {
        matches!(self, Mode::Chunks | Mode::ChunksAndTrailer)
    }

    fn has_trailer(self) -> bool {
        matches!(self, Mode::ChunksAndTrailer | Mode::UnsignedTrailer)
    }
}

/// The fault in an upload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wrong {
    Nothing,
    /// A byte in the middle.
    Byte,
    /// The signature of the chunk in the middle.
    ChunkSignature,
    Trailer,
    TrailerSignature,
    /// More, or fewer, bytes than the decoded length announces.
    TooLong,
    TooShort,
    NoDecodedLength,
    /// The connection ends in the middle.
    Cut,
}

pub struct Put<'a> {
    pub endpoint: &'a str,
    /// With its query.
    pub path: &'a str,
    pub mode: Mode,
    pub wrong: Wrong,
    pub headers: &'a [(&'a str, &'a str)],
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn code(&self) -> &str {
        let code = self.body.split_once("<Code>").and_then(|(_, rest)| rest.split_once('<'));
        code.map_or("none", |(code, _)| code)
    }
}

fn params<'a>(identity: &'a Identity, time: SystemTime) -> v4::SigningParams<'a, SigningSettings> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let builder = v4::SigningParams::builder().identity(identity).region("us-east-1").name("s3");
    builder.time(time).settings(settings).build().expect("all signing parameters are set")
}

/// A signature of the right form, which is wrong.
fn no_signature() -> String {
    "0".repeat(64)
}

/// The signatures of an upload: that of a chunk includes the previous one.
struct Signatures {
    identity: Identity,
    time: SystemTime,
    last: String,
}

impl Signatures {
    fn add_chunk(&mut self, chunk: &[u8]) {
        let chunk = ::bytes::Bytes::copy_from_slice(chunk);
        let signed = v4::sign_chunk(&chunk, &self.last, &params(&self.identity, self.time));
        self.last = signed.expect("it can be signed").into_parts().1;
    }

    fn of_trailer(&self, checksum: &str) -> String {
        let mut trailers = aws_smithy_runtime_api::http::Headers::new();
        trailers.insert("x-amz-checksum-crc32", checksum.to_owned());
        let signed = v4::sign_trailer(&trailers, &self.last, &params(&self.identity, self.time));
        signed.expect("it can be signed").signature().to_owned()
    }
}

impl Put<'_> {
    /// Sends the upload over a connection, which stays open; returns `None` if it was cut.
    pub async fn send(&self, line: &mut TcpStream, bytes: &mut Bytes) -> Option<Answer> {
        let (crc, pieces) = (bytes.crc32(), bytes.size.div_ceil(PIECE as u64));
        let (head, mut signatures) = self.head(bytes);
        let head = format!("{head}content-length: {}\r\n\r\n", self.sent_length(bytes.size, &crc));
        line.write_all(head.as_bytes()).await.expect("the server accepts it");
        let mut number = 0;
        while let Some(piece) = bytes.piece(number) {
            let is_middle = number == pieces / 2;
            if is_middle && self.wrong == Wrong::Cut {
                line.shutdown().await.expect("the server accepts it");
                return None;
            }
            let piece = self.wrapped(piece.to_vec(), is_middle, &mut signatures);
            line.write_all(&piece).await.expect("the server accepts it");
            number += 1;
        }
        if self.mode.is_chunked() {
            let end = self.end(&crc, &mut signatures);
            line.write_all(end.as_bytes()).await.expect("the server accepts it");
        }
        Some(answer(line).await)
    }

    pub async fn alone(&self, bytes: &mut Bytes) -> Answer {
        self.send(&mut connect(self.endpoint).await, bytes).await.expect("the server answers")
    }

    /// Returns the signed head, but for the length of what is sent, and the signature that the chunks continue.
    fn head(&self, bytes: &mut Bytes) -> (String, Signatures) {
        let Put { endpoint, path, mode, wrong, headers } = *self;
        let announced = match wrong {
            Wrong::TooLong => bytes.size - 1,
            Wrong::TooShort => bytes.size + 1,
            _ => bytes.size,
        };
        let host = endpoint.strip_prefix("http://").expect("an address");
        let mut sent: Vec<(String, String)> = vec![("host".into(), host.into())];
        sent.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        if mode.is_chunked() && wrong != Wrong::NoDecodedLength {
            sent.push(("x-amz-decoded-content-length".into(), announced.to_string()));
        }
        if mode.has_trailer() {
            sent.push(("x-amz-trailer".into(), "x-amz-checksum-crc32".into()));
        }
        let identity: Identity =
            aws_credential_types::Credentials::new(local::ACCESS_KEY, local::SECRET_KEY, None, None, "test").into();
        let time = SystemTime::now();
        let url = format!("{endpoint}{path}");
        let borrowed = || sent.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let payload = SignableBody::Precomputed(mode.name(bytes));
        let signable = SignableRequest::new("PUT", &url, borrowed(), payload).expect("it can be signed");
        let signed = sign(signable, &params(&identity, time).into()).expect("it can be signed");
        let (instructions, last) = signed.into_parts();
        let mut head = format!("PUT {path} HTTP/1.1\r\n");
        for (name, value) in borrowed().chain(instructions.headers()) {
            head += &format!("{name}: {value}\r\n");
        }
        (head, Signatures { identity, time, last })
    }

    /// The head of a chunk. It has the same length for every chunk, so that the total length is known in advance.
    fn chunk_head(&self, size: usize, signature: &str) -> String {
        match self.mode.is_signed_by_chunk() {
            true => format!("{size:06x};chunk-signature={signature}\r\n"),
            false => format!("{size:06x}\r\n"),
        }
    }

    fn trailer(&self, checksum: &str, signature: &str) -> String {
        match self.mode {
            Mode::ChunksAndTrailer => {
                format!("x-amz-checksum-crc32:{checksum}\r\nx-amz-trailer-signature:{signature}\r\n")
            }
            Mode::UnsignedTrailer => format!("x-amz-checksum-crc32:{checksum}\r\n"),
            _ => String::new(),
        }
    }

    /// The length of the body as it is sent: with the heads of its chunks, and its trailer.
    fn sent_length(&self, length: u64, crc: &str) -> u64 {
        if !self.mode.is_chunked() {
            return length;
        }
        let chunk_head = |size: usize| self.chunk_head(size, &no_signature()).len() as u64;
        let trailer = self.trailer(crc, &no_signature()).len() as u64;
        length + length.div_ceil(PIECE as u64) * (chunk_head(PIECE) + 2) + chunk_head(0) + trailer + 2
    }

    /// A piece of the body as it is sent: a chunk with its head, if there are chunks.
    fn wrapped(&self, mut piece: Vec<u8>, is_middle: bool, signatures: &mut Signatures) -> Vec<u8> {
        let is_wrong = |wrong: Wrong| is_middle && self.wrong == wrong;
        if self.mode.is_signed_by_chunk() {
            signatures.add_chunk(&piece);
        }
        if is_wrong(Wrong::Byte) {
            piece[9] ^= 1;
        }
        if !self.mode.is_chunked() {
            return piece;
        }
        let signature = if is_wrong(Wrong::ChunkSignature) { &no_signature() } else { &signatures.last };
        [self.chunk_head(piece.len(), signature).as_bytes(), &piece, b"\r\n"].concat()
    }

    /// The last, empty chunk, and the trailer.
    fn end(&self, crc: &str, signatures: &mut Signatures) -> String {
        if self.mode.is_signed_by_chunk() {
            signatures.add_chunk(b"");
        }
        let checksum = if self.wrong == Wrong::Trailer { "AAAAAA==" } else { crc };
        let signature = match self.wrong {
            Wrong::TrailerSignature => no_signature(),
            _ => signatures.of_trailer(checksum),
        };
        format!("{}{}\r\n", self.chunk_head(0, &signatures.last), self.trailer(checksum, &signature))
    }
}

pub async fn connect(endpoint: &str) -> TcpStream {
    TcpStream::connect(endpoint.strip_prefix("http://").expect("an address")).await.expect("the server accepts it")
}

pub async fn answer(line: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(line.read_u8().await.expect("the server answers"));
    }
    let head = String::from_utf8(head).expect("heads are text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let headers: BTreeMap<String, String> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    line.read_exact(&mut body).await.expect("the server answers");
    Answer { status, headers, body: String::from_utf8(body).expect("answers to uploads are text") }
}
