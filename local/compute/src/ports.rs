//! The local ports of load balancers, bound from the moment a response contains one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use parking_lot::{Mutex, MutexGuard};

/// The port that the first load balancer prefers.
pub const FAVOURITE: u16 = 8080;

/// The reserved ports.
#[derive(Default)]
pub struct Ports(Mutex<BTreeMap<u16, TcpListener>>);

impl Ports {
    /// Reserves a port: the previous one, or without one the preferred one; if that is taken, any free port.
    pub fn reserve(&self, before: Option<u16>) -> Option<u16> {
        let wishes = [before.unwrap_or(FAVOURITE), 0];
        let listener = wishes.into_iter().find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())?;
        listener.set_nonblocking(true).ok()?;
        let port = listener.local_addr().ok()?.port();
        self.held().insert(port, listener);
        Some(port)
    }

    /// Returns the socket of a reserved port.
    pub fn socket(&self, port: u16) -> Option<TcpListener> {
        self.held().get(&port)?.try_clone().ok()
    }

    /// Releases a port.
    pub fn release(&self, port: u16) {
        self.held().remove(&port);
    }

    /// Releases all ports.
    pub fn release_all(&self) {
        self.held().clear();
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u16, TcpListener>> {
        self.0.lock()
    }
}

/// Returns a port that is free now, for a process that binds it itself.
pub fn free() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Returns whether a port is free now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_held_until_it_is_given_back_and_can_be_had_again() {
        let ports = Ports::default();
        let wanted = free().unwrap();
        assert_eq!(ports.reserve(Some(wanted)), Some(wanted));
        assert!(!is_free(wanted));
        assert_ne!(ports.reserve(Some(wanted)), Some(wanted));
        // Do not check that the port is free afterwards: other tests on this machine may take it.
        ports.release_all();
    }
}
