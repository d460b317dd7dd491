//! The local ports of load balancers, bound from the moment a response contains one, and those of instances, which their
//! programs bind.

use std::collections::BTreeMap;
use std::io;
use std::iter::repeat_with;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;

use parking_lot::{Mutex, MutexGuard};

/// The port that the first load balancer prefers.
pub const FAVOURITE: u16 = 8080;

/// The reserved ports, each with its lease, unless it was free without one.
#[derive(Default)]
pub struct Ports(Mutex<BTreeMap<u16, (TcpListener, Option<Lease>)>>);

impl Ports {
    /// Reserves a port: the previous one, or without one the preferred one; if that is taken, any free port.
    pub fn reserve(&self, before: Option<u16>) -> Option<u16> {
        let wish = before.unwrap_or(FAVOURITE);
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        let leased = |wish| {
            let lease = Lease::new(wish).ok()?;
            Some((bind(lease.port)?, Some(lease)))
        };
        let (listener, lease) = match bind(wish).filter(|_| !LEASED.contains(&wish)) {
            Some(listener) => (listener, None),
            None => leased(LEASED.contains(&wish).then_some(wish))?,
        };
        listener.set_nonblocking(true).ok()?;
        let port = listener.local_addr().ok()?.port();
        self.held().insert(port, (listener, lease));
        Some(port)
    }

    /// Returns the socket of a reserved port.
    pub fn socket(&self, port: u16) -> Option<TcpListener> {
        self.held().get(&port)?.0.try_clone().ok()
    }

    /// Releases a port.
    pub fn release(&self, port: u16) {
        self.held().remove(&port);
    }

    /// Releases all ports.
    pub fn release_all(&self) {
        self.held().clear();
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u16, (TcpListener, Option<Lease>)>> {
        self.0.lock()
    }
}

/// The ports to lease. No system takes one of these for a connection or for a listener at port 0, so that a port stays free
/// until the program of an instance listens, and while that or the local AWS is restarted.
const LEASED: RangeInclusive<u16> = 10_000..=32_767;
/// How many ports are tried.
const TRIES: usize = 1000;

/// A port that is bound later, such as by the program of an instance.
pub struct Lease {
    pub port: u16,
    /// A UDP socket with the same number, by which the local AWSs of this machine know the ports of each other.
    _lock: UdpSocket,
}

impl Lease {
    /// Leases the previous port; if that is taken, or without one, any free port.
    pub fn new(before: Option<u16>) -> io::Result<Lease> {
        let any = repeat_with(|| fastrand::u16(LEASED)).take(TRIES);
        let none = || io::Error::new(io::ErrorKind::AddrInUse, "no port is free for another instance");
        before.into_iter().chain(any).find_map(Lease::of).ok_or_else(none)
    }

    fn of(port: u16) -> Option<Lease> {
        let lock = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        is_free(port).then_some(Lease { port, _lock: lock })
    }
}

/// Returns whether a port is free now.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_held_until_it_is_given_back_and_can_be_had_again() {
        let ports = Ports::default();
        let wanted = Lease::new(None).unwrap().port;
        assert_eq!(ports.reserve(Some(wanted)), Some(wanted));
        assert!(!is_free(wanted));
        assert_ne!(ports.reserve(Some(wanted)), Some(wanted));
        // Do not check that the port is free afterwards: other tests on this machine may take it.
        ports.release_all();
    }

    #[test]
    fn a_leased_port_is_given_to_one_instance_at_a_time() {
        let first = Lease::new(None).unwrap();
        assert!(LEASED.contains(&first.port));
        let (again, another) = (Lease::new(Some(first.port)).unwrap(), Lease::new(None).unwrap());
        assert!(again.port != first.port && another.port != first.port && another.port != again.port);
        // A program that uses the port excludes the others, too.
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, first.port)).expect("the lease leaves TCP to the program");
        let port = first.port;
        drop(first);
        assert_ne!(Lease::new(Some(port)).unwrap().port, port);
        drop(listener);
    }
}
