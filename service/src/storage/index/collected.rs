//! The keys that a read collects.

use std::collections::HashMap;

use posts::{PostId, User};

/// Keys being read.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) posts: Vec<(PostId, u32)>,
    pub(super) users: HashMap<User, u32>,
    forgotten: bool,
}

impl Collected {
    pub(super) fn add(&mut self, posts: Vec<(PostId, User)>, most: usize) {
        for (id, user) in posts {
            let next = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
            let user = *self.users.entry(user).or_insert(next);
            self.posts.push((id, user));
        }
        if self.posts.len() > 2 * most {
            self.forget_the_oldest(most);
        }
    }

    fn forget_the_oldest(&mut self, most: usize) {
        let surplus = self.posts.len().saturating_sub(most);
        if surplus > 0 {
            self.posts.select_nth_unstable(surplus);
            self.posts.drain(..surplus);
            self.forgotten = true;
        }
    }

    pub(super) fn sorted(mut self, most: usize) -> (Vec<(PostId, u32)>, Vec<User>, Option<PostId>) {
        self.forget_the_oldest(most);
        self.posts.sort_unstable();
        self.posts.shrink_to_fit();
        let mut users: Vec<_> = self.users.into_iter().collect();
        users.sort_unstable_by_key(|(_, place)| *place);
        let horizon = self.posts.first().map(|(id, _)| *id).filter(|_| self.forgotten);
        (self.posts, users.into_iter().map(|(user, _)| user).collect(), horizon)
    }
}
