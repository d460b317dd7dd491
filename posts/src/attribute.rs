//! The attributes of a row, each written here and nowhere else.

/// Partition key, a string: [`User::key`](crate::User::key).
pub const USER: &str = "user";
/// Sort key, a string: [`PostId::key`](crate::PostId::key).
pub const ID: &str = "id";
/// What the post is called, a string.
pub const TITLE: &str = "title";
/// What the post says, a string.
pub const BODY: &str = "body";
/// The object key of the picture that was looked at last, a string; absent before.
pub const IMAGE: &str = "image";
/// What is on the picture, a list of strings; absent before, and if the picture was removed.
pub const LABELS: &str = "labels";
/// Why nothing was recognised on the picture, a string: [`Refusal::word`](crate::Refusal::word); absent if something
/// could be. Without [`LABELS`], the picture was removed for this reason.
pub const REFUSED: &str = "refused";
