//! Authentication and authorization: signatures, credentials, policies, and the APIs of IAM and STS.
//!
//! Nothing in here depends on another service.

pub mod credentials;
pub mod iam;
pub mod permissions;
pub mod signature;
pub mod sts;
