//! Why a picture has no labels.

use std::fmt;

/// What is wrong with a picture that nothing can be recognised on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is neither JPEG nor PNG.
    Unsupported,
    /// It is larger than what is looked at.
    TooLarge,
    /// The file holds nothing.
    Empty,
    /// It is of the right kind and cannot be read all the same.
    Unreadable,
}

impl Refusal {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Unsupported, Self::TooLarge, Self::Empty, Self::Unreadable];

    /// The word that stands for it in a row and in an answer.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::Empty => "empty",
            Self::Unreadable => "unreadable",
        }
    }

    /// What a row's word stands for. One that is not known here was written by a newer program: it says at least that
    /// nothing was recognised.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|refusal| refusal.word() == word).unwrap_or(Self::Unreadable)
    }
}

/// For a log line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the file is not a JPEG or PNG picture",
            Self::TooLarge => "the picture is larger than 15 MB",
            Self::Empty => "the file is empty",
            Self::Unreadable => "the picture cannot be analysed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_what_they_stand_for() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_word(refusal.word()), refusal);
        }
        assert_eq!(Refusal::from_word("of a newer program"), Refusal::Unreadable);
    }
}
