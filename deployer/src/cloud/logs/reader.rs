//! Reads all places at once, and merges their lines by time.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    ops::ControlFlow,
};

use futures::future::join_all;

use super::{Found, LogLine, LogPlace, feed::Feed, reports, union::Union};
use crate::{
    cloud::{
        aws::Aws,
        remedies::is_about_credentials,
        why::{Reports, Written, is_denied, newest_reports, unread},
    },
    engine::Fault,
};

/// How late most lines appear after newer ones, in milliseconds: instances send theirs every fifteen seconds, and try
/// again after a minute.
const LATE_MS: i64 = 120_000;
/// How late a line may appear at most: instances that AWS refuses for a while send theirs later.
const LATEST_MS: i64 = 600_000;

/// In every round of this many, reports and the latest lines are looked for.
const ROUNDS_PER_REPORT: usize = 5;

/// Reads the lines of several places, and then the lines that follow.
pub struct Reader<'a> {
    aws: &'a Aws,
    places: Vec<Watched>,
    since_ms: i64,
    union: Union,
    rounds: usize,
    /// Whether something could not be read.
    is_incomplete: bool,
}

/// A place, and how far it has been read.
struct Watched {
    place: LogPlace,
    log: SourceState,
    reports: SourceState,
    newest_ms: i64,
    /// The ids of the last lines, and the same in order, with their times.
    ids: HashSet<String>,
    recent: VecDeque<(i64, String)>,
    /// The reports read.
    written: BTreeSet<Written>,
}

/// Whether a source can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceState {
    Open,
    /// The last read failed, which has been reported; the next one may succeed.
    Failing,
    Denied,
}

impl SourceState {
    /// Records a failed read. Returns whether to report it.
    fn fails(&mut self, fault: &Fault) -> bool {
        let before = *self;
        *self = if is_denied(fault) { SourceState::Denied } else { SourceState::Failing };
        before != *self
    }
}

