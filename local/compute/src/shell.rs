//! The subset of bash that scripts in user data need: simple commands, pipes, groups, lists with `&&` and `||`, the loops
//! `while` and `for`, `>`, variables and `$(…)`. `commands` runs every command; no shell of this machine is started. Any
//! other syntax is an error.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::commands::{Done, Tools, below, run_tool};

/// The maximum nesting of groups, and that of scripts and substitutions, since each level uses stack space.
const MOST_LEVELS: usize = 8;

/// The maximum output of a script in bytes; the rest is cut off.
const LONGEST_OUTPUT: usize = 1 << 20;

/// The maximum length of a variable's value in bytes (`MAX_ARG_STRLEN`).
const LONGEST_VALUE: usize = 128 << 10;

/// The maximum number of rounds of all loops of a script and of the scripts that it runs, each of which counts as a round
/// itself. Only the main program of a unit may run for ever.
const MOST_ROUNDS: usize = 10_000;

/// The least duration of a round in a loop without end.
const ROUND: Duration = Duration::from_millis(1);

/// Prints output and errors before the script ends.
pub type Say<'a> = &'a (dyn Fn(&[u8], &str) + Sync);

/// How deep in other scripts a script is, and the number of rounds of all of them if it is limited.
#[derive(Clone)]
pub struct Nest {
    level: usize,
    rounds: Option<Arc<AtomicUsize>>,
}

impl Nest {
    /// For the main program of a unit.
    pub const ENDLESS: Nest = Nest { level: 0, rounds: None };

    /// For any other command.
    pub fn limited() -> Nest {
        Nest { level: 0, rounds: Some(Arc::default()) }
    }

    /// For a script or substitution in this one, which never is the main program.
    fn deeper(&self) -> Nest {
        Nest { level: self.level + 1, rounds: Some(self.rounds.clone().unwrap_or_default()) }
    }

    /// For a script that a command of this one runs. Without counting them, scripts that run each other several times
    /// would take for ever.
    ///
    /// Errors: there are too many scripts.
    pub fn of_script(&self) -> Result<Nest, String> {
        let nest = self.deeper();
        match nest.goes_round() {
            true => Ok(nest),
            false => Err("bash: too many scripts for a local instance".to_owned()),
        }
    }

    /// Counts a round. Returns whether it may begin.
    fn goes_round(&self) -> bool {
        self.rounds.as_ref().is_none_or(|rounds| rounds.fetch_add(1, Ordering::Relaxed) < MOST_ROUNDS)
    }
}

