//! Records what the database must contain when a server starts.
//!
//! SQLite takes an emptied database for a new one, and a truncated write-ahead log for one cut off by a crash: both
//! would start with fewer rows without an error. So the manifest records, outside of both files, how far the log
//! reached after the last acknowledged write, and the checksum of a database that was closed cleanly.
//!
//! A record is handed to the operating system without waiting for the disk: it survives killing the process.

use kit::platform::FileExt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use kit::store;

/// The constant length of the manifest in bytes, so that updating it never needs more disk space.
const LENGTH: usize = 320;

/// The lengths of the headers of a log and of each of its frames, <https://www.sqlite.org/fileformat2.html#walformat>.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    /// Nothing has been acknowledged yet.
    New,
    /// A server is using the database, or was killed while using it.
    Open(Extent),
    /// The database is being closed: SQLite may have moved the log into it and removed the log.
    Closing(Extent),
    Closed {
        crc32: u32,
    },
}

/// The minimum that the files must contain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Extent {
    database_bytes: u64,
    log: LogEnd,
}

/// The end of the last transaction in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct LogEnd {
    /// The salts of the header, which identify the log's generation.
    salts: [u32; 2],
    frames: u64,
    /// The cumulative checksum of all frames up to the end.
    checksum: [u32; 2],
}

/// The files of the database, and their recorded state.
#[derive(Debug)]
pub(super) struct Manifest {
    file: File,
    files: Files,
    log: Option<File>,
    extent: Extent,
    /// Whether the database is being closed, which happens before the manifest is dropped.
    closing: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Files {
    pub manifest: PathBuf,
    pub database: PathBuf,
    pub log: PathBuf,
}

/// The state in which the last server left the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    InOrder,
    /// It was killed: the structure of the database should be checked with SQLite as well.
    Killed,
}

impl Files {
    pub(super) fn in_dir(dir: &Path) -> Files {
        Files {
            manifest: dir.join("manifest"),
            database: dir.join("tables.sqlite"),
            log: dir.join("tables.sqlite-wal"),
        }
    }
}

impl Manifest {
    /// Checks that the files contain everything that was acknowledged.
    ///
    /// Errors: a file is missing or damaged; the error names it.
    pub(super) fn open(files: Files) -> anyhow::Result<(Manifest, Left)> {
        let state = read(&files)?;
        let (extent, left) = match &state {
            State::New => (Extent::default(), Left::InOrder),
            State::Closed { crc32 } => {
                check_database(&files.database, *crc32)?;
                let database_bytes = std::fs::metadata(&files.database)?.len();
                (Extent { database_bytes, ..Extent::default() }, Left::InOrder)
            }
            State::Open(extent) | State::Closing(extent) => {
                let moved = matches!(state, State::Closing(_)) && !files.log.exists();
                check_extent(&files, extent, moved)?;
                (if moved { Extent::default() } else { *extent }, Left::Killed)
            }
        };
        if !files.manifest.exists() {
            store::write(&files.manifest, &text_of(&State::New)?)?;
        }
        let file = File::options().read(true).write(true).open(&files.manifest)?;
        let manifest = Manifest { file, files, log: None, extent, closing: false };
        if matches!(state, State::Closed { .. }) {
            // From now on, the database may change.
            manifest.write(&State::Open(extent))?;
        }
        Ok((manifest, left))
    }

    /// Records how far the log reaches. Must be called before a write is acknowledged.
    pub(super) fn note(&mut self) -> io::Result<()> {
        let log = self.log_end()?;
        let database_bytes = std::fs::metadata(&self.files.database)?.len();
        self.extent = Extent { database_bytes, log };
        self.write(&State::Open(self.extent))
    }

    /// Records that the log may be moved into the database now. All connections must be closed before the manifest is
    /// dropped.
    pub(super) fn closing(&mut self) -> io::Result<()> {
        self.note()?;
        self.write(&State::Closing(self.extent))?;
        self.closing = true;
        Ok(())
    }

    /// Records the checksum of the database, when no connection has it open any more.
    fn closed(&self) -> io::Result<()> {
        if self.files.log.exists() {
            // There was no disk space to move it into the database.
            return Ok(());
        }
        self.write(&State::Closed { crc32: checksum_of(&self.files.database)? })
    }

    fn write(&self, state: &State) -> io::Result<()> {
        self.file.write_all_at(&text_of(state)?, 0)
    }

    /// Finds the end of the log, continuing from the recorded end.
    fn log_end(&mut self) -> io::Result<LogEnd> {
        let log = match &mut self.log {
            Some(log) => log,
            none => match File::open(&self.files.log) {
                Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(LogEnd::default()),
                opened => none.insert(opened?),
            },
        };
        let mut header = [0; LOG_HEADER];
        if !read_at(log, &mut header, 0)? {
            return Ok(LogEnd::default());
        }
        let salts = [word(&header, 16), word(&header, 20)];
        let mut end = self.extent.log;
        if end.salts != salts {
            end = LogEnd { salts, ..LogEnd::default() };
        }
        let length = FRAME_HEADER as u64 + u64::from(word(&header, 8));
        let mut frame = [0; FRAME_HEADER];
        for number in end.frames.. {
            let there = read_at(log, &mut frame, LOG_HEADER as u64 + number * length)?;
            if !there || [word(&frame, 8), word(&frame, 12)] != salts {
                break;
            }
            if is_commit(&frame) {
                end = LogEnd { salts, frames: number + 1, checksum: [word(&frame, 16), word(&frame, 20)] };
            }
        }
        Ok(end)
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        if self.closing
            && let Err(fault) = self.closed()
        {
            tracing::warn!(%fault, "the tables were closed without a checksum");
        }
    }
}

