//! The filter patterns of `FilterLogEvents`, as far as they are plain terms.

/// A filter of plain terms: all must occur. Of those with `?`, at least one must occur; those with `-` must not.
pub struct FilterPattern {
    all: Vec<String>,
    any: Vec<String>,
    none: Vec<String>,
}

impl FilterPattern {
    pub fn read(text: &str) -> FilterPattern {
        let mut pattern = FilterPattern { all: Vec::new(), any: Vec::new(), none: Vec::new() };
        for term in terms(text) {
            match (term.strip_prefix('?'), term.strip_prefix('-')) {
                (Some(term), _) => pattern.any.push(term.trim_matches('"').to_owned()),
                (_, Some(term)) => pattern.none.push(term.trim_matches('"').to_owned()),
                _ => pattern.all.push(term.trim_matches('"').to_owned()),
            }
        }
        pattern
    }

    pub fn fits(&self, text: &str) -> bool {
        let found = |term: &String| text.contains(term.as_str());
        self.all.iter().all(found)
            && (self.any.is_empty() || self.any.iter().any(found))
            && !self.none.iter().any(found)
    }
}

/// Splits at whitespace outside quotes.
fn terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        quoted ^= letter == '"';
        match terms.last_mut() {
            Some(term) if quoted || !letter.is_whitespace() => term.push(letter),
            _ => terms.push(String::new()),
        }
    }
    terms.retain(|term| !term.is_empty());
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_joined_by_and_or_and_not() {
        let fits = |pattern: &str, text: &str| FilterPattern::read(pattern).fits(text);
        assert!(fits("", "anything"));
        assert!(fits("\"two words\" three", "three, two words"));
        assert!(!fits("one two", "one"));
        assert!(fits("?one ?two", "two"));
        assert!(!fits("one -two", "one two"));
    }
}
