//! Walks a graph in topological order with bounded concurrency.

use std::{
    future::Future,
    ops::AddAssign,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};

/// The outcome of a node on a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Visited; nodes that need it may be visited.
    Passed,
    /// Visited; nodes that need it must be skipped.
    Failed,
    /// Skipped, because a node that it needs was not passed.
    Skipped,
}

/// A finished walk.
pub struct Walked {
    /// The outcome of each node.
    pub visits: Vec<Visit>,
    /// Its times.
    pub span: Span,
}

/// How long a walk took, with two lower bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// From the start of the first visit to the end of the last one.
    pub took: Duration,
    /// The critical path: the longest chain of visits that need each other.
    pub chain: Duration,
    /// The total work divided by the number of visits at once.
    pub share: Duration,
}

impl Span {
    fn of(needs: &[Vec<usize>], limit: usize, visits: &[Duration], took: Duration) -> Span {
        let share = visits.iter().sum::<Duration>() / u32::try_from(limit).unwrap_or(u32::MAX).max(1);
        Span { took, chain: critical_path(needs, visits), share }
    }
}

/// The sum of two consecutive walks.
impl AddAssign for Span {
    fn add_assign(&mut self, next: Span) {
        self.took += next.took;
        self.chain += next.chain;
        self.share += next.share;
    }
}

/// The critical path: the longest chain of visits that need each other.
fn critical_path(needs: &[Vec<usize>], visits: &[Duration]) -> Duration {
    fn end(node: usize, needs: &[Vec<usize>], visits: &[Duration], ends: &mut [Option<Duration>]) -> Duration {
        if let Some(end) = ends[node] {
            return end;
        }
        let begin = needs[node].iter().map(|&need| end(need, needs, visits, ends)).max().unwrap_or_default();
        *ends[node].insert(begin + visits[node])
    }
    let mut ends = vec![None; needs.len()];
    (0..needs.len()).map(|node| end(node, needs, visits, &mut ends)).max().unwrap_or_default()
}

/// Visits each of `needs.len()` nodes once, after the nodes it needs, at most `limit` at once.
///
/// *Guarantees:* a failure skips only nodes that need it, directly or not. *Assumes:* no cycle.
pub async fn walk<F>(needs: &[Vec<usize>], limit: usize, visit: impl Fn(usize) -> F) -> Walked
where
    F: Future<Output = bool>,
{
    let begin = Instant::now();
    let mut visits = vec![Duration::ZERO; needs.len()];
    let mut found: Vec<Option<Visit>> = vec![None; needs.len()];
    let mut begun = vec![false; needs.len()];
    let mut running = FuturesUnordered::new();
    loop {
        settle_skipped(needs, &mut found, &begun);
        for node in 0..needs.len() {
            let ready = needs[node].iter().all(|&need| found[need] == Some(Visit::Passed));
            if ready && !begun[node] && running.len() < limit {
                begun[node] = true;
                let (begun, visited) = (Instant::now(), visit(node));
                running.push(async move { (node, visited.await, begun.elapsed()) });
            }
        }
        let Some((node, passed, took)) = running.next().await else { break };
        visits[node] = took;
        found[node] = Some(if passed { Visit::Passed } else { Visit::Failed });
    }
    let span = Span::of(needs, limit, &visits, begin.elapsed());
    let known = |visit: Option<Visit>| visit.expect("without a cycle every node is visited or skipped");
    Walked { visits: found.into_iter().map(known).collect(), span }
}

fn settle_skipped(needs: &[Vec<usize>], found: &mut [Option<Visit>], begun: &[bool]) {
    let blocked = |need: &usize, found: &[Option<Visit>]| matches!(found[*need], Some(Visit::Failed | Visit::Skipped));
    while let Some(node) = (0..needs.len())
        .find(|&node| !begun[node] && found[node].is_none() && needs[node].iter().any(|need| blocked(need, found)))
    {
        found[node] = Some(Visit::Skipped);
    }
}

/// Reverses the edges: nodes come before the nodes they need.
pub fn reversed(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut users = vec![Vec::new(); needs.len()];
    for (node, needs) in needs.iter().enumerate() {
        for &need in needs {
            users[need].push(node);
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[tokio::test]
    async fn a_failure_skips_only_what_waits_for_it() {
        let needs = vec![vec![], vec![0], vec![1], vec![0]];
        let order = RefCell::new(Vec::new());
        let found = walk(&needs, 1, |node| {
            order.borrow_mut().push(node);
            async move { node != 1 }
        })
        .await
        .visits;
        assert_eq!(found, [Visit::Passed, Visit::Failed, Visit::Skipped, Visit::Passed]);
        assert_eq!(*order.borrow(), [0, 1, 3]);
    }

    #[tokio::test]
    async fn independent_nodes_are_visited_concurrently() {
        let barrier = tokio::sync::Barrier::new(3);
        let found = walk(&[vec![], vec![], vec![]], 8, |_| async {
            barrier.wait().await;
            true
        })
        .await
        .visits;
        assert_eq!(found, [Visit::Passed; 3]);
    }

    #[test]
    fn the_order_is_as_quick_as_the_longest_chain_or_an_even_share() {
        let needs = vec![vec![], vec![0], vec![], vec![1, 2]];
        let span = |limit, visits: [u64; 4]| {
            let span = Span::of(&needs, limit, &visits.map(Duration::from_secs), Duration::from_secs(20));
            [span.chain, span.share].map(|bound| bound.as_secs_f64())
        };
        assert_eq!(span(8, [1, 2, 9, 3]), [12.0, 15.0 / 8.0]);
        assert_eq!(span(8, [4, 2, 5, 3]), [9.0, 14.0 / 8.0]);
        assert_eq!(span(1, [4, 2, 5, 3]), [9.0, 14.0]);
    }

    #[tokio::test]
    async fn no_more_nodes_than_the_limit_are_visited_concurrently() {
        // Every second node needs the one before it, so that slots are taken and returned in between.
        let needs: Vec<Vec<usize>> = (0..100).map(|node| if node % 2 == 1 { vec![node - 1] } else { vec![] }).collect();
        let (now, most) = (Cell::new(0), Cell::new(0));
        walk(&needs, 8, |node| {
            let (now, most) = (&now, &most);
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                for _ in 0..node % 5 {
                    tokio::task::yield_now().await;
                }
                now.set(now.get() - 1);
                true
            }
        })
        .await;
        assert_eq!(most.get(), 8, "every place is taken, and no other");
    }
}
