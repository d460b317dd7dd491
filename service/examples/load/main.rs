//! Measures the release build of the service, with a constant stand-in for DynamoDB, and prints the tables of
//! docs/performance.md.
//!
//! ```sh
//! cargo build --release --bin service
//! cargo run --release --example load                 # every case; or some, by a part of their names
//! cargo run --release --example load attack          # 200 clients that each request another post of 100 MB
//! cargo run --release --example load sdk             # the SDK's client, which the service does without
//! ```
//!
//! It measures the program built beside this one, or the one that `SERVICE` names. The processor time of its process is
//! the steady figure on a noisy machine: latency includes the load and the stand-in.

mod attack;
mod cases;
mod fire;
mod sdk;
mod service;
mod stand_in;

use anyhow::Result;

use crate::cases::CASES;
use crate::service::Service;
use crate::stand_in::StandIn;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("stand-in") => return stand_in::serve(),
        Some("large-stand-in") => return stand_in::serve_large(),
        Some("attack") => return attack::run(&StandIn::large()?),
        Some("sdk") => return sdk::run(&StandIn::start()?),
        _ => (),
    }
    let stand_in = StandIn::start()?;
    load(&stand_in, &words)?;
    memory(&stand_in)
}

/// The cost of each case, each measured with a fresh service.
fn load(stand_in: &StandIn, wanted: &[String]) -> Result<()> {
    println!(
        "| request | CPU s per 1,000 | target | original | requests/s per core | p50 | p99 |\n|---|---|---|---|---|---|---|"
    );
    for case in CASES.iter().filter(|case| wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word))) {
        let service = Service::start(&stand_in.endpoint)?;
        let request = case.request(&service)?;
        let fire = |manner| fire::fire(service.address, &request, manner);
        // Warms up connections, caches and branch prediction.
        fire(fire::WARM_UP)?;
        let before = service.used()?;
        let fired = fire(fire::MEASURED)?;
        let per_request = (service.used()? - before).as_secs_f64() / fired.answers() as f64;
        let calm = fire(fire::CALM)?;
        println!(
            "| {} | {:.3} | {} | {} | {:.0} | {:.2} ms | {:.2} ms |",
            case.name,
            per_request * 1000.0,
            case.aim,
            case.original,
            1.0 / per_request,
            calm.percentile_ms(50),
            calm.percentile_ms(99),
        );
    }
    Ok(())
}

/// Measures memory, and the time to the first answer.
fn memory(stand_in: &StandIn) -> Result<()> {
    let mut starts = Vec::new();
    for _ in 0..20 {
        starts.push(Service::start(&stand_in.endpoint)?.answered_after);
    }
    starts.sort_unstable();
    let service = Service::start(&stand_in.endpoint)?;
    let idle = service.memory_mib("VmRSS:")?;
    for case in CASES {
        fire::fire(service.address, &case.request(&service)?, fire::WARM_UP)?;
    }
    let (peak, after) = (service.memory_mib("VmHWM:")?, service.memory_mib("VmRSS:")?);
    println!("\n| | | target | original |\n|---|---|---|---|");
    println!("| memory, idle | {idle:.1} MiB | 12 | 66 |");
    println!("| memory, the most while all of this went on | {peak:.1} MiB | 16 | 79 |");
    println!("| memory, after it | {after:.1} MiB | | |");
    println!("| start to first answer | {:.1} ms | 20 | 480 |", starts[starts.len() / 2].as_secs_f64() * 1000.0);
    Ok(())
}
