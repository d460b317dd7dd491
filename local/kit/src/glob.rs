//! Wildcard patterns: `*` matches any sequence of characters, `?` any single one.

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<GlobToken>);

/// A token of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobToken {
    /// `*`.
    Run,
    /// `?`.
    Any,
    /// A literal character.
    One(char),
}

impl Glob {
    /// A pattern with `*` and `?`.
    pub fn new(text: &str) -> Glob {
        text.chars().map(GlobToken::of).collect()
    }

    /// A pattern in which only `*` is special.
    pub fn stars(text: &str) -> Glob {
        let piece = |letter| if letter == '*' { GlobToken::Run } else { GlobToken::One(letter) };
        text.chars().map(piece).collect()
    }

    /// Whether the pattern matches the whole text.
    pub fn matches(&self, text: &str) -> bool {
        let (pieces, letters) = (&self.0, text.chars().collect::<Vec<char>>());
        let (mut piece, mut letter) = (0, 0);
        // The last `*`, and the end of what it matches. It is enough to backtrack to the last one.
        let mut run: Option<(usize, usize)> = None;
        while letter < letters.len() {
            match pieces.get(piece) {
                Some(GlobToken::Run) => {
                    run = Some((piece, letter));
                    piece += 1;
                }
                Some(GlobToken::Any) => (piece, letter) = (piece + 1, letter + 1),
                Some(GlobToken::One(wanted)) if *wanted == letters[letter] => (piece, letter) = (piece + 1, letter + 1),
                _ => match run {
                    Some((start, end)) => {
                        run = Some((start, end + 1));
                        (piece, letter) = (start + 1, end + 1);
                    }
                    None => return false,
                },
            }
        }
        pieces[piece..].iter().all(|piece| *piece == GlobToken::Run)
    }
}

impl FromIterator<GlobToken> for Glob {
    fn from_iter<T: IntoIterator<Item = GlobToken>>(pieces: T) -> Glob {
        Glob(pieces.into_iter().collect())
    }
}

impl GlobToken {
    /// Parses a character of a pattern.
    pub fn of(letter: char) -> GlobToken {
        match letter {
            '*' => GlobToken::Run,
            '?' => GlobToken::Any,
            letter => GlobToken::One(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_runs_and_question_marks_one_character() {
        for (pattern, text, matches) in [
            ("al2023-ami-2023.*-x86_64", "al2023-ami-2023.9.1-kernel-6.1-x86_64", true),
            ("al2023-ami-2023.*-x86_64", "al2023-ami-minimal-2023.9.1-kernel-6.1-x86_64", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "é", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*a*b", "xaybzb", true),
            ("ab*", "ab", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern} against {text}");
        }
        assert!(Glob::stars("http://*.example.org?").matches("http://www.example.org?"));
        assert!(!Glob::stars("a?").matches("ab"));
    }

    #[test]
    fn many_stars_do_not_take_long() {
        assert!(!Glob::new(&"*a".repeat(50)).matches(&"a".repeat(49)));
        assert!(Glob::new(&"*a".repeat(50)).matches(&"a".repeat(5000)));
    }
}
