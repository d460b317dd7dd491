//! What is wrong with a description: message, place, snippet and remedy, all problems at once.

use std::fmt;

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl From<&serde_yaml::Location> for Place {
    fn from(location: &serde_yaml::Location) -> Self {
        Place { line: location.line() as usize, column: location.column() as usize }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Errors {
    /// The file's name, as the user knows it.
    pub file: String,
    /// Its text, for the snippets.
    pub text: String,
    /// The problems, in the order of their places.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.show(f, problem)?;
        }
        Ok(())
    }
}

impl Errors {
    fn show(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        let Place { line, column } = problem.place;
        writeln!(f, "{}", problem.message)?;
        if line == 0 {
            write!(f, " --> {}", self.file)?;
        } else {
            let number = line.to_string();
            let gap = " ".repeat(number.len());
            let snippet = self.text.lines().nth(line - 1).unwrap_or_default();
            let indent = " ".repeat(column.saturating_sub(1));
            writeln!(f, "{gap}--> {}:{line}:{column}", self.file)?;
            writeln!(f, "{gap} |")?;
            writeln!(f, "{number} | {}", snippet.replace('\t', " "))?;
            write!(f, "{gap} | {indent}^")?;
        }
        match &problem.help {
            Some(help) => writeln!(f, "\n  help: {help}"),
            None => writeln!(f),
        }
    }
}

/// The known word that an unknown one probably means.
pub fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let close = (unknown.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (distance(&unknown.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= close)
        .min()
        .map(|(_, word)| word)
}

/// How many letters must be put in, left out, exchanged or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let mut least = exchanged.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        least = least.min(rows[i - 2][j - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_a_different_word_is_not() {
        assert_eq!(did_you_mean("bukets", ["buckets", "tables"]), Some("buckets"));
        assert_eq!(did_you_mean("tabels", ["buckets", "tables"]), Some("tables"));
        assert_eq!(did_you_mean("queues", ["buckets", "tables"]), None);
    }
}
