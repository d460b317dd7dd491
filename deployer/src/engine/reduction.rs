//! The fewest edges that keep the order of a graph: its transitive reduction.

use std::collections::BTreeSet;

/// Returns, for each node, the needs that none of its other needs imply. Nodes are sorted: needs before their users.
pub fn reduced(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let kept = |direct: &Vec<usize>| {
        let implied = implied(needs, direct);
        direct.iter().copied().filter(|need| !implied.contains(need)).collect()
    };
    needs.iter().map(kept).collect()
}

/// The dependencies of these nodes that may be among them. Nearly every node needs node 0, the anchor; apart from that,
/// the search ends at the first of these nodes, so that it stays short in long chains.
fn implied(needs: &[Vec<usize>], direct: &[usize]) -> BTreeSet<usize> {
    let first = direct.iter().copied().filter(|&need| need > 0).min().unwrap_or(0);
    let mut implied = BTreeSet::new();
    let mut open = direct.to_vec();
    while let Some(node) = open.pop() {
        let further = needs[node].iter().copied().filter(|&need| need == 0 || need >= first);
        open.extend(further.filter(|&need| implied.insert(need)));
    }
    implied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_that_a_longer_path_implies_is_left_out() {
        let needs = [vec![], vec![0], vec![0, 1], vec![0], vec![0, 1, 2, 3]];
        assert_eq!(reduced(&needs), [vec![], vec![0], vec![1], vec![0], vec![2, 3]]);
    }

    #[test]
    fn a_long_chain_is_reduced_without_following_it_to_its_end() {
        let needs: Vec<Vec<usize>> = (0..20_000usize).map(|node| (node.saturating_sub(3)..node).collect()).collect();
        let reduced = reduced(&needs);
        assert!(reduced.iter().enumerate().skip(1).all(|(node, needs)| *needs == [node - 1]));
    }
}
