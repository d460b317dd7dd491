//! Links within a folder.

use std::{
    collections::VecDeque,
    path::{Component, Path, PathBuf},
};

/// The most links on the way to a file, as on Linux (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Whether the link of this name leads out of the folder, directly or by way of other links. A link to nothing may exist
/// on the instance.
pub(super) fn leads_out(folder: &Path, name: &str, target: &Path) -> bool {
    let (mut at, mut links) = (PathBuf::from(name), 0);
    at.pop();
    let own = |part: Component<'_>| PathBuf::from(part.as_os_str());
    let mut ahead: VecDeque<PathBuf> = target.components().map(own).collect();
    while let Some(part) = ahead.pop_front() {
        match part.components().next() {
            None | Some(Component::CurDir) => (),
            Some(Component::RootDir | Component::Prefix(_)) => return true,
            Some(Component::ParentDir) => {
                if !at.pop() {
                    return true;
                }
            }
            Some(Component::Normal(_)) => {
                at.push(&part);
                if let Ok(next) = std::fs::read_link(folder.join(&at)) {
                    at.pop();
                    links += 1;
                    if links > MOST_LINKS {
                        return false;
                    }
                    next.components().rev().for_each(|part| ahead.push_front(own(part)));
                }
            }
        }
    }
    false
}
