//! How much a request may be, and how long it may take.

use std::time::Duration;

/// How much a request may be, and how long it may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many requests may be under way at once.
    pub requests: usize,
    /// How many connections may be open at once.
    pub connections: usize,
    /// How many of them may be open without a request. One more closes the one that has said nothing for the longest.
    pub silent: usize,
    /// How many requests may be waiting for their bodies. One more ends the one that has waited the longest.
    pub senders: usize,
    /// How many connections may be waiting until more of an answer is read. One more closes the one that has waited the
    /// longest.
    pub readers: usize,
    /// How long the next request of a connection may take to begin and to send its headers.
    pub head: Duration,
    /// How long a request may take to send its body.
    pub body: Duration,
    /// How long a request that is all there may take to its answer.
    pub whole: Duration,
    /// How long a client may take to read the next 64 KiB of an answer.
    pub reading: Duration,
    /// How long requests in progress may take after the signal to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 256,
            // Below the 1,024 files that a process may usually open.
            connections: 800,
            // Together with those that are waited for, they leave a quarter of the connections to requests that are being
            // answered. A load balancer keeps fewer silent ones than this.
            silent: 400,
            senders: 100,
            readers: 100,
            // Longer than a load balancer keeps a silent connection (60 s), so that it never sends into a closing one.
            head: Duration::from_secs(75),
            body: Duration::from_secs(10),
            // Longer than the 10 s that a call to AWS may take with all its repetitions.
            whole: Duration::from_secs(15),
            reading: Duration::from_secs(30),
            // Longer than a whole request, shorter than the deregistration delay of 30 s after which the machine goes.
            drain: Duration::from_secs(20),
        }
    }
}
