//! The size of a resource, as far as a list tells it or one more call does.

/// What a resource holds or runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Size {
    /// Nothing that is counted.
    #[default]
    None,
    /// Objects or rows.
    Items {
        /// Their number.
        count: u64,
        /// Their size.
        bytes: u64,
        /// Whether there are more than were counted.
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
    /// A load balancer, by the number of its zones.
    Balancer {
        /// The number of its zones.
        zones: usize,
    },
    /// An alarm, by the number of metrics that it watches.
    Alarm {
        /// The number of its metrics.
        metrics: u32,
    },
}
