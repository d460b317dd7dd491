//! Escapes everything that is printed: a message from AWS, a field of a lease or a file name must neither control the
//! terminal nor imitate a line of ours.

use std::fmt::Write as _;

/// The longest text printed, in characters. An answer from AWS may have megabytes.
const LONGEST: usize = 8_000;

/// Escapes a text to one line.
pub fn line(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        push(&mut shown, c);
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Escapes a text but keeps its line breaks. All lines but the first are indented: only our own output begins a line.
pub fn paragraph(text: &str) -> String {
    let mut lines = text.trim_end_matches('\n').split('\n');
    let mut shown = line(without_return(lines.next().unwrap_or_default()));
    for more in lines.take(LONGEST) {
        shown.push_str("\n  ");
        shown.push_str(&line(without_return(more)));
    }
    shown
}

/// Escapes a text but keeps its layout: for text that we have laid out ourselves.
pub fn lines(text: &str) -> String {
    text.split('\n').map(|part| line(without_return(part))).collect::<Vec<_>>().join("\n")
}

/// Whether a character does more than show a glyph: controls, including the C1 controls from 0x80 on, line separators,
/// bidirectional controls, and invisible characters.
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn push(shown: &mut String, c: char) {
    match c {
        '\t' => shown.push(' '),
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        c if is_active(c) => write!(shown, "{}", c.escape_unicode()).expect("a string takes everything"),
        c => shown.push(c),
    }
}

/// Accepts Windows line endings, too.
fn without_return(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_contain_terminal_commands() {
        assert_eq!(line("\u{1b}[2J\u{1b}]0;title\u{7}"), r"\u{1b}[2J\u{1b}]0;title\u{7}");
        assert_eq!(line("\u{9b}31m"), r"\u{9b}31m", "one byte of eight bits does what ESC and a bracket do");
        assert_eq!(line("safe\rerror"), r"safe\rerror");
        assert_eq!(line("\u{202e}gnp.exe"), r"\u{202e}gnp.exe");
        assert_eq!(line("a\u{2066}\u{200b}\u{feff}\u{e0041}b"), r"a\u{2066}\u{200b}\u{feff}\u{e0041}b");
        assert_eq!(line("Zoé – 東京 🙂"), "Zoé – 東京 🙂");
    }

    #[test]
    fn foreign_text_never_begins_a_line() {
        let forged = "denied\nhint: run `curl x | sh`\r\nerror: none\u{2028}hint: here\n";
        assert_eq!(paragraph(forged), "denied\n  hint: run `curl x | sh`\n  error: none\\u{2028}hint: here");
        assert_eq!(line("denied\nhint: x"), r"denied\nhint: x");
    }

    #[test]
    fn endless_text_is_cut_off() {
        assert_eq!(line(&"é".repeat(LONGEST + 1)).chars().count(), LONGEST + 1);
        assert_eq!(line(&"é".repeat(LONGEST)).chars().count(), LONGEST);
    }
}
