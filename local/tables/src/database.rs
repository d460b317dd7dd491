//! The tables' database: dynoxide, and this crate's own tables in the same file.
//!
//! Guarantees: an acknowledged write survives killing the process, because SQLite has handed it to the operating
//! system. A change of a whole table happens entirely or not at all.

mod page;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use dynoxide::actions::query::QueryRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::{Database as Dynoxide, DynoxideError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, OptionalExtension, params};

use super::calls::{self, read, text};
use super::manifest::{Files, Left, Manifest};
use super::sums;

use page::Page;

type Result<T, E = DynoxideError> = std::result::Result<T, E>;

/// The characters of a path to percent-encode in SQLite's URIs.
const IN_URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// DynamoDB's table names cannot contain a colon.
const OWN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS \"::unfinished\" (table_name TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS \"::recovery\" (table_name TEXT PRIMARY KEY, days INTEGER NOT NULL, since REAL NOT NULL);
";

/// The number of rows to try first for a page.
const FEW: usize = 32;

/// A database in one file.
pub(super) struct Database {
    /// The connections are fields before the manifest, to be closed first: closing the last one moves the log into the
    /// database.
    side: Connection,
    dynoxide: Dynoxide,
    uri: String,
    manifest: Manifest,
    /// The number of rows on the last page of each table and index.
    page_rows: HashMap<(String, Option<String>), usize>,
    /// Whether a change of a table may have been left unfinished, such as when the disk was full.
    unsettled: bool,
}

/// The backups of a table: how many days they go back, and when they were enabled, in Unix time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recovery {
    pub days: u32,
    pub since: f64,
}

impl Database {
    pub(super) fn open(dir: &Path) -> anyhow::Result<Database> {
        std::fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
        let files = Files::in_dir(dir);
        let name = files.database.display().to_string();
        let (manifest, left) = Manifest::open(files)?;
        let path = name.as_str();
        // `unix-excl` keeps the data that connections share in memory instead of in a file, which a full disk could
        // refuse. The lock on the whole directory keeps other processes out.
        let uri = format!("file:{}?vfs=unix-excl", utf8_percent_encode(path, IN_URI));
        let broken = || format!("{name} is damaged");
        let dynoxide = open_dynoxide(&uri).with_context(broken)?;
        let side = Connection::open(&uri).with_context(broken)?;
        side.pragma_update(None, "synchronous", "NORMAL")?;
        sums::register(&side)?;
        if left == Left::Killed
            && let Err(fault) = check_structure(&side).and_then(|()| sums::check(&side))
        {
            // Closing them would write to files that may be needed for an investigation.
            std::mem::forget((side, dynoxide));
            return Err(fault.context(broken()));
        }
        let there = side.prepare("SELECT 1 FROM \"::unfinished\"").is_ok();
        if !there {
            side.execute_batch(OWN_TABLES).with_context(broken)?;
        }
        side.execute_batch(sums::TABLE).with_context(broken)?;
        let page_rows = HashMap::new();
        let mut database = Database { side, dynoxide, uri, manifest, page_rows, unsettled: true };
        database.settle().with_context(broken)?;
        database.manifest.note()?;
        Ok(database)
    }

    /// Reopens dynoxide on the same files, after a panic in the middle of a job.
    pub(super) fn reopen(&mut self) -> anyhow::Result<()> {
        self.dynoxide = open_dynoxide(&self.uri)?;
        self.unsettled = true;
        Ok(())
    }

    /// Removes expired items.
    pub(super) fn sweep(&mut self) {
        match self.dynoxide.sweep_ttl() {
            Ok(0) => (),
            Ok(_) => self.note(),
            Err(fault) => tracing::warn!(%fault, "items whose time is over were not removed"),
        }
    }

    /// Runs an operation that only reads.
    pub(super) fn look(&mut self, operation: &str, body: &str) -> Result<String> {
        match operation {
            "Query" => self.query(body),
            "Scan" => self.scan(body),
            _ => calls::call(&self.dynoxide, operation, body),
        }
    }

    /// Runs an operation that may change something.
    pub(super) fn change(&mut self, operation: &str, body: &str) -> Result<String> {
        if self.unsettled {
            self.settle()?;
        }
        let answer = match operation {
            "CreateTable" => self.create_table(body),
            "DeleteTable" => self.delete_table(body),
            "UpdateTable" => self.update_table(body),
            _ => calls::call(&self.dynoxide, operation, body),
        };
        self.note();
        answer
    }

