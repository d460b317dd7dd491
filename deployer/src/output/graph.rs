//! Renders the dependency graph of a stack for Mermaid and Graphviz.

use clap::ValueEnum;

use crate::engine::Address;

/// The format of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A flowchart of Mermaid, which GitHub and GitLab draw in Markdown.
    Mermaid,
    /// The DOT language of Graphviz.
    Dot,
}

/// A resource with the indices of those that it needs.
type Node<'a> = (&'a Address, Vec<usize>);

/// Returns the graph of a stack, its resources grouped by their entries of `stack.yaml`.
pub fn render(format: Format, stack: &str, nodes: &[Node<'_>]) -> String {
    match format {
        Format::Mermaid => mermaid(nodes),
        Format::Dot => dot(stack, nodes),
    }
}

fn mermaid(nodes: &[Node<'_>]) -> String {
    // From right to left: what is created first is on the left.
    let mut text = String::from("flowchart RL\n");
    for (section, members) in sections(nodes) {
        text += &format!("  subgraph {}[\"{section}\"]\n", id(section));
        members.iter().for_each(|address| text += &format!("    {}[\"{address}\"]\n", id(&address.to_string())));
        text += "  end\n";
    }
    let edges = edges(nodes).map(|(from, to)| format!("  {} --> {}\n", id(&from.to_string()), id(&to.to_string())));
    text + &edges.collect::<String>()
}

/// Mermaid's ids take neither dots nor every hyphen. Entries have no underscores, so ids stay distinct.
fn id(name: &str) -> String {
    name.replace('.', "__").replace('-', "_")
}

fn dot(stack: &str, nodes: &[Node<'_>]) -> String {
    let mut text = format!("digraph \"{stack}\" {{\n  rankdir = RL;\n  node [shape = box];\n");
    for (section, members) in sections(nodes) {
        text += &format!("  subgraph \"cluster_{section}\" {{\n    label = \"{section}\";\n");
        members.iter().for_each(|address| text += &format!("    \"{address}\";\n"));
        text += "  }\n";
    }
    edges(nodes).for_each(|(from, to)| text += &format!("  \"{from}\" -> \"{to}\";\n"));
    text + "}\n"
}

/// The entries of `stack.yaml` with their resources, both in the order of the page.
fn sections<'a>(nodes: &[Node<'a>]) -> Vec<(&'a str, Vec<&'a Address>)> {
    let mut sections: Vec<(&str, Vec<&Address>)> = Vec::new();
    for &(address, _) in nodes {
        match sections.iter_mut().find(|(section, _)| *section == address.section) {
            Some((_, members)) => members.push(address),
            None => sections.push((&address.section, vec![address])),
        }
    }
    sections
}

fn edges<'a>(nodes: &'a [Node<'a>]) -> impl Iterator<Item = (&'a Address, &'a Address)> {
    nodes.iter().flat_map(|(address, needs)| needs.iter().map(|&need| (*address, nodes[need].0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(kind: &'static str, key: &str, section: &str) -> Address {
        Address { kind, key: key.into(), section: section.into() }
    }

    #[test]
    fn resources_are_grouped_by_entry_and_arrows_lead_to_what_they_need() {
        let artifacts = address("bucket", "artifacts", "artifacts");
        let images = address("bucket", "my-images", "buckets.my-images");
        let role = address("role", "f-fn", "functions.f");
        let notification = address("notification", "my-images", "buckets.my-images");
        let nodes = [(&artifacts, vec![]), (&images, vec![0]), (&role, vec![0]), (&notification, vec![1, 2])];
        assert_eq!(
            render(Format::Mermaid, "app", &nodes),
            r#"flowchart RL
  subgraph artifacts["artifacts"]
    bucket__artifacts["bucket.artifacts"]
  end
  subgraph buckets__my_images["buckets.my-images"]
    bucket__my_images["bucket.my-images"]
    notification__my_images["notification.my-images"]
  end
  subgraph functions__f["functions.f"]
    role__f_fn["role.f-fn"]
  end
  bucket__my_images --> bucket__artifacts
  role__f_fn --> bucket__artifacts
  notification__my_images --> bucket__my_images
  notification__my_images --> role__f_fn
"#
        );
        assert_eq!(
            render(Format::Dot, "app", &nodes),
            r#"digraph "app" {
  rankdir = RL;
  node [shape = box];
  subgraph "cluster_artifacts" {
    label = "artifacts";
    "bucket.artifacts";
  }
  subgraph "cluster_buckets.my-images" {
    label = "buckets.my-images";
    "bucket.my-images";
    "notification.my-images";
  }
  subgraph "cluster_functions.f" {
    label = "functions.f";
    "role.f-fn";
  }
  "bucket.my-images" -> "bucket.artifacts";
  "role.f-fn" -> "bucket.artifacts";
  "notification.my-images" -> "bucket.my-images";
  "notification.my-images" -> "role.f-fn";
}
"#
        );
    }
}
