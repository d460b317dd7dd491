//! The subset of bash that scripts in user data need: simple commands, pipes, groups, lists with `&&` and `||`, the loops
//! `while` and `for`, `>`, variables and `$(…)`. `commands` runs every command; no shell of this machine is started. Any
//! other syntax is an error.

mod syntax;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::commands::{Done, Tools, below, parse_mode, run_tool};
use kit::platform::PermissionsExt;
use syntax::{List, Piece, Stage, What, assigned};

/// The maximum nesting of groups, and that of scripts and substitutions, since each level uses stack space.
const MOST_LEVELS: usize = 8;

/// The maximum output of a script in bytes; the rest is cut off.
const LONGEST_OUTPUT: usize = 1 << 20;

/// The maximum length of a variable's value in bytes (`MAX_ARG_STRLEN`).
const LONGEST_VALUE: usize = 128 << 10;

/// The maximum number of rounds of all loops of a script and of the scripts that it runs, each of which counts as a round
/// itself. Only the main program of a unit may run forever.
const MOST_ROUNDS: usize = 10_000;

/// The least duration of a round in a loop without end.
const ROUND: Duration = Duration::from_millis(1);

/// The usual file mode creation mask.
const USUAL_MASK: u32 = 0o022;

/// Prints output and errors before the script ends.
pub type Say<'a> = &'a (dyn Fn(&[u8], &str) + Sync);

/// The nesting depth of a script, and the total number of loop iterations if it is limited.
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
    /// would take forever.
    ///
    /// Errors: there are too many scripts.
    pub fn of_script(&self) -> Result<Nest, String> {
        let nest = self.deeper();
        match nest.begin_round() {
            true => Ok(nest),
            false => Err("bash: too many scripts for a local instance".to_owned()),
        }
    }

    /// Counts a round. Returns whether it may begin.
    fn begin_round(&self) -> bool {
        self.rounds.as_ref().is_none_or(|rounds| rounds.fetch_add(1, Ordering::Relaxed) < MOST_ROUNDS)
    }
}

/// Runs a script with the arguments `$1`, `$2`, … With `say`, the output of its loops is passed on after each
/// iteration.
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
    let (loops, breaks, substituted, complaints) = Default::default();
    Shell { root, tools, variables, nest, say, loops, breaks, substituted, complaints, umask: USUAL_MASK }
        .script(script)
        .await
}

struct Shell<'a> {
    root: &'a Path,
    tools: &'a dyn Tools,
    variables: BTreeMap<String, String>,
    nest: Nest,
    /// Passes on the output of the current command, unless it is redirected.
    say: Option<Say<'a>>,
    /// The number of loops around the current command.
    loops: usize,
    /// Whether `break` ends the innermost loop.
    breaks: bool,
    /// The status of the last substitution of the current command, or 0.
    substituted: i32,
    /// The errors of the substitutions of the current command.
    complaints: String,
    /// The permissions that new files do not get.
    umask: u32,
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
            0..MOST_LEVELS => syntax::parse(script),
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

    /// Passes on the output of a command, or discards it if that is impossible.
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
    async fn begin_round(&self, whole: &mut Done) -> bool {
        if !self.nest.begin_round() {
            add(whole, Done::failed("bash: too many loop iterations for a local instance"));
            return false;
        }
        match self.nest.rounds {
            Some(_) => tokio::task::yield_now().await,
            None => tokio::time::sleep(ROUND).await,
        }
        true
    }

    /// Runs the body of a loop once.
    async fn round(&mut self, body: &List, input: &[u8], whole: &mut Done) {
        let done = self.list(body, input.to_vec()).await;
        add(whole, done);
        self.bound(whole);
    }

    /// The status is that of the last command of the body, or 0.
    async fn repeat(&mut self, condition: &List, body: &List, input: Vec<u8>) -> Done {
        let mut whole = Done::default();
        self.loops += 1;
        while self.begin_round(&mut whole).await {
            let held = self.list(condition, input.clone()).await;
            let is_over = held.status != 0 || self.breaks;
            let status = if held.status == 0 { 0 } else { whole.status };
            add(&mut whole, Done { status, ..held });
            if is_over {
                break;
            }
            self.round(body, &input, &mut whole).await;
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
            if !self.begin_round(&mut whole).await {
                break;
            }
            self.variables.insert(name.to_owned(), value);
            self.round(body, &input, &mut whole).await;
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
        let mode = std::fs::Permissions::from_mode(0o666 & !self.umask);
        let create = |real: &Path| {
            let is_new = !real.exists();
            let file = std::fs::File::create(real)?;
            if is_new {
                file.set_permissions(mode)?;
            }
            Ok(file)
        };
        let opened = below(self.root, &path).and_then(|real| create(&real).map_err(|e: std::io::Error| e.to_string()));
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
            ["umask", mask] => match parse_mode(mask) {
                Ok(mask) => {
                    self.umask = mask;
                    Done::default()
                }
                Err(why) => Done::failed(format!("bash: umask: {why}")),
            },
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
                        umask: self.umask,
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

/// Adds the output of a part of a command. The status is that of the last part.
fn add(whole: &mut Done, part: Done) {
    whole.status = part.status;
    whole.output.extend(part.output);
    whole.errors += &part.errors;
}

#[cfg(test)]
mod tests;
