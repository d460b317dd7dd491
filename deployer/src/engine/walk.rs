//! Visits the nodes of a graph, each after those it needs, as many at once as allowed.

use std::future::Future;

use futures::{StreamExt, stream::FuturesUnordered};

/// What became of a node on a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Visited, and what needs it may go on.
    Passed,
    /// Visited, and what needs it must not be visited.
    Failed,
    /// Not visited, because something it needs was not passed.
    Skipped,
}

/// Visits each of `needs.len()` nodes once, after the nodes it needs, `limit` at once.
///
/// *Guarantees:* a failure skips only what waits for it, directly or not. *Assumes:* no cycle.
pub async fn walk<F>(needs: &[Vec<usize>], limit: usize, visit: impl Fn(usize) -> F) -> Vec<Visit>
where
    F: Future<Output = bool>,
{
    let mut found: Vec<Option<Visit>> = vec![None; needs.len()];
    let mut begun = vec![false; needs.len()];
    let mut running = FuturesUnordered::new();
    loop {
        settle_skipped(needs, &mut found, &begun);
        for node in 0..needs.len() {
            let ready = needs[node].iter().all(|&need| found[need] == Some(Visit::Passed));
            if ready && !begun[node] && running.len() < limit {
                begun[node] = true;
                let visited = visit(node);
                running.push(async move { (node, visited.await) });
            }
        }
        let Some((node, passed)) = running.next().await else { break };
        found[node] = Some(if passed { Visit::Passed } else { Visit::Failed });
    }
    found.into_iter().map(|visit| visit.expect("without a cycle every node is visited or skipped")).collect()
}

fn settle_skipped(needs: &[Vec<usize>], found: &mut [Option<Visit>], begun: &[bool]) {
    let blocked = |need: &usize, found: &[Option<Visit>]| matches!(found[*need], Some(Visit::Failed | Visit::Skipped));
    while let Some(node) = (0..needs.len())
        .find(|&node| !begun[node] && found[node].is_none() && needs[node].iter().any(|need| blocked(need, found)))
    {
        found[node] = Some(Visit::Skipped);
    }
}

/// The same edges in the other direction: what needs it goes first.
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
    use std::cell::RefCell;

    #[tokio::test]
    async fn a_failure_skips_only_what_waits_for_it() {
        let needs = vec![vec![], vec![0], vec![1], vec![0]];
        let order = RefCell::new(Vec::new());
        let found = walk(&needs, 1, |node| {
            order.borrow_mut().push(node);
            async move { node != 1 }
        })
        .await;
        assert_eq!(found, [Visit::Passed, Visit::Failed, Visit::Skipped, Visit::Passed]);
        assert_eq!(*order.borrow(), [0, 1, 3]);
    }

    #[tokio::test]
    async fn independent_nodes_are_visited_at_once() {
        let barrier = tokio::sync::Barrier::new(3);
        let found = walk(&[vec![], vec![], vec![]], 8, |_| async {
            barrier.wait().await;
            true
        })
        .await;
        assert_eq!(found, [Visit::Passed; 3]);
    }
}
