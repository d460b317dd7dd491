//! The account that a stack lives in: how it is reached and signed in to, what its refusals mean, and who may change
//! the stack now.

pub mod aws;
pub mod health;
pub mod lease;
pub mod remedies;
pub mod sign_in;
pub mod site;
