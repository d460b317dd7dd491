//! The size of a resource, if a list or one more call returns it.

/// The contents or the machines of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Size {
    /// Not counted.
    #[default]
    None,
    /// Objects or rows.
    Items {
        /// Their number.
        count: u64,
        /// Their size.
        bytes: u64,
        /// Whether the count stopped before the end.
        more: bool,
    },
    /// Machines, by type.
    Machines {
        /// The type of each machine.
        types: Vec<String>,
        /// The name of the template that they are launched from.
        template: String,
    },
    /// The disk of each machine that is launched from a template, in GB.
    Disk(u32),
    /// A load balancer, by the number of its public addresses.
    Balancer {
        /// The number of its public addresses: one in each zone, unless it is internal.
        addresses: usize,
    },
    /// A public address without an instance. With one, it is part of the instance's price.
    IdleAddress,
    /// An alarm, by the number of metrics that it watches.
    Alarm {
        /// The number of its metrics.
        metrics: u32,
    },
}