/// Runs a script with the arguments `$1`, `$2`, … With `say`, what its loops print is passed on after each round.
pub async fn run(
    root: &Path,
    tools: &dyn Tools,
    script: &str,
    arguments: &[&str],
    environment: &BTreeMap<String, String>,
    nest: Nest,
    say: Option<Say<'_>>,
) -> Done {
    let mut variables = environment.clone();
    for (at, argument) in arguments.iter().enumerate() {
        variables.insert((at + 1).to_string(), (*argument).to_owned());
    }
    Shell { root, tools, variables, nest, say, loops: 0, breaks: false, substituted: 0, complaints: String::new() }
        .script(script)
        .await
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
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

/// Parses what follows a dollar sign: `NAME`, `{NAME}`, a digit, or `(SCRIPT)`.
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
type List = Vec<(&'static str, Vec<Stage>)>;

/// A command of a pipeline, whether its errors are merged into its output, and the file that its output is written to.
#[derive(Debug, Clone)]
struct Stage {
    what: What,
    merged: bool,
    to: Option<Vec<Piece>>,
}

#[derive(Debug, Clone)]
enum What {
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

struct Shell<'a> {
    root: &'a Path,
    tools: &'a dyn Tools,
    variables: BTreeMap<String, String>,
    nest: Nest,
    /// Prints what the current command has printed, unless its output goes elsewhere.
    say: Option<Say<'a>>,
    /// The number of loops around the current command.
    loops: usize,
    /// Whether `break` ends the innermost loop.
    breaks: bool,
    /// The status of the last substitution of the current command, or 0.
    substituted: i32,
    /// The errors of the substitutions of the current command.
    complaints: String,
}

/// A command with its words expanded.
enum Ready {
    Assignment(String, String),
    Words(Vec<String>),
}

type Running<'s> = Pin<Box<dyn Future<Output = Done> + Send + 's>>;

impl Shell<'_> {
    async fn script(&mut self, script: &str) -> Done {
        let parsed = match self.nest.level {
            0..MOST_LEVELS => tokens(script).and_then(|tokens| Reader { tokens, at: 0, level: 0 }.list(None)),
            _ => Err("too many levels of scripts and substitutions".to_owned()),
        };
        match parsed {
            Ok(list) => self.list(&list, Vec::new()).await,
            Err(why) => Done { status: 2, output: Vec::new(), errors: format!("bash: {why}\n") },
        }
    }

    fn list<'s>(&'s mut self, list: &'s List, input: Vec<u8>) -> Running<'s> {
        Box::pin(async move {
            let mut whole = Done::default();
            for (sign, stages) in list {
                let is_due = match *sign {
                    "&&" => whole.status == 0,
                    "||" => whole.status != 0,
                    _ => true,
                };
                if !is_due {
                    continue;
                }
                if let [stage] = stages.as_slice() {
                    let said = self.say;
                    // Output redirected to a file is not printed.
                    self.say = said.filter(|_| !stage.merged && stage.to.is_none());
                    let done = self.stage(stage, input.clone()).await;
                    self.say = said;
                    add(&mut whole, done);
                } else {
                    let done = self.pipe(stages, input.clone()).await;
                    add(&mut whole, done);
                }
                self.bound(&mut whole);
                if self.breaks {
                    break;
                }
            }
            whole
        })
    }

    /// Runs several commands, each of them in a subshell: neither its variables nor its `break` have an effect here.
    async fn pipe(&mut self, stages: &[Stage], mut input: Vec<u8>) -> Done {
        let (mut whole, said, loops) = (Done::default(), self.say.take(), self.loops);
        for stage in stages {
            let variables = self.variables.clone();
            // In the subshell of a group or loop, the loops around it do not exist.
            self.loops = if matches!(stage.what, What::Command(_)) { loops } else { 0 };
            let mut done = self.stage(stage, std::mem::take(&mut input)).await;
            (self.variables, self.breaks) = (variables, false);
            input = std::mem::take(&mut done.output);
            input.truncate(LONGEST_OUTPUT);
            add(&mut whole, done);
        }
        (self.say, self.loops) = (said, loops);
        whole.output = input;
        whole
    }

    /// Runs a command. As in bash, its words are expanded before its file is opened, and it does not run without it.
    async fn stage(&mut self, stage: &Stage, input: Vec<u8>) -> Done {
        let ready = match &stage.what {
            What::Command(words) => Some(self.ready(words).await),
            _ => None,
        };
        let file = match &stage.to {
            Some(word) => self.open(word).await,
            None => Ok(None),
        };
        // They do not follow the redirections.
        let complaints = std::mem::take(&mut self.complaints);
        let mut done = match (&file, &stage.what, ready) {
            (Err(why), _, Some(ready @ Ready::Assignment(..))) => {
                // It has been made by now.
                self.command(ready, input).await;
                Done::failed(why)
            }
            (Err(why), ..) => Done::failed(why),
            (_, What::Group(list), _) => self.list(list, input).await,
            (_, What::While(condition, body), _) => self.repeat(condition, body, input).await,
            (_, What::For(name, words, body), _) => self.each(name, words, body, input).await,
            (_, What::Command(_), Some(ready)) => self.command(ready, input).await,
            (_, What::Command(_), None) => Done::default(),
        };
        if stage.merged && file.is_ok() {
            done.output.extend(std::mem::take(&mut done.errors).into_bytes());
        }
        if stage.to.is_some() {
            let output = std::mem::take(&mut done.output);
            if let Ok(Some((path, mut file))) = file
                && let Err(why) = file.write_all(&output)
            {
                add(&mut done, Done::failed(format!("bash: {path}: {why}")));
            }
        }
        done.errors.insert_str(0, &complaints);
        done
    }

    /// Prints what a command has printed if that is possible, or else cuts it off.
    fn bound(&self, done: &mut Done) {
        if let Some(say) = self.say {
            say(&std::mem::take(&mut done.output), &std::mem::take(&mut done.errors));
        }
        done.output.truncate(LONGEST_OUTPUT);
        if done.errors.len() > LONGEST_OUTPUT {
            done.errors = String::from_utf8_lossy(&done.errors.as_bytes()[..LONGEST_OUTPUT]).into_owned();
        }
    }

    /// Begins a round of a loop. Returns whether it may.
    async fn goes_round(&self, whole: &mut Done) -> bool {
        if !self.nest.goes_round() {
            add(whole, Done::failed("bash: too many rounds of a loop for a local instance"));
            return false;
        }
        match self.nest.rounds {
            Some(_) => tokio::task::yield_now().await,
            None => tokio::time::sleep(ROUND).await,
        }
        true
    }

    /// The status is that of the last command of the body, or 0.
    async fn repeat(&mut self, condition: &List, body: &List, input: Vec<u8>) -> Done {
        let mut whole = Done::default();
        self.loops += 1;
        while self.goes_round(&mut whole).await {
            let held = self.list(condition, input.clone()).await;
            let is_over = held.status != 0 || self.breaks;
            let status = if held.status == 0 { 0 } else { whole.status };
            add(&mut whole, Done { status, ..held });
            if is_over {
                break;
            }
            let done = self.list(body, input.clone()).await;
            add(&mut whole, done);
            self.bound(&mut whole);
            if self.breaks {
                break;
            }
        }
        self.loops -= 1;
        self.breaks = false;
        whole
    }

    async fn each(&mut self, name: &str, words: &[Vec<Piece>], body: &List, input: Vec<u8>) -> Done {
        let (mut whole, mut values) = (Done::default(), Vec::new());
        for word in words {
            values.extend(self.expand(word).await);
        }
        whole.errors = std::mem::take(&mut self.complaints);
        self.loops += 1;
        for value in values {
            if !self.goes_round(&mut whole).await {
                break;
            }
            self.variables.insert(name.to_owned(), value);
            let done = self.list(body, input.clone()).await;
            add(&mut whole, done);
            self.bound(&mut whole);
            if self.breaks {
                break;
            }
        }
        self.loops -= 1;
        self.breaks = false;
        whole
    }

    /// Opens a file of the instance for the output of a command, and empties it; `None` for `/dev/null`.
    async fn open(&mut self, word: &[Piece]) -> Result<Option<(String, std::fs::File)>, String> {
        let path = self.expand(word).await.concat();
        if path == "/dev/null" {
            return Ok(None);
        }
        let opened =
            below(self.root, &path).and_then(|real| std::fs::File::create(real).map_err(|error| error.to_string()));
        opened.map(|file| Some((path.clone(), file))).map_err(|why| format!("bash: {path}: {why}"))
    }

    async fn ready(&mut self, words: &[Vec<Piece>]) -> Ready {
        self.substituted = 0;
        if let [word] = words
            && let Some((name, value)) = assigned(word)
        {
            let mut value = self.expand(&value).await.concat();
            let end = (0..=LONGEST_VALUE.min(value.len())).rev().find(|end| value.is_char_boundary(*end));
            value.truncate(end.unwrap_or_default());
            return Ready::Assignment(name, value);
        }
        let mut expanded = Vec::new();
        for word in words {
            expanded.extend(self.expand(word).await);
        }
        Ready::Words(expanded)
    }

    async fn command(&mut self, ready: Ready, input: Vec<u8>) -> Done {
        let words = match ready {
            Ready::Assignment(name, value) => {
                self.variables.insert(name, value);
                return Done { status: self.substituted, ..Done::default() };
            }
            Ready::Words(words) => words,
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            // As in an assignment, no command has run since the substitution.
            [] => Done { status: self.substituted, ..Done::default() },
            ["cat", path] => {
                match below(self.root, path).and_then(|real| std::fs::read(real).map_err(|e| e.to_string())) {
                    Ok(output) => Done { output, ..Done::default() },
                    Err(why) => Done::failed(format!("cat: {path}: {why}")),
                }
            }
            ["[", one, "=", other, "]"] => Done { status: i32::from(one != other), ..Done::default() },
            ["[", "-s", path, "]"] => {
                let has_bytes = |real: std::path::PathBuf| std::fs::metadata(real).is_ok_and(|file| file.len() > 0);
                Done { status: i32::from(!below(self.root, path).is_ok_and(has_bytes)), ..Done::default() }
            }
            ["break"] if self.loops == 0 => Done {
                errors: "bash: break: only meaningful in a `for', `while', or `until' loop\n".to_owned(),
                ..Done::default()
            },
            ["break"] => {
                self.breaks = true;
                Done::default()
            }
            words => run_tool(self.root, self.tools, words, input, &self.nest).await,
        }
    }

    /// Expands a word: unquoted values are split, and an empty one yields no word.
    async fn expand(&mut self, pieces: &[Piece]) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut word: Option<String> = None;
        for piece in pieces {
            let (value, is_split) = match piece {
                Piece::Text(text) => (text.clone(), false),
                Piece::Variable(name, is_split) => (self.variables.get(name).cloned().unwrap_or_default(), *is_split),
                Piece::Output(script, is_split) => {
                    let Shell { root, tools, loops, .. } = *self;
                    let mut inner = Shell {
                        root,
                        tools,
                        variables: self.variables.clone(),
                        nest: self.nest.deeper(),
                        say: None,
                        loops,
                        breaks: false,
                        substituted: 0,
                        complaints: String::new(),
                    };
                    let inner = Box::pin(inner.script(script)).await;
                    self.substituted = inner.status;
                    self.complaints += &inner.errors;
                    let text = String::from_utf8_lossy(&inner.output).trim_end_matches('\n').to_owned();
                    (text, *is_split)
                }
            };
            if !is_split {
                word.get_or_insert_default().push_str(&value);
                continue;
            }
            for (at, part) in value.split_whitespace().enumerate() {
                if at > 0 {
                    words.extend(word.take());
                }
                word.get_or_insert_default().push_str(part);
            }
        }
        words.extend(word);
        words
    }
}

