//! Metric math: expressions of numbers, identifiers, the four operators and parentheses. CloudWatch's functions are not
//! implemented.

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A constant.
    Number(f64),
    /// The value of a metric, or of another expression, by its id.
    Id(String),
    /// Two operands with an operator between them.
    Pair(Box<Expression>, char, Box<Expression>),
}

/// The maximum depth of parentheses.
const DEEPEST: usize = 32;

impl Expression {
    /// Parses an expression.
    ///
    /// Errors: the part that is invalid or not implemented.
    pub fn parse(text: &str) -> Result<Expression, String> {
        let mut parser = Parser { rest: text, depth: 0 };
        let whole = parser.sum()?;
        match parser.peek() {
            None => Ok(whole),
            Some(other) => Err(format!("unexpected {other:?} in the expression {text}")),
        }
    }

    /// The ids that it names.
    pub fn ids(&self) -> Vec<&str> {
        match self {
            Expression::Number(_) => Vec::new(),
            Expression::Id(id) => vec![id],
            Expression::Pair(left, _, right) => [left.ids(), right.ids()].concat(),
        }
    }

    /// Its value; `None` if an operand has no value, or is divided by zero (docs/aws.md §10.9).
    pub fn value(&self, of: &impl Fn(&str) -> Option<f64>) -> Option<f64> {
        let value = match self {
            Expression::Number(number) => *number,
            Expression::Id(id) => of(id)?,
            Expression::Pair(left, sign, right) => {
                let (left, right) = (left.value(of)?, right.value(of)?);
                match sign {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }
            }
        };
        value.is_finite().then_some(value)
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn sum(&mut self) -> Result<Expression, String> {
        self.operands(&['+', '-'], Parser::product)
    }

    fn product(&mut self) -> Result<Expression, String> {
        self.operands(&['*', '/'], Parser::operand)
    }

    /// One or more operands with these operators between them, from left to right.
    fn operands(
        &mut self,
        signs: &[char],
        operand: fn(&mut Parser<'a>) -> Result<Expression, String>,
    ) -> Result<Expression, String> {
        let mut left = operand(self)?;
        while let Some(sign) = self.peek().filter(|sign| signs.contains(sign)) {
            self.rest = &self.rest[1..];
            left = Expression::Pair(Box::new(left), sign, Box::new(operand(self)?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, String> {
        match self.peek() {
            Some('(') if self.depth < DEEPEST => {
                self.depth += 1;
                self.rest = &self.rest[1..];
                let inner = self.sum()?;
                if self.peek() != Some(')') {
                    return Err("a parenthesis is not closed".to_owned());
                }
                self.rest = &self.rest[1..];
                self.depth -= 1;
                Ok(inner)
            }
            Some(digit) if digit.is_ascii_digit() => {
                let text = self.take(|letter| letter.is_ascii_digit() || letter == '.');
                text.parse().map(Expression::Number).map_err(|_| format!("{text} is not a number"))
            }
            Some(letter) if letter.is_ascii_lowercase() => Ok(Expression::Id(self.take(is_in_id).to_owned())),
            Some(letter) if letter.is_ascii_uppercase() => {
                Err(format!("the local AWS has no function {} of metric math", self.take(is_in_id)))
            }
            Some(other) => Err(format!("unexpected {other:?} in an expression")),
            None => Err("an expression ends too early".to_owned()),
        }
    }

    fn take(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

fn is_in_id(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Whether this is a valid id: it begins with a lower-case letter.
pub fn is_id(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_lowercase()) && text.chars().all(is_in_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated_and_missing_values_stay_missing() {
        let of = |id: &str| match id {
            "errors" => Some(3.0),
            "requests" => Some(200.0),
            "zero" => Some(0.0),
            _ => None,
        };
        for (text, expected) in [
            ("100 * errors / requests", Some(1.5)),
            ("1 + 2 * 3 - 4", Some(3.0)),
            ("(1 + 2) * 3", Some(9.0)),
            ("10 / 4 / 5", Some(0.5)),
            ("errors / zero", None),
            ("errors + missing", None),
        ] {
            assert_eq!(Expression::parse(text).unwrap().value(&of), expected, "{text}");
        }
        assert_eq!(Expression::parse("a / (b + a1)").unwrap().ids(), ["a", "b", "a1"]);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for (text, why) in [
            ("", "too early"),
            ("1 +", "too early"),
            ("(1", "not closed"),
            ("1 2", "unexpected '2'"),
            ("1.2.3", "not a number"),
            ("FILL(a, 0)", "no function FILL"),
            ("a % b", "unexpected '%'"),
        ] {
            let refused = Expression::parse(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        assert!(Expression::parse(&"(".repeat(1_000_000)).is_err());
    }
}
