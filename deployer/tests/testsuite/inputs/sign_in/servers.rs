//! Servers that stand in for AWS, an access portal or a captive portal.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

/// Answers a request, given as its first line and its body.
pub type Answers = fn(&str) -> Answer;

pub enum Answer {
    /// Status, content type, body.
    Says(u16, &'static str, String),
    /// No answer until the client disconnects.
    Silence,
}

/// Starts a server, which ends with the test, and returns its address.
pub fn serve(answers: impl Fn(&str) -> Answer + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            std::thread::spawn(move || {
                let _ = answer(stream, answers);
            });
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, answers: impl Fn(&str) -> Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(bytes) = header.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.push_str(&String::from_utf8_lossy(&body));
    match answers(&request) {
        Answer::Silence => std::thread::sleep(Duration::from_secs(600)),
        Answer::Says(status, kind, text) => write!(
            stream,
            "HTTP/1.1 {status} \r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )?,
    }
    Ok(())
}

/// An address at which no server listens. A port that was free a moment ago could be taken by another test.
pub const CLOSED: &str = "http://127.0.0.1:1";

pub fn xml(status: u16, code: &str, message: &str) -> Answer {
    let text = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    Answer::Says(status, "text/xml", text)
}

pub fn json(status: u16, text: &str) -> Answer {
    Answer::Says(status, "application/json", text.into())
}

/// A server that identifies every caller and supports nothing else.
pub fn accepts_every_key(request: &str) -> Answer {
    match request {
        _ if request.contains("GetCallerIdentity") => Answer::Says(
            200,
            "text/xml",
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::111122223333:user/ada</Arn><UserId>A</UserId><Account>111122223333</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
                .into(),
        ),
        _ if request.starts_with("GET /creds") => json(
            200,
            "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"2099-01-01T00:00:00Z\"}",
        ),
        _ => json(501, "{\"__type\":\"UnknownOperationException\",\"message\":\"no\"}"),
    }
}