impl<'a> Reader<'a> {
    /// Lines of these places from a time on, in milliseconds since 1970.
    pub fn new(aws: &'a Aws, places: Vec<LogPlace>, since_ms: i64) -> Reader<'a> {
        let places = places.into_iter().map(Watched::of).collect();
        Reader { aws, places, since_ms, union: Union::default(), rounds: 0, is_incomplete: false }
    }

    /// Whether something could not be read.
    pub fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Whether every source is denied.
    pub fn is_denied(&self) -> bool {
        let is_denied = |it: &Watched| {
            it.log == SourceState::Denied && (it.place.reports.is_none() || it.reports == SourceState::Denied)
        };
        self.places.iter().all(is_denied)
    }

    /// Passes on all lines that it has not passed on yet, by time, until `each` breaks. A source that cannot be read is
    /// reported to `fails`, and does not hide the others.
    ///
    /// Errors: the credentials are refused.
    pub async fn round(
        &mut self,
        mut each: impl FnMut(&LogPlace, &LogLine) -> ControlFlow<()>,
        mut fails: impl FnMut(String),
    ) -> Result<ControlFlow<()>, Fault> {
        let mut feeds = self.reports(&mut fails).await?;
        for (at, it) in self.places.iter().enumerate().filter(|(_, it)| it.log != SourceState::Denied) {
            let late_ms = if self.is_thorough() { LATEST_MS } else { LATE_MS };
            feeds.push(Feed::of_log(self.aws, at, &it.place, it.start(self.since_ms, late_ms)));
        }
        self.rounds += 1;
        loop {
            let empty = feeds.iter_mut().filter(|feed| feed.is_empty());
            let filled = join_all(empty.map(async |feed| (feed.place(), feed.fill().await))).await;
            for (at, result) in filled {
                let Err(fault) = result else { continue };
                let it = &mut self.places[at];
                let is_news = it.log.fails(&fault);
                self.is_incomplete = true;
                report(format!("the log of {}", it.place.name), fault, is_news, &mut fails)?;
            }
            let next = feeds.iter_mut().filter(|feed| feed.rank().is_some()).min_by_key(|feed| feed.rank());
            let Some(line) = next.and_then(Feed::take) else { return Ok(ControlFlow::Continue(())) };
            let it = &mut self.places[line.place];
            let is_new = it.notes(&line) && (it.place.reports.is_none() || self.union.admits(&line));
            if is_new && each(&it.place, &line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// Whether this round looks for reports and for the latest lines.
    fn is_thorough(&self) -> bool {
        self.rounds.is_multiple_of(ROUNDS_PER_REPORT)
    }

    /// The lines of new reports.
    async fn reports(&mut self, fails: &mut impl FnMut(String)) -> Result<Vec<Feed>, Fault> {
        if !self.is_thorough() {
            return Ok(Vec::new());
        }
        let since_s = self.since_ms.div_euclid(1000);
        let open = self.places.iter().enumerate().filter(|(_, it)| it.reports != SourceState::Denied);
        let open: Vec<(usize, Reports)> = open.filter_map(|(at, it)| Some((at, it.place.reports.clone()?))).collect();
        let (aws, places) = (self.aws, &self.places);
        let read = async |(at, place): (usize, Reports)| {
            let known = &places[at].written;
            (at, newest_reports(aws, &place, since_s, reports::MOST, known).await)
        };
        let mut feeds = Vec::new();
        for (at, read) in join_all(open.into_iter().map(read)).await {
            let it = &mut self.places[at];
            match read {
                Ok(all) => {
                    it.reports = SourceState::Open;
                    let written = all.iter().map(|it| (it.at_s, it.instance.clone(), it.stage.clone()));
                    it.written.extend(written);
                    let new = all.iter().flat_map(|report| reports::lines(at, report, self.since_ms));
                    feeds.push(Feed::of_lines(at, new.collect()));
                }
                // The bucket does not exist before the first `up`; a report may expire while it is read.
                Err(fault) if fault.is_absent() => (),
                Err(fault) => {
                    let is_news = it.reports.fails(&fault);
                    self.is_incomplete = true;
                    report(format!("the boot reports of {}", it.place.name), fault, is_news, fails)?;
                }
            }
        }
        Ok(feeds)
    }
}

/// Reports a source that cannot be read. Refused credentials end everything.
fn report(what: String, fault: Fault, is_news: bool, fails: &mut impl FnMut(String)) -> Result<(), Fault> {
    if is_about_credentials(&fault) {
        return Err(fault);
    }
    if is_news {
        fails(unread(&what, &fault));
    }
    Ok(())
}

impl Watched {
    fn of(place: LogPlace) -> Watched {
        Watched {
            place,
            log: SourceState::Open,
            reports: SourceState::Open,
            newest_ms: 0,
            ids: HashSet::new(),
            recent: VecDeque::new(),
            written: BTreeSet::new(),
        }
    }

    /// The time from which its log is read, for lines that are this late.
    fn start(&self, since_ms: i64, late_ms: i64) -> i64 {
        since_ms.max(self.newest_ms.saturating_sub(late_ms))
    }

    /// Remembers a line of the log. Returns whether it is new.
    fn notes(&mut self, line: &LogLine) -> bool {
        let Found::Log(id) = &line.found else { return true };
        self.log = SourceState::Open;
        self.newest_ms = self.newest_ms.max(line.at_ms);
        let is_new = self.ids.insert(id.clone());
        if is_new {
            self.recent.push_back((line.at_ms, id.clone()));
        }
        // Lines from before the next start are not read again.
        while let Some((_, id)) = self.recent.front().filter(|(at_ms, _)| *at_ms < self.newest_ms - LATEST_MS) {
            self.ids.remove(id);
            self.recent.pop_front();
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::logs::LogKind;

    #[test]
    fn a_line_is_new_once_even_if_it_is_ten_minutes_late() {
        let (name, log_group) = ("web".to_owned(), "/deployer/app/web".to_owned());
        let mut watched = Watched::of(LogPlace { kind: LogKind::Service, name, log_group, reports: None });
        let line = |at_ms: i64, id: &str| {
            let (stream, text) = ("i-1".to_owned(), String::new());
            LogLine { at_ms, place: 0, stream, found: Found::Log(id.into()), text }
        };
        assert_eq!(watched.start(1_000, LATEST_MS), 1_000);
        assert!(watched.notes(&line(400_000, "a")) && watched.notes(&line(1_000_000, "b")));
        assert_eq!((watched.start(1_000, LATE_MS), watched.start(1_000, LATEST_MS)), (880_000, 400_000));
        assert!(watched.notes(&line(400_000, "late")) && !watched.notes(&line(400_000, "a")), "read again");
        assert!(!watched.notes(&line(400_000, "late")));
    }
}
