//! The attributes of a row, defined only here.

/// Partition key, a string: [`User::key`](crate::User::key).
pub const USER: &str = "user";
/// Sort key, a string: [`PostId::key`](crate::PostId::key).
pub const ID: &str = "id";
/// The title of the post, a string.
pub const TITLE: &str = "title";
/// The body of the post, a string.
pub const BODY: &str = "body";
/// The author's description of the picture, a string; absent without one.
pub const ALT: &str = "alt";
/// The object key of the picture analysed last, a string; absent before.
pub const IMAGE: &str = "image";
/// The labels of the picture, a list of strings; absent before, and if the picture was removed.
pub const LABELS: &str = "labels";
/// The size at which the picture is displayed, in pixels, a string: `640x400`; absent if unknown.
pub const SIZE: &str = "size";
/// Why nothing was recognised in the picture, a string: [`Refusal::word`](crate::Refusal::word); absent if it was
/// analysed. Without [`LABELS`], the picture was removed for this reason.
pub const REFUSED: &str = "refused";
