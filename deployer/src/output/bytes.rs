//! Sizes in bytes, for people.

/// A size in its largest unit: `3.4 MB`.
pub fn in_words(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1e3;
    let mut unit = 0;
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1e3;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn a_size_has_its_largest_unit() {
        assert_eq!([0, 999, 1_000, 3_400_000, 999_960].map(in_words), ["0 B", "999 B", "1.0 kB", "3.4 MB", "1.0 MB"]);
    }
}
