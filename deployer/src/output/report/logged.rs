//! Lines that programs have logged: for people, each after the name of its origin, or as JSON.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use console::{Color, Style, measure_text_width};
use serde_json::Value;

use super::{escape, write_line};

/// The colours of origins. Red stays for errors.
const COLOURS: &[Color] = &[Color::Cyan, Color::Green, Color::Yellow, Color::Magenta, Color::Blue];

/// Prints a line after its origin, which is padded to this width. Returns whether its reader is still there.
pub fn logged(origin: &str, width: usize, text: &str) -> bool {
    let (origin, text) = (escape::line(origin), escape::line(text));
    let blanks = " ".repeat(width.saturating_sub(measure_text_width(&origin)));
    let origin = Style::new().fg(colour(&origin)).apply_to(format!("{origin}{blanks} |"));
    write_line(&format!("{origin} {text}"))
}

/// The colour of an origin, which is always the same.
fn colour(origin: &str) -> Color {
    let mut hasher = DefaultHasher::new();
    origin.hash(&mut hasher);
    COLOURS[(hasher.finish() % COLOURS.len() as u64) as usize]
}

/// Prints a JSON value in one line of characters that only show a glyph. Returns whether its reader is still there.
pub fn object(value: &Value) -> bool {
    write_line(&inert(&value.to_string()))
}

/// Escapes the characters that can control a terminal and that JSON leaves unescaped. They occur only within strings.
fn inert(json: &str) -> String {
    let mut shown = String::new();
    for c in json.chars() {
        if escape::is_active(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(shown, "\\u{unit:04x}").expect("a string takes everything");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_active_characters_and_keeps_its_value() {
        let value = serde_json::json!({ "text": "a\u{1b}[31m\u{9b}\u{202e}\u{e0041}\n\"é🙂" });
        let shown = inert(&value.to_string());
        assert!(!shown.chars().any(escape::is_active), "{shown}");
        assert!(shown.contains("é🙂") && shown.contains(r"\u202e\udb40\udc41"), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }

    #[test]
    fn an_origin_keeps_its_colour() {
        assert_eq!(colour("web i-0abc…4f"), colour("web i-0abc…4f"));
    }
}
