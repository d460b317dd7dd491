//! When the resources of a run begin and end: beforehand by their usual times, and afterwards by the clock.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Progress;

/// One resource of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its address, such as `bucket.images`.
    pub name: String,
    /// The tasks that have to end before it begins, by index.
    pub needs: Vec<usize>,
    /// Whether there is anything to do.
    pub is_work: bool,
    /// How long it usually takes, if that is known.
    pub usual: Option<Duration>,
}

/// The progress of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remaining {
    /// The tasks that are done.
    pub done: usize,
    /// All tasks with work.
    pub all: usize,
    /// How long the rest usually takes: the longest chain of tasks that need each other.
    pub left: Duration,
}

/// When a task was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// Its address.
    pub name: String,
    /// When it began, from the start of the run.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// Whether it is part of the critical path: the chain of tasks that determined the end of the run.
    pub is_critical: bool,
    /// Whether it failed.
    pub has_failed: bool,
}

/// The tasks of a run and their times. Clones share them.
#[derive(Debug, Clone)]
pub struct Schedule(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    tasks: Vec<Task>,
    index: BTreeMap<String, usize>,
    times: Vec<Times>,
}

/// The times of a task, from the start of the run.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    begun: Option<Duration>,
    ended: Option<Duration>,
    has_failed: bool,
}

impl Schedule {
    /// A run that starts now.
    pub fn new(tasks: Vec<Task>) -> Schedule {
        Schedule::starting(Instant::now(), tasks)
    }

    fn starting(start: Instant, tasks: Vec<Task>) -> Schedule {
        let index = tasks.iter().enumerate().map(|(index, task)| (task.name.clone(), index)).collect();
        let times = vec![Times::default(); tasks.len()];
        Schedule(Arc::new(Mutex::new(Inner { start, tasks, index, times })))
    }

    /// The same run with other tasks, after the plan was made again. What is done stays done.
    pub fn replanned(&self, tasks: Vec<Task>) -> Schedule {
        let inner = self.0.lock();
        let next = Schedule::starting(inner.start, tasks);
        {
            let mut after = next.0.lock();
            let Inner { tasks, times, .. } = &mut *after;
            for (task, times) in tasks.iter_mut().zip(times) {
                let Some(before) = inner.index.get(&task.name).map(|&at| &inner.times[at]) else { continue };
                if before.ended.is_some() && !before.has_failed {
                    *times = *before;
                    task.is_work = true;
                }
            }
        }
        next
    }

    /// Records the progress of a task.
    pub fn note(&self, name: &str, progress: &Progress) {
        self.note_at(name, progress, None);
    }

    fn note_at(&self, name: &str, progress: &Progress, at: Option<Duration>) {
        let mut inner = self.0.lock();
        let at = at.unwrap_or_else(|| inner.start.elapsed());
        let Some(&index) = inner.index.get(name) else { return };
        let times = &mut inner.times[index];
        match progress {
            Progress::Began(_) | Progress::Waiting(_) => times.begun = times.begun.or(Some(at)),
            Progress::Done | Progress::Failed => {
                times.begun = times.begun.or(Some(at));
                times.ended = Some(at);
                times.has_failed = *progress == Progress::Failed;
            }
            Progress::Skipped => (),
        }
    }

    /// How long a task usually takes.
    pub fn usual(&self, name: &str) -> Option<Duration> {
        let inner = self.0.lock();
        inner.index.get(name).and_then(|&index| inner.tasks[index].usual)
    }

    /// How long a task has taken so far, or took altogether.
    pub fn took(&self, name: &str) -> Option<Duration> {
        let inner = self.0.lock();
        let Times { begun, ended, .. } = inner.times[*inner.index.get(name)?];
        Some(ended.unwrap_or_else(|| inner.start.elapsed()).saturating_sub(begun?))
    }

    /// Returns the present progress of the run.
    pub fn remaining(&self) -> Remaining {
        let inner = self.0.lock();
        inner.remaining(inner.start.elapsed())
    }

    /// The tasks that were carried out, in the order of their beginnings.
    pub fn timed(&self) -> Vec<Timed> {
        self.0.lock().timed()
    }
}

impl Inner {
    fn remaining(&self, now: Duration) -> Remaining {
        let is_done = |times: &Times| times.ended.is_some() && !times.has_failed;
        let work = || self.tasks.iter().zip(&self.times).filter(|(task, _)| task.is_work);
        let (done, all) = (work().filter(|(_, times)| is_done(times)).count(), work().count());
        Remaining { done, all, left: self.left(now) }
    }

    fn left(&self, now: Duration) -> Duration {
        let weight = |index: usize| {
            let (task, times) = (&self.tasks[index], &self.times[index]);
            let usual = task.usual.filter(|_| task.is_work).unwrap_or_default();
            match times {
                Times { ended: Some(_), .. } => Duration::ZERO,
                Times { begun: Some(begun), .. } => usual.saturating_sub(now.saturating_sub(*begun)),
                _ => usual,
            }
        };
        let mut ends = vec![None; self.tasks.len()];
        (0..self.tasks.len()).map(|index| self.end(index, &weight, &mut ends)).max().unwrap_or_default()
    }

