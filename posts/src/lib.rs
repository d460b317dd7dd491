//! The formats shared by the service and the labeler: user names, keys of rows, names of objects, and retryable errors.
//!
//! Pure functions on text, without any calls.

pub mod attribute;
mod busy;
mod object;
mod post;
mod refusal;
mod text;
mod user;

pub use busy::is_busy;
pub use object::{BadFileName, BadObject, FileName, ObjectName, decode_key};
pub use post::{BadPost, PostId};
pub use refusal::Refusal;
pub use text::{BadCharacter, check_line, check_text};
pub use user::{BadUser, User};
