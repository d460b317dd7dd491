//! A checksum of the rows of every table, which triggers update in the transaction that changes a row.
//!
//! The write-ahead log has its own checksums, and the manifest has one of a cleanly closed database. This one detects
//! flipped bits in the rows of a database whose server was killed.

use anyhow::ensure;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::quoted;

/// The sum of the row hashes of each table; the order of the rows does not matter.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS \"::sums\" (name TEXT PRIMARY KEY, sum INTEGER NOT NULL)";

/// The hash function's name. dynoxide registers it on its connections, and the triggers call it.
const HASH: &str = "fnv1a_hash";

/// The column to exclude: dynoxide records in it when a row was last used.
const UNSUMMED: &str = "cached_at";

/// Registers the triggers' hash function (FNV-1a, 32 bits) on a connection.
pub(super) fn register(side: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    side.create_scalar_function(HASH, 1, flags, |context| {
        let bytes = match context.get_raw(0) {
            ValueRef::Text(bytes) => bytes,
            _ => &[],
        };
        Ok(bytes.iter().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619)))
    })
}

/// Starts to maintain sums for new tables, and deletes those of removed tables.
pub(super) fn watch(side: &mut Connection) -> rusqlite::Result<()> {
    let transaction = side.transaction()?;
    for name in tables(&transaction)? {
        let is_known = transaction.prepare("SELECT 1 FROM \"::sums\" WHERE name = ?1")?.exists(params![name])?;
        if !is_known {
            transaction.execute_batch(&triggers(&name, &Columns::of(&transaction, &name)?))?;
            let sum = sum_of(&transaction, &name)?;
            transaction.execute("INSERT INTO \"::sums\" VALUES (?1, ?2)", params![name, sum])?;
        }
    }
    transaction.execute("DELETE FROM \"::sums\" WHERE name NOT IN (SELECT name FROM sqlite_master)", [])?;
    transaction.commit()
}

/// Compares the rows with the recorded sums.
///
/// Errors: a row is not as it was written; the error names the table.
pub(super) fn check(side: &Connection) -> anyhow::Result<()> {
    let has_sums = side.prepare("SELECT 1 FROM sqlite_master WHERE name = '::sums'")?.exists([])?;
    for name in if has_sums { tables(side)? } else { Vec::new() } {
        let kept = side.query_row("SELECT sum FROM \"::sums\" WHERE name = ?1", params![name], |row| row.get(0));
        let Some(kept): Option<i64> = kept.optional()? else { continue };
        ensure!(sum_of(side, &name)? == kept, "a row of {name} is not as it was written");
    }
    Ok(())
}

/// Returns the tables with rows: of items, and of index entries.
fn tables(side: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_master AS it WHERE type = 'table'
               AND EXISTS (SELECT 1 FROM pragma_table_info(it.name) WHERE name = 'item_json')";
    side.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

struct Columns {
    all: Vec<String>,
    /// The columns of the primary key.
    key: Vec<String>,
}

impl Columns {
    fn of(side: &Connection, table: &str) -> rusqlite::Result<Columns> {
        let mut columns =
            side.prepare("SELECT name, pk > 0 FROM pragma_table_info(?1) WHERE name <> ?2 ORDER BY cid")?;
        let columns: Vec<(String, bool)> = columns
            .query_map(params![table, UNSUMMED], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let key = columns.iter().filter(|(_, is_key)| *is_key).map(|(name, _)| name.clone()).collect();
        Ok(Columns { all: columns.into_iter().map(|(name, _)| name).collect(), key })
    }

    /// Returns the SQL for the hash of a row. `row` is the prefix of its columns: `new.`, `old.` or empty.
    fn hash(&self, row: &str) -> String {
        let values = self.all.iter().map(|name| format!("ifnull({row}{}, '')", quoted(name)));
        format!("{HASH}({})", values.collect::<Vec<_>>().join(" || '/' || "))
    }

    /// Returns the SQL condition for the row that an insertion replaces.
    fn is_replaced(&self) -> String {
        let equal = self.key.iter().map(|name| format!("{0} = new.{0}", quoted(name)));
        equal.collect::<Vec<_>>().join(" AND ")
    }
}

/// `INSERT OR REPLACE` deletes a row without firing the deletion triggers, so the insertion trigger subtracts that row.
fn triggers(table: &str, columns: &Columns) -> String {
    let trigger = |when: &str, change: &str| {
        let name = quoted(&format!("{table}::sum {when}"));
        let (table, text) = (quoted(table), table.replace('\'', "''"));
        format!(
            "CREATE TRIGGER {name} {when} ON {table} BEGIN
                UPDATE \"::sums\" SET sum = sum {change} WHERE name = '{text}';
            END;"
        )
    };
    let (new, old) = (columns.hash("new."), columns.hash("old."));
    let replaced =
        format!("- ifnull((SELECT {} FROM {} WHERE {}), 0)", columns.hash(""), quoted(table), columns.is_replaced());
    [
        trigger("BEFORE INSERT", &replaced),
        trigger("AFTER INSERT", &format!("+ {new}")),
        trigger("AFTER DELETE", &format!("- {old}")),
        trigger("AFTER UPDATE", &format!("+ {new} - {old}")),
    ]
    .concat()
}

fn sum_of(side: &Connection, table: &str) -> rusqlite::Result<i64> {
    let hash = Columns::of(side, table)?.hash("");
    side.query_row(&format!("SELECT ifnull(sum({hash}), 0) FROM {}", quoted(table)), [], |row| row.get(0))
}
