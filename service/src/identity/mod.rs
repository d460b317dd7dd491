//! The identity of callers: the `Authorization` header, tokens, and the keys that sign them.

pub mod author;
pub mod jwks;
pub mod jwt;
pub mod jwt_signature;