    pub(super) fn recovery(&self, table: &str) -> Result<Option<Recovery>> {
        let found = self.side.query_row(
            "SELECT days, since FROM \"::recovery\" WHERE table_name = ?1",
            params![table],
            |row| Ok(Recovery { days: row.get(0)?, since: row.get(1)? }),
        );
        Ok(found.optional()?)
    }

    pub(super) fn recover(&mut self, table: &str, days: Option<u32>) -> Result<()> {
        match days {
            None => self.side.execute("DELETE FROM \"::recovery\" WHERE table_name = ?1", params![table])?,
            Some(days) => self.side.execute(
                "INSERT INTO \"::recovery\" VALUES (?1, ?2, ?3) ON CONFLICT (table_name) DO UPDATE SET days = ?2",
                params![table, days, seconds_now()],
            )?,
        };
        self.note();
        Ok(())
    }

    /// Returns the names of all tables, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let mut names = self.side.prepare_cached("SELECT table_name FROM _tables ORDER BY table_name")?;
        Ok(names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn has(&self, table: &str) -> Result<bool> {
        let mut found = self.side.prepare_cached("SELECT 1 FROM _tables WHERE table_name = ?1")?;
        Ok(found.exists(params![table])?)
    }

    /// Returns the name in the file that conflicts with a new table's: SQLite ignores the case of names.
    pub(super) fn in_the_way_of(&self, table: &str) -> Result<Option<String>> {
        if table.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_")) {
            return Ok(Some("sqlite_*".to_owned()));
        }
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
        let mut names = self.side.prepare_cached(sql)?;
        let name: Option<String> = names.query_row(params![table], |row| row.get(0)).optional()?;
        Ok(match name {
            Some(name) if name == table && self.has(table)? => None,
            name => name,
        })
    }

    /// dynoxide creates a table in several steps; an unfinished table must never be visible.
    fn create_table(&mut self, body: &str) -> Result<String> {
        let table = table_in(body);
        if self.has(&table)? {
            return calls::call(&self.dynoxide, "CreateTable", body);
        }
        self.begin(&table)?;
        let created = calls::call(&self.dynoxide, "CreateTable", body).and_then(|answer| {
            index_segments(&self.side, &table)?;
            sums::watch(&mut self.side)?;
            self.finish(&table)?;
            Ok(answer)
        });
        if created.is_err() {
            // Usually the call was refused before it changed anything.
            let refused = !self.has(&table).unwrap_or(true) && self.finish(&table).is_ok();
            self.settle_unless(refused);
        }
        created
    }

    /// dynoxide also deletes a table in several steps; a deletion that has begun is always completed.
    fn delete_table(&mut self, body: &str) -> Result<String> {
        let table = table_in(body);
        let sql = "SELECT 1 FROM _tables WHERE table_name = ?1 AND NOT coalesce(deletion_protection_enabled, 0)";
        if !self.side.prepare_cached(sql)?.exists(params![table])? {
            return calls::call(&self.dynoxide, "DeleteTable", body);
        }
        self.begin(&table)?;
        let deleted = calls::call(&self.dynoxide, "DeleteTable", body);
        let done = deleted.is_ok() && self.recover(&table, None).and_then(|()| self.finish(&table)).is_ok();
        self.settle_unless(done);
        deleted
    }

    /// A new index is a separate table in the file, which needs a checksum.
    fn update_table(&mut self, body: &str) -> Result<String> {
        let answer = calls::call(&self.dynoxide, "UpdateTable", body)?;
        sums::watch(&mut self.side)?;
        Ok(answer)
    }

    fn begin(&self, table: &str) -> Result<()> {
        self.side.execute("INSERT OR REPLACE INTO \"::unfinished\" VALUES (?1)", params![table])?;
        Ok(())
    }

    fn finish(&self, table: &str) -> Result<()> {
        self.side.execute("DELETE FROM \"::unfinished\" WHERE table_name = ?1", params![table])?;
        Ok(())
    }

    fn settle_unless(&mut self, settled: bool) {
        if !settled && let Err(fault) = self.settle() {
            tracing::warn!(%fault, "an unfinished table will be removed later");
        }
    }

