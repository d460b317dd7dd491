//! The commands in the life of a stack.

/// A command, and the state from which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From nothing.
    Up,
    /// From a deployed stack whose resources have lost their owner.
    Adopt,
    /// From a deployed stack to another description.
    Change,
    /// From a deployed stack to another port of the service, so that everything behind the load balancer is new.
    Move,
    /// From a deployed stack to an internal load balancer, so that everything behind it is new, too.
    Inside,
    /// From nothing to an instance without a load balancer.
    Direct,
    /// From an instance without a load balancer.
    Undirect,
    /// From nothing to a stack whose data is protected.
    Guard,
    /// From a stack whose data is protected to a description without its function and its service.
    Shrink,
    /// From a deployed stack to one with every optional line that makes it safer.
    Harden,
    /// From a stack with these lines to one without.
    Soften,
    /// From a service in its second release to the first.
    Rollback,
    /// From a function in its second release, with other code and another configuration, to the first.
    RollbackFunction,
    /// From a deployed stack to one whose services are off.
    Pause,
    /// From a paused stack.
    Resume,
    /// From a deployed stack with an object in a bucket.
    Down,
    /// From nothing to a service at a domain.
    Serve,
    /// From a service at a domain to one without.
    Plain,
    /// From a service at a domain.
    Close,
    /// From nothing to a service in a network of its own.
    Settle,
    /// From a service in a network of its own.
    Leave,
    /// From nothing to services that share a load balancer.
    Share,
    /// From these services to another path and port of one.
    Reroute,
    /// From these services to exchanged paths, and so priorities, of two.
    Swap,
    /// From these services to one fewer.
    Part,
    /// From services that share a public load balancer to an internal one, and so to new target groups and rules of all.
    Withdraw,
    /// From services that share an internal load balancer to a public one.
    Publish,
    /// From services that share a load balancer.
    Unshare,
}

impl Phase {
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Phase::Up
            | Phase::Guard
            | Phase::Change
            | Phase::Shrink
            | Phase::Soften
            | Phase::Settle
            | Phase::Direct => &["up", "--yes", "--no-wait"],
            // Its lifecycle deletes objects.
            Phase::Harden => &["up", "--yes", "--no-wait", "--expire", "bucket.images"],
            // The previous set is only deleted once the new one is healthy.
            Phase::Move | Phase::Inside => &["up", "--yes"],
            // Without waiting, HTTPS is left to the next `up`.
            Phase::Serve | Phase::Plain => &["up", "--yes"],
            // Without waiting, requests are left to the first service until the next `up`.
            Phase::Share | Phase::Reroute | Phase::Swap | Phase::Part => &["up", "--yes"],
            // The previous rule and target group of each service are only deleted once the new ones are healthy.
            Phase::Withdraw | Phase::Publish => &["up", "--yes"],
            Phase::Rollback => &["rollback", "web", "--yes", "--no-wait"],
            Phase::RollbackFunction => &["rollback", "labeler", "--yes"],
            Phase::Adopt => &["adopt", "--yes"],
            Phase::Pause => &["pause", "--yes"],
            Phase::Resume => &["resume", "--yes", "--no-wait"],
            Phase::Down | Phase::Close | Phase::Leave | Phase::Unshare | Phase::Undirect => &["down", "--yes"],
        }
    }

    /// The name of the phase in tables.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Up => "up",
            Phase::Change => "up after a change",
            Phase::Move => "up to another port",
            Phase::Inside => "up to an internal load balancer",
            Phase::Guard => "up with protected data",
            Phase::Shrink => "up to less",
            Phase::Harden => "up with options",
            Phase::Soften => "up without options",
            Phase::Rollback => "rollback",
            Phase::RollbackFunction => "rollback of a function",
            Phase::Adopt => "adopt",
            Phase::Pause => "pause",
            Phase::Resume => "resume",
            Phase::Down => "down",
            Phase::Serve => "up at a domain",
            Phase::Plain => "up without its domain",
            Phase::Close => "down at a domain",
            Phase::Direct => "up without a load balancer",
            Phase::Undirect => "down without a load balancer",
            Phase::Settle => "up in a network of its own",
            Phase::Leave => "down in a network of its own",
            Phase::Share => "up behind one load balancer",
            Phase::Reroute => "up to another path",
            Phase::Swap => "up with exchanged paths",
            Phase::Part => "up with one service less",
            Phase::Withdraw => "up behind an internal load balancer",
            Phase::Publish => "up behind a public load balancer",
            Phase::Unshare => "down behind one load balancer",
        }
    }
}
