//! The user of a unit.

/// The user that a service runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// `User=`, if it is set.
    name: Option<String>,
    /// `DynamicUser=`.
    is_dynamic: bool,
    ambient: Vec<String>,
    /// `None` means that capabilities are not bounded.
    bound: Option<Vec<String>>,
}

/// The capability to listen below [`UNPRIVILEGED`] without being root.
const BIND: &str = "CAP_NET_BIND_SERVICE";

/// The first port that needs no privileges (`net.ipv4.ip_unprivileged_port_start`).
pub const UNPRIVILEGED: u16 = 1024;

impl User {
    /// Returns whether it may listen on a port (man systemd.exec, "AmbientCapabilities"; man capabilities).
    pub fn may_bind(&self, port: u16) -> bool {
        let is_root = !self.is_dynamic && matches!(self.name.as_deref(), None | Some("root" | "0"));
        let has = |list: &[String]| list.iter().any(|one| one == BIND);
        let is_bounded = self.bound.as_deref().is_some_and(|bound| !has(bound));
        port >= UNPRIVILEGED || (!is_bounded && (is_root || has(&self.ambient)))
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        let add = |to: &mut Vec<String>| match value {
            "" => to.clear(),
            names => to.extend(names.split_whitespace().map(str::to_ascii_uppercase)),
        };
        match key {
            "AmbientCapabilities" => add(&mut self.ambient),
            "CapabilityBoundingSet" => add(self.bound.get_or_insert_default()),
            "DynamicUser" => {
                self.is_dynamic = matches!(value.to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on")
            }
            _ => self.name = Some(value.to_owned()).filter(|name| !name.is_empty()),
        }
    }
}
