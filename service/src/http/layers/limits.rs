//! Limits on the size and duration of requests.

use std::time::Duration;

/// Limits on the size and duration of requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The maximum number of requests in progress.
    pub requests: usize,
    /// The maximum number of open connections.
    pub connections: usize,
    /// The maximum number of idle connections. Beyond it, the one that has been idle longest is closed.
    pub silent: usize,
    /// The maximum number of requests waiting for their bodies. Beyond it, the one that has waited longest is aborted.
    pub senders: usize,
    /// The maximum number of connections with slow readers. Beyond it, the one that has been slow longest is closed.
    pub readers: usize,
    /// The time limit for the headers of a connection's next request.
    pub head: Duration,
    /// The time limit for a request's body.
    pub body: Duration,
    /// The time limit for answering a complete request.
    pub whole: Duration,
    /// The time limit for reading the next 64 KiB of an answer.
    pub reading: Duration,
    /// The time limit for requests in progress after the signal to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 256,
            // Below the usual limit of 1,024 open files.
            connections: 800,
            // Together with slow readers these leave a quarter of the connections to requests in progress. A load
            // balancer keeps fewer idle connections than this.
            silent: 400,
            senders: 100,
            readers: 100,
            // Longer than a load balancer keeps an idle connection (60 s), so that it never sends into a closing one.
            head: Duration::from_secs(75),
            body: Duration::from_secs(10),
            // Longer than the 10 s that a call to AWS may take with all its retries.
            whole: Duration::from_secs(15),
            reading: Duration::from_secs(30),
            // Longer than a whole request, shorter than the deregistration delay of 30 s, after which the instance is
            // terminated.
            drain: Duration::from_secs(20),
        }
    }
}
