//! References from variables to resources, which must not form a cycle.

use std::collections::BTreeMap;

use super::Checks;
use crate::config::Reference;

/// The attributes that references can name, by section.
pub const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("buckets", &["name", "arn", "region"]),
    ("tables", &["name", "arn"]),
    ("functions", &["name", "arn"]),
    ("services", &["url", "host"]),
];

impl Checks<'_> {
    pub(super) fn reference(&mut self, reference: &Reference) {
        let Reference { section, entry, attribute, place } = reference;
        let Some((_, attributes)) = ATTRIBUTES.iter().find(|(known, _)| known == section) else {
            let known = ATTRIBUTES.iter().map(|(known, _)| (*known).to_owned()).collect();
            return self.unknown_at(*place, "section", section, known);
        };
        let entries = self.declared(section);
        if !entries.contains(entry) {
            return self.unknown_at(*place, &format!("entry of {section}"), entry, entries);
        }
        if !attributes.contains(&attribute.as_str()) {
            let known = attributes.iter().map(|known| (*known).to_owned()).collect();
            self.unknown_at(*place, &format!("attribute of {section}"), attribute, known);
        }
    }

    /// A function or service can only be created after those that its environment refers to.
    pub(super) fn cycles(&mut self) {
        let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (node, variables) in self.config.variables() {
            let named = variables.texts.values().flat_map(|text| text.references());
            needs.insert(node, named.map(|named| format!("{}.{}", named.section, named.entry)).collect());
        }
        for (entry, service) in &self.config.services {
            // `behind` reports one that is behind itself.
            let front = service.behind.as_ref().filter(|behind| behind.service != *entry);
            let front = front.map(|behind| format!("services.{}", behind.service));
            needs.entry(format!("services.{entry}")).or_default().extend(front);
        }
        // Removes everything that can be created; what remains is in a cycle or depends on one.
        loop {
            let free: Vec<String> = needs
                .iter()
                .filter(|(_, needed)| needed.iter().all(|need| !needs.contains_key(need)))
                .map(|(node, _)| node.clone())
                .collect();
            if free.is_empty() {
                break;
            }
            free.iter().for_each(|node| drop(needs.remove(node)));
        }
        let Some(start) = needs.keys().next() else { return };
        let mut way = vec![start.clone()];
        let mut at = start;
        while let Some(next) = needs[at].iter().find(|need| needs.contains_key(*need)) {
            let seen = way.contains(next);
            way.push(next.clone());
            if seen {
                break;
            }
            at = next;
        }
        let from = way.iter().position(|node| Some(node) == way.last()).unwrap_or_default();
        let is_behind = |node: &String| self.config.places.contains_key(&format!("{node}.behind"));
        let help = match way[from..].iter().any(is_behind) {
            true => "remove one of these references; `behind` is one, too",
            false => "remove one of these references",
        };
        let (way, path) = (way[from..].join(" → "), format!("{}.environment", way[from]));
        self.problem(&path, format!("circular references: {way}"), help);
    }
}
