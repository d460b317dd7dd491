//! The pages of a query and of a scan.

use dynoxide::actions::query::QueryResponse;
use dynoxide::actions::scan::ScanResponse;
use serde::Serialize;

/// The response of `Query` or `Scan`.
pub(super) trait Page: Serialize {
    /// The number of rows read for the page.
    fn rows(&mut self) -> &mut usize;
    /// Whether there may be another page.
    fn has_next(&self) -> bool;
}

impl Page for QueryResponse {
    fn rows(&mut self) -> &mut usize {
        &mut self.scanned_count
    }

    fn has_next(&self) -> bool {
        self.last_evaluated_key.is_some()
    }
}

impl Page for ScanResponse {
    fn rows(&mut self) -> &mut usize {
        &mut self.scanned_count
    }

    fn has_next(&self) -> bool {
        self.last_evaluated_key.is_some()
    }
}
