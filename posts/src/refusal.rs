//! Why a picture has no labels.

/// Why nothing can be recognised in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its format is not supported: it is neither JPEG nor PNG. GIF and WebP are displayed anyway.
    Unsupported,
    /// It exceeds the size limit of the analysis.
    TooLarge,
    /// The file is empty.
    Empty,
    /// It starts like a picture but cannot be decoded.
    Unreadable,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unsupported, Self::TooLarge, Self::Empty, Self::Unreadable];

    /// The word for it in rows and answers.
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
