//! Acknowledged writes survive `kill -9` at any moment, and a write that cannot be stored is not acknowledged.

mod acknowledgement;
mod damage;
mod full_disk;
mod kinds;
mod processes;
mod regions;
