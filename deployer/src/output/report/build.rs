//! Progress of a build: a row with the count of crates on a terminal, a line for each tenth elsewhere.

use super::{
    board::{Board, Count},
    say, screen,
};
use crate::{
    engine::Progress,
    package::{Building, Platform},
};

/// The number of crates from which a build takes long enough to mention it.
const MANY: usize = 50;

/// Cargo's lines about single crates, which the count replaces.
const STEPS: &[&str] = &["Adding", "Compiling", "Downloaded", "Finished", "Locking"];

/// Shows how far a build is. Dropping it removes the row of a build that has not ended.
#[derive(Default)]
pub struct Build {
    shown: Option<Shown>,
}

struct Shown {
    /// The programs being built, such as `labeler, service for arm64`.
    name: String,
    board: Board,
    is_terminal: bool,
    /// The number of tenths that are done, once there is a count.
    tenths: Option<usize>,
}

impl Build {
    /// Shows an event.
    pub fn show(&mut self, building: Building<'_>) {
        match building {
            Building::Began { packages, target } => self.shown = Some(Shown::begin(name(packages, target))),
            Building::Line(line) if is_step(line) => (),
            Building::Line(line) => say(line),
            Building::Counted { done, all } => self.shown.iter_mut().for_each(|shown| shown.count(done, all)),
            Building::Ended => self.shown.take().into_iter().for_each(Shown::end),
        }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        self.shown.iter().for_each(|shown| shown.board.close());
    }
}

impl Shown {
    fn begin(name: String) -> Shown {
        let shown = Shown {
            name,
            board: Board::new(Count { done: 0, all: 0, what: "" }),
            is_terminal: screen::columns().is_some(),
            tenths: None,
        };
        if shown.is_terminal {
            shown.show_progress(Progress::Began("building"));
        }
        shown
    }

    /// Cargo counts as soon as a build takes longer than half a second.
    fn count(&mut self, done: usize, all: usize) {
        let tenths = (done * 10).checked_div(all).unwrap_or_default();
        if self.tenths.is_none() {
            announce(&self.name, all.saturating_sub(done)).iter().for_each(say);
            self.show_progress(Progress::Began("building"));
        }
        if self.is_terminal || self.tenths != Some(tenths) {
            self.show_progress(Progress::Waiting(format!("{done} of {all} crates")));
        }
        self.tenths = Some(tenths);
    }

    fn end(self) {
        if self.tenths.is_some() {
            self.show_progress(Progress::Done);
        }
        self.board.close();
    }

    fn show_progress(&self, progress: Progress) {
        self.board.show_row(self.name.clone(), progress);
    }
}

/// The line before a build of this many crates.
fn announce(name: &str, left: usize) -> Vec<String> {
    if left < MANY {
        return Vec::new();
    }
    vec![
        format!("building {name} with Cargo: {left} crates are left."),
        "The first build takes minutes (about ten on two cores), later ones seconds.".to_owned(),
    ]
}

fn name(packages: &[&str], target: Platform) -> String {
    let packages = packages.join(", ");
    match target {
        Platform::Host => packages,
        Platform::Aws(architecture) => format!("{packages} for {}", architecture.name()),
    }
}

fn is_step(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|first| STEPS.contains(&first)) && line.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Architecture;

    #[test]
    fn only_a_long_build_is_announced() {
        let arm64 = name(&["labeler", "service"], Platform::Aws(Architecture::Arm64));
        assert_eq!(announce(&arm64, MANY)[0], "building labeler, service for arm64 with Cargo: 50 crates are left.");
        assert!(announce(&arm64, MANY)[1].contains("about ten on two cores"));
        assert!(announce(&arm64, MANY).iter().all(|line| line.len() <= 80));
        assert!(announce(&arm64, MANY - 1).is_empty());
    }

    #[test]
    fn what_is_not_about_a_single_crate_is_printed() {
        for step in ["   Compiling a v1.0.0", "    Finished `dev` profile", "     Locking 2 packages"] {
            assert!(is_step(step), "{step}");
        }
        for line in ["    Blocking waiting for file lock on build directory", "warning: unused", "Compiling", ""] {
            assert!(!is_step(line), "{line}");
        }
    }
}
