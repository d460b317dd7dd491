//! nginx as a plain proxy.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::process::{Process, kept};
use crate::waiting::until;

/// How long it may take until it listens.
const START: Duration = Duration::from_secs(10);

/// Checks that nginx is installed. Errors say how to install it.
pub fn find() -> Result<()> {
    let found = Command::new("nginx").arg("-v").stdin(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("nginx is not as it should be (nginx -v: {status}): apt install --reinstall nginx-light"),
        Err(error) => Err(error).context("nginx is not installed: apt install nginx-light"),
    }
}

/// A running nginx, which is stopped on drop.
pub struct Nginx {
    _process: Process,
    pub address: String,
    /// Removed after the process has ended.
    _dir: TempDir,
}

impl Nginx {
    /// Starts it as a proxy of one address.
    pub async fn start(behind: &str) -> Result<Nginx> {
        let dir = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let (file, log) = (dir.path().join("nginx.conf"), dir.path().join("nginx.log"));
        std::fs::write(&file, settings(dir.path(), &address, behind))?;
        let process = Process::start(kept("nginx")?.arg("-c").arg(&file).stderr(File::create(&log)?))?;
        until("the start of nginx", START, async || {
            let said = || format!("{address} does not answer. {}", std::fs::read_to_string(&log).unwrap_or_default());
            Ok(TcpStream::connect(&address).await.map(drop).map_err(|_| said()))
        })
        .await?;
        Ok(Nginx { _process: process, address, _dir: dir })
    }
}

fn settings(dir: &Path, address: &str, behind: &str) -> String {
    let dir = dir.display();
    format!(
        "daemon off; pid {dir}/nginx.pid; error_log stderr; worker_processes auto;
         events {{ worker_connections 1024; }}
         http {{
           access_log off;
           client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
           keepalive_requests 1000000000;
           upstream behind {{ server {behind}; keepalive 64; keepalive_requests 1000000000; }}
           server {{
             listen {address};
             location / {{
               proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             }}
           }}
         }}"
    )
}
