//! The real ports of load balancers, held from the moment an answer promises one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, MutexGuard};

/// What a load balancer would like to have.
const FAVOURITE: u16 = 8080;

/// The ports that are taken.
#[derive(Default)]
pub struct Ports(Mutex<BTreeMap<u16, TcpListener>>);

impl Ports {
    /// Takes a port: the one it was before, or a well-known one, or any free one.
    pub fn reserve(&self, before: Option<u16>) -> Option<u16> {
        let wishes = [before.unwrap_or(FAVOURITE), 0];
        let listener = wishes.into_iter().find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())?;
        listener.set_nonblocking(true).ok()?;
        let port = listener.local_addr().ok()?.port();
        self.held().insert(port, listener);
        Some(port)
    }

    /// The socket of a port that is taken.
    pub fn socket(&self, port: u16) -> Option<TcpListener> {
        self.held().get(&port)?.try_clone().ok()
    }

    /// Gives a port back.
    pub fn release(&self, port: u16) {
        self.held().remove(&port);
    }

    /// Gives all ports back.
    pub fn release_all(&self) {
        self.held().clear();
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u16, TcpListener>> {
        self.0.lock().expect("nothing panics while it holds the ports")
    }
}

/// A port that is free now, for a process that binds it itself.
pub fn free() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether a port is free now.
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
        // Whether it is free afterwards is for the other tests of this machine to decide as well.
        ports.release_all();
    }
}
