//! Durable state that changes often: a snapshot, and a log of the changes since.
//!
//! A change is handed to the operating system before it is acknowledged. It survives killing the process at any moment,
//! but not a power cut: for that, every change would have to wait for the disk. A local AWS is often killed and hardly
//! ever loses power.

use crate::platform::FileExt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;

use crate::store;

/// The size in bytes below which a log is not worth a new snapshot.
const SHORT: u64 = 1 << 20;

/// The files of a state: the snapshot `NAME.json`; `NAME-GENERATION.log` with the changes since; and `NAME.mark`, the
/// acknowledged length of the log. If the log is shorter than that, it is damaged; an incomplete line after it is not
/// damage.
///
/// A new snapshot starts a new generation with its own log, so that no change is applied twice.
#[derive(Debug)]
pub struct Chronicle {
    dir: PathBuf,
    name: &'static str,
    generation: u64,
    log: Option<File>,
    mark: Option<File>,
    /// The length of the log's complete lines, in bytes.
    length: u64,
    snapshot_length: u64,
    /// The checksum of the last change. The next one's continues from it, so that a missing line is noticed.
    checksum: u32,
    /// Whether the log may end in an incomplete line, so that nothing can be appended.
    broken: bool,
}

/// The state read from the files.
#[derive(Debug, Default)]
pub struct Past {
    /// The last snapshot, if there is one.
    pub snapshot: Option<Value>,
    /// The changes since, oldest first.
    pub changes: Vec<Vec<u8>>,
}

#[derive(Serialize)]
struct Snapshot<'a, T> {
    generation: u64,
    #[serde(flatten)]
    state: &'a T,
}

impl Chronicle {
    /// Reads the files. An incomplete last change was never acknowledged and is dropped.
    ///
    /// Errors: a file is damaged; the error says where.
    pub fn open(dir: &Path, name: &'static str) -> anyhow::Result<(Chronicle, Past)> {
        let mut chronicle = Chronicle {
            dir: dir.to_owned(),
            name,
            generation: 0,
            log: None,
            mark: None,
            length: 0,
            snapshot_length: 0,
            checksum: 0,
            broken: false,
        };
        let mut snapshot: Option<Value> = store::read_json(&chronicle.snapshot_file())?;
        if let Some(state) = snapshot.as_mut().and_then(Value::as_object_mut) {
            chronicle.generation = state.remove("generation").and_then(|number| number.as_u64()).unwrap_or(0);
            chronicle.snapshot_length = std::fs::metadata(chronicle.snapshot_file())?.len();
        }
        if snapshot.is_none() {
            chronicle.refuse_orphans()?;
        }
        let changes = chronicle.read_log()?;
        chronicle.remove_old_logs()?;
        Ok((chronicle, Past { snapshot, changes }))
    }

