//! Files of environment variables, as systemd reads them.

use std::collections::BTreeMap;

use super::command::is_name;

/// Whether systemd takes this character for invalid UTF-8: Unicode reserves its code point for no character
/// (`unichar_is_valid` in src/basic/utf8.c).
pub fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// Parses an environment file: `NAME=value`, `NAME="value"`, with comments. A quoted value may have several lines.
pub fn environment_file(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut environment = BTreeMap::new();
    let mut lines = text.split('\n').enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim().is_empty() || line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let number = at + 1;
        let (name, first) = line.split_once('=').ok_or_else(|| format!("line {number}: missing '='"))?;
        if !is_name(name.trim()) {
            return Err(format!("line {number}: '{}' is not the name of a variable", name.trim()));
        }
        let mut whole = first.trim_start().to_owned();
        while file_value(&whole).1
            && let Some((_, more)) = lines.next()
        {
            whole.push('\n');
            whole += more;
        }
        let value = file_value(whole.trim_end()).0;
        if value.contains(is_noncharacter) {
            return Err(format!("line {number}: invalid UTF-8 value for key {}", name.trim()));
        }
        environment.insert(name.trim().to_owned(), value);
    }
    Ok(environment)
}

/// Parses a value in an environment file, in which percent and dollar signs are literal. Returns whether it continues in
/// the next line.
fn file_value(text: &str) -> (String, bool) {
    let mut value = String::new();
    let mut quote: Option<char> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some('\''), c) => value.push(c),
            (Some(_), '\\') => match rest.next() {
                Some('\n') => (),
                Some(escaped @ ('"' | '\\' | '`' | '$')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => return (value, true),
            },
            (None, '\\') => match rest.next() {
                Some('\n') => (),
                Some(other) => value.push(other),
                None => return (value, true),
            },
            (_, c) => value.push(c),
        }
    }
    (value, quote.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_keep_what_is_quoted() {
        let file = "# c\nA=plain\nB=\"with \\\"quotes\\\" and \\\\ and $x %y\"\nC='single \\'\n\nD=\n";
        let read = environment_file(file).unwrap();
        assert_eq!(read["A"], "plain");
        assert_eq!(read["B"], r#"with "quotes" and \ and $x %y"#);
        assert_eq!(read["C"], "single \\");
        assert_eq!(read["D"], "");
        let several = environment_file("A=\"one\ntwo \\\\\n\nend\\\nof it\"\nB=x\\\ny\n").unwrap();
        assert_eq!((several["A"].as_str(), several["B"].as_str()), ("one\ntwo \\\n\nendof it", "xy"));
        let invalid = environment_file("A=1\nB=\"hunter2\u{ffff}\"\n").unwrap_err();
        assert_eq!(invalid, "line 2: invalid UTF-8 value for key B");
        assert_eq!(environment_file("1A=x").unwrap_err(), "line 1: '1A' is not the name of a variable");
    }
}
