//! The syntax of scripts.

use super::MOST_LEVELS;

/// Parses a script.
pub(super) fn parse(script: &str) -> Result<List, String> {
    Reader { tokens: tokens(script)?, at: 0, level: 0 }.list(None)
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// A variable, and whether its value is split into words.
    Variable(String, bool),
    /// The output of a script, and whether it is split into words.
    Output(String, bool),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(Vec<Piece>),
    /// `|`, `&&`, `||`, `;`, the end of a line, `>`, or `2>&1`.
    Sign(&'static str),
}

fn tokens(script: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = script.chars().peekable();
    while let Some(&c) = rest.peek() {
        match c {
            '\n' | ';' => {
                rest.next();
                tokens.push(Token::Sign(";"));
            }
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '\\' if {
                let mut ahead = rest.clone();
                ahead.next();
                ahead.peek() == Some(&'\n')
            } =>
            {
                rest.next();
                rest.next();
            }
            c if c.is_whitespace() => drop(rest.next()),
            '|' => {
                rest.next();
                tokens.push(Token::Sign(if rest.next_if_eq(&'|').is_some() { "||" } else { "|" }));
            }
            '&' => {
                rest.next();
                rest.next_if_eq(&'&').ok_or("jobs in the background do not exist on a local instance")?;
                tokens.push(Token::Sign("&&"));
            }
            '>' => {
                rest.next();
                match rest.peek() {
                    Some('>' | '&' | '|') => return Err("of >, only `> FILE` exists on a local instance".to_owned()),
                    _ => tokens.push(Token::Sign(">")),
                }
            }
            '<' => return Err("'<' does not exist on a local instance".to_owned()),
            _ => {
                let word = word(&mut rest)?;
                tokens.push(word);
            }
        }
    }
    Ok(tokens)
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn word(rest: &mut Letters) -> Result<Token, String> {
    let mut pieces: Vec<Piece> = Vec::new();
    let add = |pieces: &mut Vec<Piece>, c: char| match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => pieces.push(Piece::Text(c.to_string())),
    };
    while let Some(&c) = rest.peek() {
        match c {
            c if c.is_whitespace() || matches!(c, ';' | '|' | '&') => break,
            '>' if pieces == [Piece::Text("2".to_owned())] => {
                let sign: String = rest.by_ref().take(3).collect();
                return match sign.as_str() {
                    ">&1" => Ok(Token::Sign("2>&1")),
                    _ => Err("of 2>, only 2>&1 exists on a local instance".to_owned()),
                };
            }
            '>' | '<' | '`' | '(' | ')' | '*' | '?' => return Err(format!("'{c}' does not exist on a local instance")),
            // `{` and `[` alone are words.
            '{' | '[' if !pieces.is_empty() || !is_alone(rest) => {
                return Err(format!("'{c}' in a word does not exist on a local instance"));
            }
            '~' if starts_path(&pieces) => return Err("'~' does not exist on a local instance".to_owned()),
            '\'' => {
                rest.next();
                pieces.push(Piece::Text(String::new()));
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(c) => add(&mut pieces, c),
                        None => return Err("unexpected EOF while looking for matching `''".to_owned()),
                    }
                }
            }
            '"' => {
                rest.next();
                pieces.push(Piece::Text(String::new()));
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('$') => pieces.push(dollar(rest, false)?),
                        Some('`') => return Err("'`' does not exist on a local instance".to_owned()),
                        Some('\\') => match rest.next() {
                            Some('\n') => (),
                            Some(c @ ('"' | '\\' | '$' | '`')) => add(&mut pieces, c),
                            Some(c) => {
                                add(&mut pieces, '\\');
                                add(&mut pieces, c);
                            }
                            None => return Err("unexpected EOF".to_owned()),
                        },
                        Some(c) => add(&mut pieces, c),
                        None => return Err("unexpected EOF while looking for matching `\"'".to_owned()),
                    }
                }
            }
            '$' => {
                rest.next();
                pieces.push(dollar(rest, true)?);
            }
            '\\' => {
                rest.next();
                // At the end of a line, it joins the next one.
                rest.next().filter(|c| *c != '\n').into_iter().for_each(|c| add(&mut pieces, c));
            }
            c => {
                rest.next();
                add(&mut pieces, c);
            }
        }
    }
    Ok(Token::Word(pieces))
}

