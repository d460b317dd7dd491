//! Acknowledged writes survive `kill -9` at any moment, and a write that cannot be stored is not acknowledged.

mod kinds;
#[path = "../support/process.rs"]
mod process;

mod acknowledgement;
mod damage;
mod full_disk;
mod processes;
mod regions;
