//! The labeler as a whole: what becomes of posts and pictures, and how Lambda sees the program.

mod cloud;
mod function;
mod inputs;
mod stories;