    /// The end of a task if all had these durations and began as soon as possible.
    fn end(&self, index: usize, weight: &dyn Fn(usize) -> Duration, ends: &mut [Option<Duration>]) -> Duration {
        if let Some(end) = ends[index] {
            return end;
        }
        // Against a cycle, which a graph of resources does not have.
        ends[index] = Some(Duration::ZERO);
        let begin = self.tasks[index].needs.iter().map(|&need| self.end(need, weight, ends)).max().unwrap_or_default();
        *ends[index].insert(begin + weight(index))
    }

    fn timed(&self) -> Vec<Timed> {
        let critical = self.critical();
        let mut timed: Vec<Timed> = Vec::new();
        for (index, (task, times)) in self.tasks.iter().zip(&self.times).enumerate() {
            if let Times { begun: Some(begun), ended: Some(ended), has_failed } = *times {
                let (name, is_critical) = (task.name.clone(), critical.contains(&index));
                timed.push(Timed { name, begun, took: ended.saturating_sub(begun), is_critical, has_failed });
            }
        }
        timed.sort_by(|a, b| (a.begun, a.took, &a.name).cmp(&(b.begun, b.took, &b.name)));
        timed
    }

    /// The task that ended last, the one it waited for longest, and so on.
    fn critical(&self) -> Vec<usize> {
        let ended = |&index: &usize| self.times[index].ended;
        let mut path = Vec::new();
        let mut next = (0..self.tasks.len()).filter(|index| ended(index).is_some()).max_by_key(ended);
        while let Some(index) = next {
            path.push(index);
            next = self.carried_out_before(index).into_iter().filter(|before| !path.contains(before)).max_by_key(ended);
        }
        path
    }

    /// The tasks that were carried out and that this one needs, across those without work.
    fn carried_out_before(&self, index: usize) -> Vec<usize> {
        let (mut found, mut open) = (Vec::new(), self.tasks[index].needs.clone());
        let mut seen = vec![false; self.tasks.len()];
        while let Some(need) = open.pop() {
            if std::mem::replace(&mut seen[need], true) {
                continue;
            }
            match self.times[need].ended {
                Some(_) => found.push(need),
                None => open.extend(&self.tasks[need].needs),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, needs: &[usize], usual_s: Option<u64>) -> Task {
        let usual = usual_s.map(Duration::from_secs);
        Task { name: name.into(), needs: needs.to_vec(), is_work: usual_s.is_some(), usual }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A bucket, then a load balancer with its listener beside a table; the profile is as wanted already.
    fn schedule() -> Schedule {
        Schedule::new(vec![
            task("bucket", &[], Some(2)),
            task("profile", &[0], None),
            task("balancer", &[0, 1], Some(150)),
            task("listener", &[1, 2], Some(1)),
            task("table", &[0], Some(8)),
        ])
    }

    fn left(schedule: &Schedule, now_s: u64) -> u64 {
        schedule.0.lock().remaining(s(now_s)).left.as_secs()
    }

    #[test]
    fn the_time_left_is_that_of_the_longest_chain() {
        let schedule = schedule();
        assert_eq!(left(&schedule, 0), 153);
        schedule.note_at("bucket", &Progress::Began("creating"), Some(s(0)));
        assert_eq!(left(&schedule, 1), 152);
        schedule.note_at("bucket", &Progress::Done, Some(s(5)));
        schedule.note_at("balancer", &Progress::Began("creating"), Some(s(5)));
        assert_eq!(left(&schedule, 55), 101);
        assert_eq!(left(&schedule, 500), 8, "a table that has not begun takes longer than the listener");
        schedule.note_at("balancer", &Progress::Done, Some(s(500)));
        schedule.note_at("table", &Progress::Failed, Some(s(500)));
        assert_eq!(left(&schedule, 501), 1);
        let Remaining { done, all, .. } = schedule.0.lock().remaining(s(501));
        assert_eq!((done, all), (2, 4), "neither what failed nor what needs nothing counts");
    }

    #[test]
    fn the_critical_path_leads_from_the_last_end_to_the_first_begin() {
        let schedule = schedule();
        for (name, begun, ended) in [("bucket", 0, 2), ("table", 2, 12), ("balancer", 2, 140), ("listener", 140, 141)] {
            schedule.note_at(name, &Progress::Began("creating"), Some(s(begun)));
            schedule.note_at(name, &Progress::Waiting("CREATING".into()), Some(s(begun + 1)));
            schedule.note_at(name, &Progress::Done, Some(s(ended)));
        }
        let timed = schedule.timed();
        let names: Vec<(&str, u64, bool)> =
            timed.iter().map(|it| (it.name.as_str(), it.took.as_secs(), it.is_critical)).collect();
        let expected = [("bucket", 2, true), ("table", 10, false), ("balancer", 138, true), ("listener", 1, true)];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_done_stays_done_when_the_plan_is_made_again() {
        let schedule = schedule();
        schedule.note_at("bucket", &Progress::Done, Some(s(2)));
        let again = schedule.replanned(vec![task("bucket", &[], None), task("table", &[0], Some(8))]);
        let Remaining { done, all, .. } = again.remaining();
        assert_eq!((done, all, again.timed().len()), (1, 2, 1));
    }

    #[test]
    fn a_cycle_and_an_unknown_name_do_no_harm() {
        let schedule = Schedule::new(vec![task("a", &[1], Some(1)), task("b", &[0], Some(1))]);
        schedule.note("c", &Progress::Done);
        assert!(left(&schedule, 0) <= 2);
        assert_eq!(schedule.timed(), []);
    }
}
