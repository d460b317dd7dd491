//! Signing in with every kind of faulty configuration: the first line reports what failed and why, the hint is the
//! command to run.

mod case;
mod configuration;
mod console;
mod credential_process;
mod credentials;
mod network;
mod roles;
mod servers;
mod sso;
