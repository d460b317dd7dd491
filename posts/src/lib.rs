//! What the service and the labeler agree on: who writes, how rows are keyed, how objects are named, and which answers
//! are worth another try.
//!
//! Calls nobody: everything here is text in, text out.

pub mod attribute;
mod busy;
mod object;
mod post;
mod refusal;
mod user;

pub use busy::is_busy;
pub use object::{BadFileName, BadObject, FileName, ObjectName};
pub use post::{BadPost, PostId};
pub use refusal::Refusal;
pub use user::{BadUser, User};
