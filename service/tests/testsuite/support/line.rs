//! A line between a browser and a server that can be cut: connections then end, as if there were no network.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A line to one server.
pub struct Line {
    pub url: String,
    is_up: watch::Sender<bool>,
}

impl Line {
    pub async fn to(server: &str) -> Line {
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_up, watched) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server.clone(), watched.clone()));
            }
        });
        Line { url, is_up }
    }

    pub fn cut(&self) {
        self.is_up.send_replace(false);
    }

    pub fn mend(&self) {
        self.is_up.send_replace(true);
    }
}

/// Connects a client until the line is cut.
async fn connect(mut client: TcpStream, server: String, mut is_up: watch::Receiver<bool>) {
    if !*is_up.borrow_and_update() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = is_up.changed() => {}
    }
}
