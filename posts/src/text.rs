//! The characters that user input may contain. The page applies the same rule to names in `names.js`.

use std::fmt;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// A forbidden character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds U+{:04X}, {fault}", u32::from(*.character))]
pub struct BadCharacter {
    character: char,
    fault: Reason,
}

/// Why a character is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Control,
    Noncharacter,
    Invisible,
    Blank,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "a control character",
            Self::Noncharacter => "which Unicode assigns to no character",
            Self::Invisible => "which is invisible or changes the direction of text",
            Self::Blank => "a blank other than U+0020",
        })
    }
}

/// Checks a text of several lines: of the controls, only tabs and line breaks are allowed.
///
/// Valid texts can be represented in XML 1.0 (production `Char`), so that any listing or feed can carry them.
pub fn check_text(text: &str) -> Result<(), BadCharacter> {
    check(text, |it| unprintable(it).filter(|_| !is_whitespace_of_xml(it)))
}

/// Checks a text of one line, such as a file name: no controls are allowed.
pub fn check_line(text: &str) -> Result<(), BadCharacter> {
    check(text, unprintable)
}

/// Checks a name. Names that look alike should be the same, so it may contain no invisible characters, no bidirectional
/// controls (RFC 8264, section 9.12), and no blanks other than U+0020 (RFC 8265, section 4.2.2).
pub(crate) fn check_name(text: &str) -> Result<(), BadCharacter> {
    check(text, |it| {
        unprintable(it)
            .or_else(|| is_invisible(it).then_some(Reason::Invisible))
            .or_else(|| (is_blank(it) && it != ' ').then_some(Reason::Blank))
    })
}

/// Whether a character is invisible: format controls, including bidirectional ones, fillers, variation selectors and
/// tags.
pub(crate) fn is_invisible(character: char) -> bool {
    /// A symbol according to Unicode, but a blank in practice.
    const BRAILLE_BLANK: char = '\u{2800}';
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    matches!(category, GeneralCategory::Format | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
        || character == BRAILLE_BLANK
}

/// Whether a character is a blank of any width.
pub(crate) fn is_blank(character: char) -> bool {
    CodePointMapData::<GeneralCategory>::new().get(character) == GeneralCategory::SpaceSeparator
}

fn check(text: &str, fault: impl Fn(char) -> Option<Reason>) -> Result<(), BadCharacter> {
    let bad = text.chars().find_map(|character| Some(BadCharacter { character, fault: fault(character)? }));
    bad.map_or(Ok(()), Err)
}

fn unprintable(character: char) -> Option<Reason> {
    match u32::from(character) {
        0xFDD0..=0xFDEF => Some(Reason::Noncharacter),
        code if code & 0xFFFE == 0xFFFE => Some(Reason::Noncharacter),
        _ => character.is_control().then_some(Reason::Control),
    }
}

fn is_whitespace_of_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XML 1.0, production 2.
    fn is_char_of_xml(character: char) -> bool {
        matches!(u32::from(character), 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF)
    }

    #[test]
    fn accepted_texts_are_valid_in_xml() {
        for character in '\0'..=char::MAX {
            let passes =
                |check: fn(&str) -> Result<(), BadCharacter>| check(character.encode_utf8(&mut [0; 4])).is_ok();
            assert!(!passes(check_text) || is_char_of_xml(character), "{character:?}");
            assert!(!passes(check_line) || passes(check_text), "{character:?}");
            assert!(!passes(check_name) || passes(check_line), "{character:?}");
        }
    }

    #[test]
    fn texts_keep_their_line_breaks_and_every_script() {
        assert_eq!(check_text("a\tb\r\nc é 猫 🐱 👩\u{200D}🚀 \u{200F}שלום \u{E000}"), Ok(()));
        for bad in ["\0", "\u{B}", "\u{7F}", "\u{85}", "\u{FDD0}", "\u{FDEF}", "\u{FFFE}", "\u{1FFFF}", "\u{10FFFF}"] {
            assert!(check_text(bad).is_err(), "{bad:?}");
        }
        assert!(check_line("a\tb").is_err());
    }

    #[test]
    fn an_invalid_character_is_named_by_its_code_point() {
        for (name, expected) in [
            ("a\u{FFFF}", "it holds U+FFFF, which Unicode assigns to no character"),
            ("a\u{85}", "it holds U+0085, a control character"),
            ("a\u{202E}", "it holds U+202E, which is invisible or changes the direction of text"),
            ("a\u{A0}", "it holds U+00A0, a blank other than U+0020"),
        ] {
            assert_eq!(check_name(name).unwrap_err().to_string(), expected);
        }
    }
}