    /// Appends a change, which must be text without line breaks. Once this has returned, the change survives a kill.
    ///
    /// Errors: nothing was appended.
    pub fn append(&mut self, change: &[u8]) -> io::Result<()> {
        debug_assert!(!change.contains(&b'\n'), "a change is one line");
        if self.broken {
            return Err(io::Error::other("an earlier change was cut off in the middle"));
        }
        let checksum = checksum_after(self.checksum, change);
        let mut line = format!("{checksum:08x} ").into_bytes();
        line.extend_from_slice(change);
        line.push(b'\n');
        let file = self.log_file();
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(File::options().create(true).append(true).open(file)?),
        };
        let length = self.length + line.len() as u64;
        let written = log.write_all(&line).and_then(|()| self.set_mark(length));
        if let Err(fault) = written {
            // An incomplete line in the middle of the log would be damage.
            self.broken = self.log.as_ref().is_none_or(|log| log.set_len(self.length).is_err());
            return Err(fault);
        }
        self.length = length;
        self.checksum = checksum;
        Ok(())
    }

    /// Records the acknowledged length of the log. The text always has the same length, so that one write replaces it.
    fn set_mark(&mut self, length: u64) -> io::Result<()> {
        let file = self.mark_file();
        let mark = match &mut self.mark {
            Some(mark) => mark,
            none => none.insert(File::options().create(true).write(true).truncate(false).open(file)?),
        };
        mark.write_all_at(format!("{:020} {length:020}\n", self.generation).as_bytes(), 0)
    }

    /// Returns the acknowledged length of this generation's log, or 0 if it is unknown.
    fn marked(&self) -> anyhow::Result<u64> {
        let path = self.mark_file();
        let text = match std::fs::read_to_string(&path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(0),
            text => text.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let numbers = text.trim_end().split_once(' ').filter(|_| text.len() == 42);
        let numbers = numbers.and_then(|(one, two)| Some((one.parse::<u64>().ok()?, two.parse().ok()?)));
        match numbers {
            Some((generation, length)) if generation == self.generation => Ok(length),
            // The mark of a log that a newer snapshot has replaced.
            Some((generation, _)) if generation < self.generation => Ok(0),
            Some(_) => bail!("{} is older than its log", self.snapshot_file().display()),
            None => bail!("{} is damaged: it does not say how long a log is", path.display()),
        }
    }

    /// Whether the log should be replaced by a new snapshot: it is broken, or takes longer to read than a snapshot.
    pub fn is_long(&self) -> bool {
        self.broken || self.length > SHORT.max(2 * self.snapshot_length)
    }

    /// Replaces the snapshot and the log with the current state.
    pub fn rewrite(&mut self, state: &impl Serialize) -> io::Result<()> {
        let generation = self.generation + 1;
        let text = serde_json::to_vec(&Snapshot { generation, state }).map_err(io::Error::other)?;
        store::write(&self.snapshot_file(), &text)?;
        let old = self.log_file();
        (self.generation, self.log, self.length, self.checksum, self.broken) = (generation, None, 0, 0, false);
        self.snapshot_length = text.len() as u64;
        match std::fs::remove_file(old) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => {
                tracing::warn!(%fault, "an old log could not be removed");
            }
            _ => (),
        }
        Ok(())
    }

    fn read_log(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let path = self.log_file();
        let marked = self.marked()?;
        let text = match store::read(&path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound && marked == 0 => return Ok(Vec::new()),
            text => text.with_context(|| format!("failed to read {}", path.display()))?,
        };
        if (text.len() as u64) < marked {
            bail!("{} is damaged: it has {} bytes, and had {marked}", path.display(), text.len());
        }
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut changes = Vec::new();
        for (at, line) in text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let Some((checksum, change)) = change_in(self.checksum, &line[..line.len() - 1]) else {
                bail!("{} is damaged: line {} does not have the checksum it begins with", path.display(), at + 1);
            };
            self.checksum = checksum;
            changes.push(change.to_owned());
        }
        if whole < text.len() {
            tracing::info!(file = %path.display(), "the last change was not finished, and is dropped");
            File::options().write(true).open(&path)?.set_len(whole as u64)?;
        }
        self.length = whole as u64;
        Ok(changes)
    }

    /// Fails if there is a log of a later generation, as its snapshot must have been removed.
    fn refuse_orphans(&self) -> anyhow::Result<()> {
        match self.logs()?.into_iter().find(|(number, _)| *number > 0) {
            Some((_, log)) => bail!("{} is missing, which {} continues", self.snapshot_file().display(), log.display()),
            None => Ok(()),
        }
    }

    /// Removes the logs of other generations: a kill between writing a snapshot and removing the old log leaves one.
    fn remove_old_logs(&self) -> anyhow::Result<()> {
        for (_, path) in self.logs()?.into_iter().filter(|(number, _)| *number != self.generation) {
            std::fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// Returns all logs, with their generations.
    fn logs(&self) -> anyhow::Result<Vec<(u64, PathBuf)>> {
        let mut logs = Vec::new();
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".log"));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                logs.push((number, path));
            }
        }
        Ok(logs)
    }

    fn mark_file(&self) -> PathBuf {
        self.dir.join(format!("{}.mark", self.name))
    }

    fn snapshot_file(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.name))
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join(format!("{}-{}.log", self.name, self.generation))
    }
}

/// Parses `CHECKSUM CHANGE`; `None` if the checksum does not match the change and the checksum before it.
fn change_in(before: u32, line: &[u8]) -> Option<(u32, &[u8])> {
    let (checksum, change) = line.split_at_checked(9)?;
    let checksum = std::str::from_utf8(checksum).ok()?.strip_suffix(' ')?;
    let checksum = u32::from_str_radix(checksum, 16).ok()?;
    (checksum == checksum_after(before, change)).then_some((checksum, change))
}

