//! Posts as rows of the table.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use posts::{PostId, User, attribute};

use crate::error::Error;
use crate::known::Known;
use crate::scan::Scan;

/// A post as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub id: PostId,
    pub user: User,
    pub title: String,
    pub body: String,
    pub picture: Option<Picture>,
}

/// What the labeler adds to a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub key: String,
    pub labels: Vec<String>,
    /// Why there are none; absent if the picture was looked at.
    pub reason: Option<String>,
}

/// Which part of a list is asked for; without either, all of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part {
    pub after: Option<PostId>,
    pub limit: Option<usize>,
    pub order: Order,
}

/// Which posts come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

impl Part {
    /// Whether a post comes after the one that this part begins after.
    fn holds(&self, id: PostId) -> bool {
        match self.order {
            Order::OldestFirst => self.after.is_none_or(|after| id > after),
            Order::NewestFirst => self.after.is_none_or(|after| id < after),
        }
    }
}

/// The table of the posts.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    client: Client,
    table: String,
    all: Scan,
    known: Arc<Known>,
}

type Item = HashMap<String, AttributeValue>;

impl Rows {
    pub(crate) fn new(client: Client, table: String) -> Self {
        Self { all: Scan::new(client.clone(), table.clone()), known: Arc::default(), client, table }
    }

    /// Adds a post. The id is new, so nothing can be overwritten, and a repeated call writes the same.
    pub(crate) async fn add(&self, post: &Post) -> Result<(), Error> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item(post)));
        put.send().await?;
        self.known.remember(&post.user, post.id);
        Ok(())
    }

    /// The posts of one user or of all, and whether there are more after this part.
    pub(crate) async fn list(&self, user: Option<&User>, part: Part) -> Result<(Vec<Post>, bool), Error> {
        let mut posts: Vec<Post> = match user {
            Some(user) => self.query(user, part).await?,
            None => self.scan(part).await?,
        };
        match part.order {
            Order::OldestFirst => posts.sort_unstable_by_key(|post| post.id),
            Order::NewestFirst => posts.sort_unstable_by_key(|post| Reverse(post.id)),
        }
        let more = part.limit.is_some_and(|limit| posts.len() > limit);
        posts.truncate(part.limit.unwrap_or(usize::MAX));
        Ok((posts, more))
    }

    /// Fails with `NoPost` unless this user has this post.
    pub(crate) async fn require(&self, user: &User, id: PostId) -> Result<(), Error> {
        if self.known.holds(user, id) {
            return Ok(());
        }
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(user, id))).consistent_read(true);
        let found = get.projection_expression("#id").expression_attribute_names("#id", attribute::ID).send().await?;
        found.item.ok_or(Error::NoPost)?;
        self.known.remember(user, id);
        Ok(())
    }

    /// What a row says of its picture, if anything; fails with `NoPost` unless this user has this post.
    pub(crate) async fn shown(&self, user: &User, id: PostId) -> Result<Option<AttributeValue>, Error> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(user, id))).consistent_read(true);
        let get = get.projection_expression("#id, #image").expression_attribute_names("#id", attribute::ID);
        let found = get.expression_attribute_names("#image", attribute::IMAGE).send().await?;
        let mut item = found.item.ok_or(Error::NoPost)?;
        Ok(item.remove(attribute::IMAGE))
    }

    /// Removes a row unless it shows something else by now; whether it is gone, which it may have been before.
    pub(crate) async fn remove(&self, user: &User, id: PostId, shown: Option<AttributeValue>) -> Result<bool, Error> {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key(user, id)));
        let delete = delete.expression_attribute_names("#image", attribute::IMAGE);
        let delete = match shown {
            None => delete.condition_expression("attribute_not_exists(#image)"),
            Some(shown) => delete
                .condition_expression("attribute_not_exists(#image) OR #image = :shown")
                .expression_attribute_values(":shown", shown),
        };
        let deleted = delete.send().await;
        // Also if it failed: the answer may have been lost, and not what was done.
        self.known.forget(id);
        match deleted {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|it| it.is_conditional_check_failed_exception()) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for a row that is not there, to see whether there is an answer.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        let nobody = [attribute::USER, attribute::ID].map(|name| (name.to_owned(), AttributeValue::S("?".to_owned())));
        self.client.get_item().table_name(&self.table).set_key(Some(nobody.into())).send().await?;
        Ok(())
    }

    async fn query(&self, user: &User, part: Part) -> Result<Vec<Post>, Error> {
        let after = part.after.map_or_else(String::new, |id| id.key());
        let condition = match (part.after, part.order) {
            (None, _) => "#user = :user",
            (Some(_), Order::OldestFirst) => "#user = :user AND #id > :after",
            (Some(_), Order::NewestFirst) => "#user = :user AND #id < :after",
        };
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(part.order == Order::OldestFirst)
            .key_condition_expression(condition)
            .expression_attribute_names("#user", attribute::USER)
            .expression_attribute_values(":user", AttributeValue::S(user.key()));
        if part.after.is_some() {
            query = query
                .expression_attribute_names("#id", attribute::ID)
                .expression_attribute_values(":after", AttributeValue::S(after));
        }
        // One more than asked for tells whether there are more.
        let enough = part.limit.map_or(usize::MAX, |limit| limit + 1);
        let mut items = query.set_limit(i32::try_from(enough).ok()).into_paginator().items().send();
        let mut posts = Vec::new();
        while let Some(item) = items.next().await {
            posts.extend(post(item?));
            if posts.len() == enough {
                break;
            }
        }
        Ok(posts)
    }

    /// A scan has no order, so a part of all posts costs as much as all of them: what a part saves is the answer.
    async fn scan(&self, part: Part) -> Result<Vec<Post>, Error> {
        let mut posts = self.all.rows(post).await?;
        posts.retain(|post| part.holds(post.id));
        Ok(posts)
    }
}