/// Returns whether the next character is a word of its own.
fn is_alone(rest: &Letters) -> bool {
    rest.clone().nth(1).is_none_or(|next| next.is_whitespace() || matches!(next, ';' | '|' | '&'))
}

/// Returns whether bash would replace a `~` after these pieces.
fn starts_path(pieces: &[Piece]) -> bool {
    match pieces.last() {
        Some(Piece::Text(text)) => text.ends_with(['=', ':']),
        Some(_) => false,
        None => true,
    }
}

/// Parses the text after a dollar sign: `NAME`, `{NAME}`, a digit, or `(SCRIPT)`.
fn dollar(rest: &mut Letters, is_split: bool) -> Result<Piece, String> {
    let is_letter = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    match rest.peek() {
        Some('(') => {
            rest.next();
            let (mut depth, mut script) = (1, String::new());
            for c in rest.by_ref() {
                depth += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                if depth == 0 {
                    return Ok(Piece::Output(script, is_split));
                }
                script.push(c);
            }
            Err("unexpected EOF while looking for matching `)'".to_owned())
        }
        Some('{') => {
            rest.next();
            let name: String = std::iter::from_fn(|| rest.next_if(is_letter)).collect();
            rest.next_if_eq(&'}')
                .filter(|_| is_variable(&name))
                .ok_or("of ${…}, only ${NAME} exists on a local instance")?;
            Ok(Piece::Variable(name, is_split))
        }
        Some(c @ ('?' | '@' | '#' | '*' | '$' | '!' | '-' | '0' | '[')) => {
            Err(format!("'${c}' does not exist on a local instance"))
        }
        Some(c @ ('\'' | '"')) if is_split => Err(format!("'${c}' does not exist on a local instance")),
        Some(c) if c.is_ascii_digit() => Ok(Piece::Variable(rest.next().into_iter().collect(), is_split)),
        Some(c) if is_letter(c) => {
            Ok(Piece::Variable(std::iter::from_fn(|| rest.next_if(is_letter)).collect(), is_split))
        }
        _ => Ok(Piece::Text("$".to_owned())),
    }
}

/// Returns whether `${NAME}` has a name or the number of an argument.
fn is_variable(name: &str) -> bool {
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) && !name.starts_with('0');
    is_number || is_name(name)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Pipelines, each with the operator before it: `;`, `&&` or `||`.
pub(super) type List = Vec<(&'static str, Vec<Stage>)>;

/// A command of a pipeline, whether its errors are merged into its output, and the file that its output is written to.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) what: What,
    pub(super) merged: bool,
    pub(super) to: Option<Vec<Piece>>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Command(Vec<Vec<Piece>>),
    Group(List),
    /// `while CONDITION; do BODY; done`.
    While(List, List),
    /// `for NAME in WORDS; do BODY; done`.
    For(String, Vec<Vec<Piece>>, List),
}

/// Keywords that are not supported.
const KEYWORDS: &[&str] = &["if", "until", "case", "function", "select", "time", "!", "[[", "(("];

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    level: usize,
}