fn checksum_after(before: u32, change: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(change);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(dir: &Path) -> Vec<String> {
        let (_, past) = Chronicle::open(dir, "tables").unwrap();
        past.changes.into_iter().map(|change| String::from_utf8(change).unwrap()).collect()
    }

    #[test]
    fn changes_come_back_in_order_and_a_snapshot_replaces_them() {
        let dir = tempfile::tempdir().unwrap();
        let (mut chronicle, past) = Chronicle::open(dir.path(), "tables").unwrap();
        assert!(past.snapshot.is_none() && past.changes.is_empty());
        for change in ["one", "two é"] {
            chronicle.append(change.as_bytes()).unwrap();
        }
        assert_eq!(changes(dir.path()), ["one", "two é"]);
        chronicle.rewrite(&json!({ "tables": { "a": 1 } })).unwrap();
        chronicle.append(b"three").unwrap();
        let (chronicle, past) = Chronicle::open(dir.path(), "tables").unwrap();
        assert_eq!(past.snapshot, Some(json!({ "tables": { "a": 1 } })));
        assert_eq!((past.changes, chronicle.generation), (vec![b"three".to_vec()], 1));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_kill_after_the_snapshot_applies_no_change_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (mut chronicle, _) = Chronicle::open(dir.path(), "tables").unwrap();
        chronicle.append(b"add 1").unwrap();
        let log = std::fs::read(dir.path().join("tables-0.log")).unwrap();
        chronicle.rewrite(&json!({ "sum": 1 })).unwrap();
        std::fs::write(dir.path().join("tables-0.log"), log).unwrap();
        assert!(changes(dir.path()).is_empty());
        assert!(!dir.path().join("tables-0.log").exists());
    }

    #[test]
    fn half_a_change_at_the_end_was_never_acknowledged_and_anything_else_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let (mut chronicle, _) = Chronicle::open(dir.path(), "tables").unwrap();
        chronicle.append(b"one").unwrap();
        let (file, mark) = (dir.path().join("tables-0.log"), dir.path().join("tables.mark"));
        let acknowledged = std::fs::read(&file).unwrap().len();
        let marked = std::fs::read(&mark).unwrap();
        chronicle.append(b"two").unwrap();
        let whole = std::fs::read(&file).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).unwrap();
            // Killed before the mark recorded the second change.
            std::fs::write(&mark, &marked).unwrap();
            let opened = Chronicle::open(dir.path(), "tables");
            if cut < acknowledged {
                let fault = opened.unwrap_err().to_string();
                assert!(fault.contains("tables-0.log is damaged: it has "), "cut after {cut}: {fault}");
                continue;
            }
            let (mut chronicle, past) = opened.unwrap();
            assert_eq!(past.changes, [b"one"], "cut after {cut}");
            chronicle.append(b"more").unwrap();
            assert_eq!(changes(dir.path()), ["one", "more"]);
        }
        std::fs::remove_file(&file).unwrap();
        let fault = format!("{:#}", Chronicle::open(dir.path(), "tables").unwrap_err());
        assert!(fault.contains("tables-0.log"), "a log that is gone is missed: {fault}");
        std::fs::write(&mark, &marked).unwrap();
        std::fs::write(&file, &whole[whole.len() / 2..]).unwrap();
        let fault = Chronicle::open(dir.path(), "tables").unwrap_err();
        assert!(fault.to_string().contains("tables-0.log is damaged: "), "the first change is missing: {fault}");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x01;
            std::fs::write(&file, &damaged).unwrap();
            let read = Chronicle::open(dir.path(), "tables").map(|(_, past)| past.changes.len());
            match read {
                // A line break added or missing at the very end looks like an incomplete change.
                Ok(count) => assert!(at + 1 == whole.len() && count == 1, "{at}: {count}"),
                Err(fault) => assert!(fault.to_string().contains("tables-0.log is damaged: line "), "{fault}"),
            }
        }
    }

    #[test]
    fn a_snapshot_that_is_gone_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut chronicle, _) = Chronicle::open(dir.path(), "tables").unwrap();
        chronicle.rewrite(&json!({ "sum": 1 })).unwrap();
        chronicle.append(b"add 1").unwrap();
        std::fs::remove_file(dir.path().join("tables.json")).unwrap();
        let fault = Chronicle::open(dir.path(), "tables").unwrap_err().to_string();
        assert!(fault.contains("tables.json is missing"), "{fault}");
        std::fs::write(dir.path().join("tables.json"), r#"{"generation":0}"#).unwrap();
        let fault = Chronicle::open(dir.path(), "tables").unwrap_err().to_string();
        assert!(fault.contains("tables.json is older than its log"), "{fault}");
    }

    #[test]
    fn a_full_disk_is_an_error_that_takes_nothing_away() {
        let Ok(full) = File::options().append(true).open("/dev/full") else {
            // Only Linux has a device that is always full.
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let (mut chronicle, _) = Chronicle::open(dir.path(), "tables").unwrap();
        chronicle.append(b"one").unwrap();
        let kept = chronicle.log.replace(full);
        assert!(chronicle.append(b"two").is_err());
        assert!(chronicle.is_long(), "what cannot be shortened is rewritten");
        assert!(chronicle.append(b"three").is_err(), "nothing is added behind a line that may be cut off");
        chronicle.log = kept;
        chronicle.rewrite(&json!({ "all": ["one"] })).unwrap();
        chronicle.append(b"four").unwrap();
        assert_eq!(changes(dir.path()), ["four"]);
    }
}