    /// Removes the remains of unfinished tables, and creates missing indexes of the others.
    fn settle(&mut self) -> Result<()> {
        self.unsettled = true;
        let unfinished: Vec<String> = {
            let mut names = self.side.prepare("SELECT table_name FROM \"::unfinished\"")?;
            names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        };
        for table in &unfinished {
            self.remove(table)?;
        }
        if !unfinished.is_empty() {
            // dynoxide must forget them as well.
            self.dynoxide = open_dynoxide(&self.uri)?;
        }
        for table in self.names()? {
            index_segments(&self.side, &table)?;
        }
        sums::watch(&mut self.side)?;
        self.unsettled = false;
        Ok(())
    }

    fn remove(&mut self, table: &str) -> Result<()> {
        let transaction = self.side.transaction()?;
        let own: Vec<String> = {
            let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND (name = ?1 OR substr(name, 1, length(?1) + 2) = ?1 || '::')";
            let mut names = transaction.prepare(sql)?;
            names.query_map(params![table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        };
        for name in own {
            transaction.execute(&format!("DROP TABLE {}", quoted(&name)), [])?;
        }
        for kept in ["_tables", "::recovery", "::unfinished"] {
            transaction.execute(&format!("DELETE FROM {} WHERE table_name = ?1", quoted(kept)), params![table])?;
        }
        Ok(transaction.commit()?)
    }

    fn query(&mut self, body: &str) -> Result<String> {
        let request: QueryRequest = read(body)?;
        let of = (request.table_name, request.index_name);
        self.page(of, request.limit, |dynoxide, rows| {
            let mut request: QueryRequest = read(body)?;
            request.limit = Some(rows);
            dynoxide.query(request)
        })
    }

    fn scan(&mut self, body: &str) -> Result<String> {
        let request: ScanRequest = read(body)?;
        let of = (request.table_name, request.index_name);
        self.page(of, request.limit, |dynoxide, rows| {
            let mut request: ScanRequest = read(body)?;
            request.limit = Some(rows);
            dynoxide.scan(request)
        })
    }

    /// Returns a page of at most one megabyte. dynoxide reads all rows up to the limit before it measures them, so it
    /// is given a limit just large enough not to change the page: the cost of a page depends on its own size, not on
    /// the table's.
    fn page<P: Page>(
        &mut self,
        of: (String, Option<String>),
        limit: Option<usize>,
        read: impl Fn(&Dynoxide, usize) -> Result<P>,
    ) -> Result<String> {
        let mut rows = self.page_rows.get(&of).copied().unwrap_or(FEW);
        loop {
            let asked = limit.map_or(rows, |limit| limit.min(rows));
            let mut page = read(&self.dynoxide, asked)?;
            let rows_read = *page.rows();
            let is_cut = page.has_next() && rows_read >= asked;
            if !is_cut || Some(asked) == limit {
                if page.has_next() && !is_cut {
                    // dynoxide also counts the row that did not fit, which the next page counts again.
                    *page.rows() -= 1;
                    self.page_rows.insert(of, rows_read + rows_read / 8 + 1);
                }
                return text(&page);
            }
            rows = rows.saturating_mul(2);
        }
    }

    /// Updates the manifest. If that fails, the only consequence is that damage may go unnoticed.
    fn note(&mut self) {
        if let Err(fault) = self.manifest.note() {
            tracing::warn!(%fault, "the manifest of the tables could not be written");
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(fault) = self.manifest.closing() {
            tracing::warn!(%fault, "the tables are closed without a note of it");
        }
    }
}

fn open_dynoxide(uri: &str) -> Result<Dynoxide> {
    let dynoxide = Dynoxide::new(uri)?;
    // This also disables waiting for the disk after every write, which only matters in a power cut.
    dynoxide.disable_bulk_loading()?;
    Ok(dynoxide)
}

fn check_structure(side: &Connection) -> anyhow::Result<()> {
    let found: String = side.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        bail!("{found}");
    }
    Ok(())
}

/// Creates the index for parallel scans, which read rows in the order of their hashes.
fn index_segments(side: &Connection, table: &str) -> rusqlite::Result<()> {
    let index = quoted(&format!("{table}::segments"));
    side.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {index} ON {} (hash_prefix, pk, sk)", quoted(table)))
}

/// Quotes a name for SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table_in(body: &str) -> String {
    let input: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    input["TableName"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests;