impl Reader {
    fn list(&mut self, end: Option<&str>) -> Result<List, String> {
        self.level += 1;
        if self.level > MOST_LEVELS {
            return Err("too many levels of groups".to_owned());
        }
        let (mut list, mut sign) = (List::new(), ";");
        loop {
            while self.sign(";") {}
            if self.at >= self.tokens.len() || end.is_some_and(|end| self.is_word(end)) {
                break;
            }
            list.push((sign, self.pipeline()?));
            sign = match self.tokens.get(self.at) {
                Some(Token::Sign(sign @ (";" | "&&" | "||"))) => sign,
                None => ";",
                Some(_) => return Err("syntax error near unexpected token".to_owned()),
            };
            self.at += 1;
        }
        match end {
            Some(end) if self.at >= self.tokens.len() => {
                return Err(format!("unexpected EOF while looking for `{end}'"));
            }
            Some(_) => self.at += 1,
            None => (),
        }
        self.level -= 1;
        Ok(list)
    }

    fn pipeline(&mut self) -> Result<Vec<Stage>, String> {
        let mut stages = vec![self.stage()?];
        while self.sign("|") {
            while self.sign(";") {}
            stages.push(self.stage()?);
        }
        Ok(stages)
    }

    fn stage(&mut self) -> Result<Stage, String> {
        let what = if self.takes_word("{") {
            What::Group(self.list(Some("}"))?)
        } else if self.takes_word("while") {
            What::While(self.list(Some("do"))?, self.list(Some("done"))?)
        } else if self.takes_word("for") {
            let near = || "syntax error near `for'".to_owned();
            let name = match self.words().as_slice() {
                [name, is_in, words @ ..] if *is_in == [Piece::Text("in".to_owned())] => {
                    let [Piece::Text(name)] = name.as_slice() else { return Err(near()) };
                    (name.clone(), words.to_vec())
                }
                _ => return Err(near()),
            };
            while self.sign(";") {}
            if !self.takes_word("do") {
                return Err(near());
            }
            What::For(name.0, name.1, self.list(Some("done"))?)
        } else {
            let words = self.words();
            match words.first().map(Vec::as_slice) {
                None => return Err("syntax error near unexpected token".to_owned()),
                Some([Piece::Text(word)]) if KEYWORDS.contains(&word.as_str()) => {
                    return Err(format!("'{word}' does not exist on a local instance"));
                }
                Some(_) => What::Command(words),
            }
        };
        let (mut merged, mut to) = (false, None);
        loop {
            if self.sign("2>&1") {
                // Before `>`, it would refer to the former output.
                merged = true;
            } else if self.sign(">") {
                let Some(Token::Word(word)) = self.tokens.get(self.at).filter(|_| !merged && to.is_none()) else {
                    return Err("syntax error near `>'".to_owned());
                };
                to = Some(word.clone());
                self.at += 1;
            } else {
                return Ok(Stage { what, merged, to });
            }
        }
    }

    fn words(&mut self) -> Vec<Vec<Piece>> {
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.tokens.get(self.at) {
            words.push(word.clone());
            self.at += 1;
        }
        words
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(word);
        self.at += usize::from(is_there);
        is_there
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Word(pieces)) if *pieces == [Piece::Text(word.to_owned())])
    }

    fn sign(&mut self, sign: &str) -> bool {
        let is_there = self.tokens.get(self.at)
            == Some(&Token::Sign(match sign {
                "|" => "|",
                ";" => ";",
                ">" => ">",
                _ => "2>&1",
            }));
        self.at += usize::from(is_there);
        is_there
    }
}

/// Splits `NAME=VALUE` into the name and the pieces of the value, which is not split into words.
pub(super) fn assigned(word: &[Piece]) -> Option<(String, Vec<Piece>)> {
    let Some(Piece::Text(text)) = word.first() else { return None };
    let (name, rest) = text.split_once('=')?;
    let whole = |piece: &Piece| match piece.clone() {
        Piece::Variable(name, _) => Piece::Variable(name, false),
        Piece::Output(script, _) => Piece::Output(script, false),
        text => text,
    };
    let value = std::iter::once(Piece::Text(rest.to_owned())).chain(word[1..].iter().map(whole)).collect();
    is_name(name).then(|| (name.to_owned(), value))
}
