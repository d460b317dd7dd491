//! The labeler as a whole: end-to-end stories on a local AWS, and the program as Lambda runs it.

mod function;
mod inputs;
mod stories;
mod support;
