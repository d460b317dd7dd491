//! Rates of calls: measuring them, and a table of several servers.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;

use crate::{CLIENTS, WHILE};

/// The names of the operations, and their calls per second.
pub type Rates = Vec<(&'static str, f64)>;

/// Returns how many calls per second many concurrent clients complete.
pub async fn rate<F>(call: impl Fn(u64) -> F) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let count = AtomicU64::new(0);
    let begun = Instant::now();
    let client = || async {
        while begun.elapsed() < WHILE {
            let number = count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(call(number)).await??;
        }
        Ok::<_, anyhow::Error>(())
    };
    futures::future::try_join_all((0..CLIENTS).map(|_| client())).await?;
    Ok(count.into_inner() as f64 / begun.elapsed().as_secs_f64())
}

/// Prints a row for each operation and a column for each server. All servers have the same operations.
pub fn print(servers: &[(&str, Rates)]) {
    let mut head = format!("{:<20}", "");
    for (name, _) in servers {
        head += &format!("{name:>14}");
    }
    println!("{head}   requests a second, {CLIENTS} clients");
    let operations = servers.first().map(|(_, rates)| rates.as_slice()).unwrap_or_default();
    for (row, (operation, _)) in operations.iter().enumerate() {
        let rates: String = servers.iter().map(|(_, rates)| format!("{:>14.0}", rates[row].1)).collect();
        println!("{operation:<20}{rates}");
    }
}