/// Adds what a part of a command has printed; its status is that of the last part.
fn add(whole: &mut Done, part: Done) {
    whole.status = part.status;
    whole.output.extend(part.output);
    whole.errors += &part.errors;
}

/// Splits `NAME=VALUE` into the name and the pieces of the value, which is not split into words.
fn assigned(word: &[Piece]) -> Option<(String, Vec<Piece>)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::FakeTools;

    async fn check(script: &str, output: &str) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("id"), "i-1\n").unwrap();
        let environment = BTreeMap::from([("RESULT".to_owned(), "exit-code".to_owned())]);
        let done =
            run(dir.path(), &FakeTools::default(), script, &["exit", "two words"], &environment, Nest::limited(), None)
                .await;
        assert_eq!(String::from_utf8(done.output).unwrap() + &done.errors, output, "{script}");
    }

    #[tokio::test]
    async fn a_script_has_variables_pipes_groups_and_lists() {
        check("# nothing\n\n", "").await;
        check("echo $1 \"$RESULT\" '$1' ${1}s", "exit exit-code $1 exits\n").await;
        check("id=$(cat /id)\necho s3://bucket/$id/$1", "s3://bucket/i-1/exit\n").await;
        check("{\n  echo one\n  echo $2\n} 2>&1 | tail -c 6", "words\n").await;
        check("[ \"$1\" = exit ] && echo yes || echo no; [ a = b ] && echo never", "yes\n").await;
        check("a=\"$2\"; b=$a$a; echo \"$b\"; echo ${missing}.", "two wordstwo words\n.\n").await;
        check("echo one \\\n  two", "one two\n").await;
        check("nothing 2>&1 | tail -c 9", "instance\n").await;
    }

    #[tokio::test]
    async fn a_script_has_loops_and_files() {
        check("for x in a $1 \"$2\"; do echo $x; done", "a\nexit\ntwo words\n").await;
        check("for x in a b c; do\n  [ $x = b ] && break\n  echo $x\ndone; echo $x", "a\nb\n").await;
        check("x=a; while [ $x = a ]; do echo $x; x=b; done; echo $x", "a\nb\n").await;
        check("while true; do for x in 1 2; do echo $x; break; done; break; done", "1\n").await;
        check("for x in 1 2; do echo $x; done | tail -c 2", "2\n").await;
        check("echo lost > /dev/null; echo kept > /new; [ -s /new ] && cat /new", "kept\n").await;
        check("echo x > /one; mv /one /two; cp /two /three; cat /three; [ -s /one ] || echo gone", "x\ngone\n").await;
        check("{ echo a; echo b; } > /both; cat /both", "a\nb\n").await;
    }

    /// Checks the output, the errors and the status of a script.
    async fn expect(script: &str, output: &str, errors: &str, status: i32) {
        let dir = tempfile::tempdir().unwrap();
        let done = run(dir.path(), &FakeTools::default(), script, &[], &BTreeMap::new(), Nest::limited(), None).await;
        let done = (String::from_utf8(done.output).unwrap(), done.errors, done.status);
        assert_eq!(done, (output.to_owned(), errors.to_owned(), status), "{script}");
    }

    const UNKNOWN: &str = "nothing: this command does not exist on a local instance\n";

    #[tokio::test]
    async fn a_substitution_has_a_status_and_errors() {
        expect("x=$(nothing) && echo yes", "", UNKNOWN, 1).await;
        expect("x=$(nothing) || echo no$x", "no\n", UNKNOWN, 0).await;
        expect("x=$(nothing)$(true) && echo yes", "yes\n", UNKNOWN, 0).await;
        expect("x=$(true)$(nothing) || echo no", "no\n", UNKNOWN, 0).await;
        expect("nothing; x=1 && echo yes", "yes\n", UNKNOWN, 0).await;
        expect("echo a$(nothing)", "a\n", UNKNOWN, 0).await;
        expect("$(nothing)", "", UNKNOWN, 1).await;
        expect("for x in $(nothing); do echo $x; done", "", UNKNOWN, 0).await;
        // Words are expanded before redirections, but those of a group within its redirection.
        expect("echo a$(nothing) 2>&1 | tail -c 2", "a\n", UNKNOWN, 0).await;
        expect("{ echo a$(nothing); } 2>&1 | tail -c 9", "instance\n", "", 0).await;
        expect("x=$(if true; then echo; fi)", "", "bash: 'if' does not exist on a local instance\n", 2).await;
        expect("x=$(echo $(nothing))", "", UNKNOWN, 0).await;
    }

    #[tokio::test]
    async fn control_flow_is_that_of_bash() {
        let outside = "bash: break: only meaningful in a `for', `while', or `until' loop\n";
        let once = "x=a; while [ $x = a ]; do x=b;";
        expect(&format!("{once} [ a = b ]; done && echo yes"), "", "", 1).await;
        expect(&format!("{once} [ a = b ]; done || echo no"), "no\n", "", 0).await;
        expect(&format!("{once} true; done && echo yes"), "yes\n", "", 0).await;
        expect(&format!("{once} [ a = b ]; break; done && echo yes"), "yes\n", "", 0).await;
        expect("while [ a = b ]; do true; done && echo yes", "yes\n", "", 0).await;
        expect("x=a; x=b | true; echo $x", "a\n", "", 0).await;
        expect("x=a; true | x=b; echo $x", "a\n", "", 0).await;
        expect("x=a; { x=b; }; echo $x", "b\n", "", 0).await;
        expect("for x in 1 2; do echo x | break; echo $x; done", "1\n2\n", "", 0).await;
        expect("for x in 1 2; do { break; } | true; echo $x; done", "1\n2\n", &outside.repeat(2), 0).await;
        expect("for x in 1 2; do y=$(break; echo in); echo $y$x; done", "1\n2\n", "", 0).await;
        expect("for x in 1 2; do { break; }; done; echo $x", "1\n", "", 0).await;
        expect("break; echo on", "on\n", outside, 0).await;
        expect("break && echo on", "on\n", outside, 0).await;
        // A file is emptied before the command runs, and without it nothing runs.
        expect("echo a > /f; cat /f > /f; cat /f; [ -s /f ] || echo empty", "empty\n", "", 0).await;
        expect("nothing > /f; [ -s /f ] || cat /f", "", UNKNOWN, 0).await;
        let missing = "bash: /none/f: No such file or directory (os error 2)\n";
        expect("x=a; x=b > /none/f || echo $x", "b\n", missing, 0).await;
        expect("while true; do nothing; done > /none/f || echo no", "no\n", missing, 0).await;
        expect("nothing > /none/f 2>&1 | tail -c 3", "", missing, 0).await;
        expect("echo a > /dev/null", "", "", 0).await;
    }

    #[tokio::test]
    async fn characters_without_a_meaning_are_words() {
        expect(
            "echo '{a,b}' \"{a,b}\" \\~ '~' a~b '[a]' \"$\" $ \"a\\\nb\" a\\\nb",
            "{a,b} {a,b} ~ ~ a~b [a] $ $ ab ab\n",
            "",
            0,
        )
        .await;
        expect("{ echo }; }; [ a = a ] && echo -x - --", "}\n-x - --\n", "", 0).await;
        expect("echo abc | tail -c 3; echo abc | tail -c 99999999999999999999999", "bc\nabc\n", "", 0).await;
    }

    #[tokio::test]
    async fn scripts_that_run_scripts_have_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, script: &str| std::fs::write(dir.path().join(name), script).unwrap();
        write("argument", "echo $1; [ $1 = b ]");
        write("self", "{ { { { { { echo x; bash /self; }; }; }; }; }; }");
        write("many", &"bash /many\n".repeat(1000));
        write("loop", "while true; do true; done");
        let check = async |script: &str, nest: Nest, word: &str, status: i32| {
            let done = run(dir.path(), &FakeTools::default(), script, &[], &BTreeMap::new(), nest, None).await;
            let said = String::from_utf8(done.output).unwrap() + &done.errors;
            assert!(said.contains(word) && done.status == status, "{script}: {} {said}", done.status);
        };
        for nest in [Nest::limited, || Nest::ENDLESS] {
            check("bash /argument a && echo yes || echo no", nest(), "a\nno\n", 0).await;
            check("bash /argument b", nest(), "b\n", 0).await;
            check("bash /self", nest(), "x\nx\nx\nx\nx\nx\nx\nbash: too many levels of scripts", 2).await;
            check("x=$(bash /self)", nest(), "too many levels of scripts", 2).await;
            check("bash /many", nest(), "too many scripts", 1).await;
            check("bash /loop", nest(), "too many rounds", 1).await;
        }
        // The rounds of all of them count.
        let rounds = Nest::limited();
        check("bash /loop", rounds.clone(), "too many rounds", 1).await;
        check("bash /argument b", rounds.clone(), "too many scripts", 1).await;
        check("for x in a; do echo $x; done", rounds, "too many rounds", 1).await;
    }

    #[tokio::test]
    async fn only_the_main_program_of_a_unit_loops_for_ever() {
        let (dir, none) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        let script = "while true; do true; done";
        let before =
            run(dir.path(), &FakeTools::default(), script, &[], &none, Nest::limited(), Some(&|_: &[u8], _: &str| ()))
                .await;
        assert!(before.status == 1, "{before:?}");
    }

    #[tokio::test]
    async fn the_loop_of_a_unit_prints_each_round_and_has_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let said = std::sync::Mutex::new(String::new());
        let say = |output: &[u8], errors: &str| {
            *said.lock().unwrap() += &(String::from_utf8_lossy(output).into_owned() + errors);
        };
        let (tools, none) = (FakeTools::default(), BTreeMap::new());
        let script = "while true; do echo x; nothing; { echo hidden; } > /dev/null; done";
        let endless = run(dir.path(), &tools, script, &[], &none, Nest::ENDLESS, Some(&say));
        tokio::time::timeout(Duration::from_millis(200), endless).await.unwrap_err();
        let said = said.lock().unwrap();
        let round = "x\nnothing: this command does not exist on a local instance\n";
        assert!(said.starts_with(&round.repeat(2)) && !said.contains("hidden"), "{said}");
    }

    #[tokio::test]
    async fn unsupported_syntax_is_refused() {
        for (script, word) in [
            ("if true; then echo; fi", "'if' does not exist"),
            ("echo x > ../passwd", "is no absolute path"),
            ("echo x > /../passwd", "leads out of the instance"),
            ("echo x >> /x", "only `> FILE` exists"),
            ("echo x 2> /x", "only 2>&1 exists"),
            ("echo x 2>&1 > /x", "syntax error near `>'"),
            ("cat < /x", "'<' does not exist"),
            ("while true; do echo", "unexpected EOF"),
            ("for x of a; do echo; done", "syntax error near `for'"),
            ("while true; do true; done", "too many rounds"),
            ("x=$(while true; do true; done); while true; do echo; done", "too many rounds"),
            ("sleep 1 &", "jobs in the background"),
            ("echo `id`", "'`' does not exist"),
            ("echo \"`id`\"", "'`' does not exist"),
            ("echo $?", "'$?' does not exist"),
            ("echo \"$@\"", "'$@' does not exist"),
            ("echo $#", "'$#' does not exist"),
            ("echo $*", "'$*' does not exist"),
            ("echo $$", "'$$' does not exist"),
            ("echo $!", "'$!' does not exist"),
            ("echo $-", "'$-' does not exist"),
            ("echo $0", "'$0' does not exist"),
            ("echo ${0}", "only ${NAME} exists"),
            ("echo ${}", "only ${NAME} exists"),
            ("echo $'a'", "'$'' does not exist"),
            ("echo $\"a\"", "'$\"' does not exist"),
            ("echo {a,b}", "'{' in a word"),
            ("mkdir /x{1..3}", "'{' in a word"),
            ("echo ~/x", "'~' does not exist"),
            ("x=~", "'~' does not exist"),
            ("echo /x[ab]", "'[' in a word"),
            ("echo [ab]", "'[' in a word"),
            ("[[ a = a ]]", "'[' in a word"),
            ("echo -n x", "options of echo do not exist"),
            ("echo -e x", "options of echo do not exist"),
            ("echo -ne x", "options of echo do not exist"),
            ("echo x | tail -c +5", "only `tail -c BYTES`"),
            ("echo x | tail -c -5", "only `tail -c BYTES`"),
            ("echo \"open", "unexpected EOF"),
            ("{ echo", "unexpected EOF"),
            ("| echo", "syntax error"),
            ("rm -rf /", "rm: this command does not exist"),
            ("cat /../../etc/passwd", "leads out of the instance"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let done =
                run(dir.path(), &FakeTools::default(), script, &[], &BTreeMap::new(), Nest::limited(), None).await;
            assert!(done.status != 0 && done.errors.contains(word), "{script}: {}", done.errors);
        }
        let deep = format!("echo {}{}", "$(echo ".repeat(4000), ")".repeat(4000));
        let dir = tempfile::tempdir().unwrap();
        let done = run(dir.path(), &FakeTools::default(), &deep, &[], &BTreeMap::new(), Nest::limited(), None).await;
        assert_eq!(String::from_utf8(done.output).unwrap(), "\n");
        let nested = "{ ".repeat(4000);
        assert!(
            run(dir.path(), &FakeTools::default(), &nested, &[], &BTreeMap::new(), Nest::limited(), None)
                .await
                .errors
                .contains("too many")
        );
    }
}