fn key(user: &User, id: PostId) -> Item {
    [(attribute::USER, user.key()), (attribute::ID, id.key())]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .into()
}

fn item(post: &Post) -> Item {
    let Post { id, user, title, body, picture: _ } = post; // only the labeler writes pictures
    let mut item = key(user, *id);
    item.insert(attribute::TITLE.to_owned(), AttributeValue::S(title.clone()));
    item.insert(attribute::BODY.to_owned(), AttributeValue::S(body.clone()));
    item
}

/// A row that is no post is left out: one stray row must not take the list from everybody.
fn post(mut item: Item) -> Option<Post> {
    let labels = item.remove(attribute::LABELS).and_then(texts);
    let mut text = |name| item.remove(name).and_then(text);
    Some(Post {
        user: User::from_key(&text(attribute::USER)?)?,
        id: PostId::from_key(&text(attribute::ID)?)?,
        title: text(attribute::TITLE).unwrap_or_default(),
        body: text(attribute::BODY).unwrap_or_default(),
        picture: text(attribute::IMAGE).filter(|key| !key.is_empty()).zip(labels).map(|(key, labels)| Picture {
            key,
            labels,
            reason: text(attribute::REFUSED),
        }),
    })
}

/// Labels are a list; a set of strings, as other programs may write it, reads the same.
fn texts(value: AttributeValue) -> Option<Vec<String>> {
    match value {
        AttributeValue::L(values) => values.into_iter().map(text).collect(),
        AttributeValue::Ss(values) => Some(values),
        _ => None,
    }
}

fn text(value: AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Post, Item) {
        let user = User::parse("ada").unwrap();
        let post = Post { id: PostId::new(), user, title: "t".into(), body: "b".into(), picture: None };
        let item = item(&post);
        (post, item)
    }

    #[test]
    fn what_is_written_is_read() {
        let (written, item) = written();
        assert_eq!(post(item), Some(written));
    }

    #[test]
    fn a_picture_needs_key_and_labels() {
        let (_, mut item) = written();
        item.insert("image".into(), AttributeValue::S("ada/x/y".into()));
        assert_eq!(post(item.clone()).unwrap().picture, None);
        item.insert("labels".into(), AttributeValue::L(vec![AttributeValue::S("Cat".into())]));
        let picture = Picture { key: "ada/x/y".into(), labels: vec!["Cat".into()], reason: None };
        assert_eq!(post(item.clone()).unwrap().picture, Some(picture));
        item.insert("image".into(), AttributeValue::S(String::new()));
        assert_eq!(post(item).unwrap().picture, None);
    }

    #[test]
    fn a_row_that_is_no_post_is_left_out() {
        let (_, mut item) = written();
        item.insert("id".into(), AttributeValue::S("COMMENT#1".into()));
        assert_eq!(post(item), None);
    }
}
