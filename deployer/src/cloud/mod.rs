//! The account of a stack: clients, sign-in, the meaning of refusals, and the lease.

pub mod aws;
pub mod dns;
pub mod domains;
pub mod health;
pub mod lease;
pub mod local_page;
pub mod logs;
pub mod partition;
pub mod remedies;
pub mod sample;
pub mod sign_in;
pub mod site;
pub mod stacks;
pub mod status;
pub mod stored_values;
pub mod usual;
pub mod why;
pub mod zones;
