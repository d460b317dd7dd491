//! What the service and the labeler agree on: who writes, how rows are keyed, how objects are named.
//!
//! Knows neither HTTP nor AWS: everything here is text in, text out.

pub mod attribute;
mod object;
mod post;
mod refusal;
mod user;

pub use object::{BadFileName, BadObject, FileName, ObjectName};
pub use post::{BadPost, PostId};
pub use refusal::Refusal;
pub use user::{BadUser, User};
