//! Clients of a service that must not notice its changes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use testkit::eventually;
use tokio::task::JoinSet;

/// Clients that send requests without a pause, half of them over a new connection each time.
pub struct Crowd {
    url: String,
    enough: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    people: JoinSet<Vec<String>>,
}

impl Crowd {
    pub fn gather(url: &str) -> Crowd {
        let enough = Arc::new(AtomicBool::new(false));
        let (asked, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut people = JoinSet::new();
        for idle in [0, 0, 1, 1] {
            let (enough, asked, lost) = (Arc::clone(&enough), Arc::clone(&asked), Arc::clone(&lost));
            let url = format!("{url}/pid");
            let client = reqwest::Client::builder().pool_max_idle_per_host(idle).build().expect("a client can be made");
            people.spawn(async move {
                let mut complaints = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let complaint = match client.get(&url).send().await {
                        Ok(answer) if answer.status() == 200 => None,
                        Ok(answer) => Some(answer.status().to_string()),
                        Err(error) => Some(format!("{error:?}")),
                    };
                    lost.fetch_add(usize::from(complaint.is_some()), Ordering::Relaxed);
                    complaints.extend(complaint);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                complaints
            });
        }
        Crowd { url: url.to_owned(), enough, asked, lost, people }
    }

    /// How many requests were sent so far, and how many of them failed.
    pub fn counts(&self) -> (usize, usize) {
        (self.asked.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    /// Ends the clients, whatever answers they got.
    pub async fn disperse(self) {
        self.enough.store(true, Ordering::Relaxed);
        self.people.join_all().await;
    }

    /// Waits until more requests have been answered.
    pub async fn some_more(&self) {
        let enough = self.asked.load(Ordering::Relaxed) + 100;
        eventually("requests", async || (self.asked.load(Ordering::Relaxed) > enough).then_some(())).await;
    }

    /// Returns the service's answer for a path.
    pub async fn get(&self, path: &str) -> String {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.expect("an answer");
        answer.text().await.expect("a text")
    }

    pub async fn go_home(self) {
        self.some_more().await;
        self.enough.store(true, Ordering::Relaxed);
        let complaints = self.people.join_all().await.concat();
        let asked = self.asked.load(Ordering::Relaxed);
        assert!(complaints.is_empty(), "{} of {asked} requests failed: {:?}", complaints.len(), complaints.first());
    }
}
