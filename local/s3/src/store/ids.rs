//! The IDs of versions and uploads, in their order.

use time::OffsetDateTime;

/// The generator of version IDs. Each is greater than all before it, so that a list can continue after a version that
/// no longer exists.
#[derive(Debug, Default)]
pub(crate) struct Ids(std::sync::atomic::AtomicU64);

impl Ids {
    pub(crate) fn next(&self) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or_default();
        let before = self.0.fetch_update(Relaxed, Relaxed, |last| Some(now.max(last + 1))).unwrap_or_default();
        format!("{:016x}{:016x}", now.max(before + 1), fastrand::u64(..))
    }

    /// Takes note of an ID from before this server started: the clock may have gone back since.
    pub(super) fn seen(&self, id: &str) {
        self.0.fetch_max(place(id).unwrap_or_default(), std::sync::atomic::Ordering::Relaxed);
    }
}

/// The position of an ID in the order of all IDs; `None` for the null ID.
pub(crate) fn place(id: &str) -> Option<u64> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { u64::from_str_radix(&id[..16], 16).ok() } else { None }
}

/// The part of an upload ID that is an ID of [`Ids`], by which uploads are in order.
pub(super) fn upload_order(id: &str) -> &str {
    id.get(..32).unwrap_or(id)
}
