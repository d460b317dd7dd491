//! The contract of the service with the page and the labeler, as end-to-end stories against a local AWS.

mod document;
mod errors;
mod headers;
mod names;
mod pictures;
mod posts;
