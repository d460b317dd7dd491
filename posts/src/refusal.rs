//! Why a picture has no labels.

/// What is wrong with a picture that nothing can be recognised on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing recognises pictures of its kind: it is neither JPEG nor PNG. GIF and WebP are shown all the same.
    Unsupported,
    /// It is larger than what is looked at.
    TooLarge,
    /// The file holds nothing.
    Empty,
    /// It begins like a picture and cannot be read all the same.
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
}
