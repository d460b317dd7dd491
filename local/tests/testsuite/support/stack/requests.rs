//! Requests to the load balancer and to the metadata of instances.

use serde_json::Value;
use testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TestCompute;

/// An answer of a service.
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl TestCompute {
    pub async fn another_protocol_is_carried_both_ways(&self, address: &str) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = "GET /upgrade HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: echo"), "{answer}");
        for word in ["one", "another"] {
            stream.write_all(word.as_bytes()).await.unwrap();
            let mut back = vec![0; word.len()];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, word.as_bytes());
        }
    }

    pub async fn metadata_needs_a_token_and_gives_credentials(&self, endpoint: &str) {
        let address = endpoint.strip_prefix("http://").unwrap();
        assert_eq!(self.get(address, "/latest/meta-data/instance-id").await.status, 401);
        let new_token = async |life: &str| self.raw(address, "PUT", "/latest/api/token", life, "").await.unwrap();
        for wrong in
            ["", "X-aws-ec2-metadata-token-ttl-seconds: 0\r\n", "X-aws-ec2-metadata-token-ttl-seconds: 21601\r\n"]
        {
            assert_eq!(new_token(wrong).await.status, 400, "{wrong}");
        }
        // A request through a proxy, or with another host name, does not come from a program of the instance.
        let life = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
        assert_eq!(new_token(&format!("{life}X-Forwarded-For: 127.0.0.1\r\n")).await.status, 403);
        for (host, status) in [("evil.example", 403), ("evil.example:80", 403), ("169.254.169.254", 401)] {
            let line = format!("GET /latest/meta-data/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            assert_eq!(self.bytes(address, line.as_bytes()).await.unwrap().status, status, "{host}");
        }
        let brief = new_token("X-aws-ec2-metadata-token-ttl-seconds: 1\r\n").await.body;
        let brief = format!("X-aws-ec2-metadata-token: {brief}\r\n");
        until("the end of the token", async || {
            self.raw(address, "GET", "/latest/meta-data/instance-id", &brief, "").await.unwrap().status == 401
        })
        .await;
        let token = self
            .raw(address, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n", "")
            .await
            .unwrap();
        let header = format!("X-aws-ec2-metadata-token: {}\r\n", token.body);
        let ask = async |path: &str| self.raw(address, "GET", path, &header, "").await.unwrap().body;
        assert_eq!(ask("/latest/meta-data/placement/region").await, "us-east-1");
        assert_eq!(ask("/latest/meta-data/iam/security-credentials/").await, "web-role");
        let id = ask("/latest/meta-data/instance-id").await;
        let credentials: Value =
            serde_json::from_str(&ask("/latest/meta-data/iam/security-credentials/web-role").await).unwrap();
        assert_eq!(credentials["Token"], format!("web-role/{id}"));
        assert_eq!(credentials["Code"], "Success");
        assert_eq!(self.raw(address, "GET", "/latest/meta-data/nothing", &header, "").await.unwrap().status, 404);
    }

    pub async fn get(&self, address: &str, path: &str) -> Reply {
        self.send(address, "GET", path, "").await
    }

    pub async fn send(&self, address: &str, method: &str, path: &str, body: &str) -> Reply {
        self.raw(address, method, path, "", body).await.unwrap_or_else(|| panic!("{address} does not answer"))
    }

    pub async fn get_or_refused(&self, address: &str, path: &str) -> Option<Reply> {
        self.raw(address, "GET", path, "", "").await
    }

    pub async fn bytes(&self, address: &str, request: &[u8]) -> Option<Reply> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Reply { status, body: body.to_owned() })
    }

    pub async fn raw(&self, address: &str, method: &str, path: &str, headers: &str, body: &str) -> Option<Reply> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        self.bytes(address, request.as_bytes()).await
    }
}
