//! The journal of a unit in a file of bounded size.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The maximum size in bytes of the journal of a unit, and of the console: the older half of it is removed then.
pub(super) const LONGEST_JOURNAL: u64 = 8 << 20;

/// The file next to a journal with the number of bytes that have been removed from its start.
pub(super) fn removed_file(journal: &Path) -> PathBuf {
    journal.with_extension("removed")
}

pub(super) fn removed(journal: &Path) -> u64 {
    std::fs::read_to_string(removed_file(journal)).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Returns the text of a journal from a byte on, or else from its first one, and where it begins. Bytes are counted from
/// the first that was ever written.
pub(super) fn read_from(journal: &Path, from: u64) -> (u64, String) {
    let removed = removed(journal);
    let from = from.max(removed);
    let read = || {
        let mut file = File::open(journal)?;
        file.seek(SeekFrom::Start(from - removed))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes)
    };
    (from, String::from_utf8_lossy(&read().unwrap_or_default()).into_owned())
}

/// Appends lines to a journal or console. If it would be longer than `most`, its older half is removed.
pub(super) fn append_bounded(file: &Path, lines: &[u8], most: u64) -> std::io::Result<()> {
    let mut open = File::options().create(true).append(true).open(file)?;
    open.write_all(lines)?;
    if open.metadata()?.len() <= most {
        return Ok(());
    }
    let text = std::fs::read(file)?;
    let half = text.len() - most as usize / 2;
    let start = text[half..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| half + at + 1);
    let (next, gone) = (file.with_extension("next"), removed(file) + start as u64);
    std::fs::write(&next, &text[start..])?;
    std::fs::write(removed_file(file), gone.to_string())?;
    std::fs::rename(next, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_loses_its_older_half_and_keeps_its_positions() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("web.service.log");
        let mut whole = String::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            append_bounded(&file, line.as_bytes(), 1000).unwrap();
            whole += &line;
            assert!(std::fs::metadata(&file).unwrap().len() <= 1000);
            let (start, text) = read_from(&file, 0);
            assert_eq!(text, whole[start as usize..], "{number}");
            assert!(start == 0 || text.len() >= 400 && text.starts_with("line "), "{number}: {text}");
        }
        let (start, end) = (read_from(&file, 0).0, whole.len() as u64);
        assert!(start > 5000);
        for (from, expected) in [(0, start), (start, start), (end - 9, end - 9), (end, end)] {
            assert_eq!(read_from(&file, from), (expected, whole[expected as usize..].to_owned()));
        }
    }
}