fn read(files: &Files) -> anyhow::Result<State> {
    let text = match std::fs::read(&files.manifest) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => {
            ensure!(
                !files.database.exists(),
                "{} is missing, which records the contents of {}: restore it, or remove the directory with both",
                files.manifest.display(),
                files.database.display()
            );
            return Ok(State::New);
        }
        text => text.with_context(|| format!("failed to read {}", files.manifest.display()))?,
    };
    let state = std::str::from_utf8(&text).ok().filter(|text| text.len() == LENGTH).and_then(|text| {
        let (state, checksum) = text.trim_end().split_once('\n')?;
        let checksum = u32::from_str_radix(checksum, 16).ok()?;
        (crc32fast::hash(state.as_bytes()) == checksum).then(|| serde_json::from_str(state).ok())?
    });
    state.with_context(|| {
        damaged(&files.manifest, "it is not as long as it was, or does not have the checksum it ends with")
    })
}

/// Serializes the state and its checksum, each on its own line.
fn text_of(state: &State) -> io::Result<Vec<u8>> {
    let state = serde_json::to_string(state)?;
    let mut text = format!("{state}\n{:08x}", crc32fast::hash(state.as_bytes())).into_bytes();
    debug_assert!(text.len() < LENGTH);
    text.resize(LENGTH - 1, b' ');
    text.push(b'\n');
    Ok(text)
}

fn check_database(database: &Path, crc32: u32) -> anyhow::Result<()> {
    let found = checksum_of(database).with_context(|| format!("failed to read {}", database.display()))?;
    ensure!(found == crc32, damaged(database, "it has changed since the last server stopped"));
    Ok(())
}

fn check_extent(files: &Files, extent: &Extent, moved: bool) -> anyhow::Result<()> {
    let Files { database, log, .. } = files;
    let length = std::fs::metadata(database).with_context(|| format!("failed to read {}", database.display()))?.len();
    let Extent { database_bytes, log: end } = extent;
    ensure!(length >= *database_bytes, damaged(database, &format!("{length} of {database_bytes} bytes are left")));
    if moved || end.frames == 0 {
        return Ok(());
    }
    let bytes = std::fs::read(log).with_context(|| format!("failed to read {}", log.display()))?;
    check_log(&bytes, end).map_err(|what| damaged(log, what))
}

/// Verifies the checksums from the start of the log to the recorded end.
fn check_log(log: &[u8], end: &LogEnd) -> Result<(), &'static str> {
    const HEADER: &str = "it does not begin as it did";
    const SHORT: &str = "transactions at its end are missing";
    let (header, mut rest) = log.split_at_checked(LOG_HEADER).ok_or(HEADER)?;
    let big = match word(header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return Err(HEADER),
    };
    let mut checksum = add([0, 0], &header[..24], big);
    if checksum != [word(header, 24), word(header, 28)] {
        return Err(HEADER);
    }
    let salts = [word(header, 16), word(header, 20)];
    if salts != end.salts {
        // A later generation: the recorded one was moved into the database completely.
        return if salts[0] == end.salts[0] { Err(HEADER) } else { Ok(()) };
    }
    let page = usize::try_from(word(header, 8)).map_err(|_| HEADER)?;
    let mut committed = false;
    for _ in 0..end.frames {
        let (frame, after) = rest.split_at_checked(FRAME_HEADER + page).ok_or(SHORT)?;
        checksum = add(add(checksum, &frame[..8], big), &frame[FRAME_HEADER..], big);
        if checksum != [word(frame, 16), word(frame, 20)] {
            return Err("a page in it does not have its checksum");
        }
        (committed, rest) = (is_commit(frame), after);
    }
    if committed && checksum == end.checksum { Ok(()) } else { Err(SHORT) }
}

/// Continues SQLite's checksum over `bytes`.
fn add([mut one, mut two]: [u32; 2], bytes: &[u8], big: bool) -> [u32; 2] {
    let number = |bytes: &[u8]| {
        let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
        if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        one = one.wrapping_add(number(&pair[..4])).wrapping_add(two);
        two = two.wrapping_add(number(&pair[4..])).wrapping_add(one);
    }
    [one, two]
}

/// Whether a frame is the last of a transaction, which records the size of the database after it.
fn is_commit(frame: &[u8]) -> bool {
    word(frame, 4) != 0
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Fills `bytes` from the offset. Returns `false` if the file ends before that.
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

fn checksum_of(path: &Path) -> io::Result<u32> {
    let (mut file, mut hasher) = (File::open(path)?, crc32fast::Hasher::new());
    let mut part = vec![0; 1 << 16];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(&part[..length]),
        }
    }
}

fn damaged(path: &Path, what: &str) -> anyhow::Error {
    anyhow::anyhow!("{} is damaged: {what}", path.display())
}

/// Refuses tables of an earlier version, which kept them in a snapshot and a log.
pub(super) fn refuse_former(dir: &Path) -> anyhow::Result<()> {
    let snapshot = dir.join("dynamodb.json");
    let log = dir.join("dynamodb-0.log");
    for file in [&snapshot, &log] {
        if file.exists() {
            bail!(
                "{} holds tables of an earlier version, which this one cannot read: start in an empty directory, or remove dynamodb.json and dynamodb-*.log there and lose their rows",
                file.display()
            );
        }
    }
    Ok(())
}
