//! Requests and answers: endpoints, what is around each of them, and the connections they come over.

pub mod api;
pub mod connection;
pub mod document;
pub mod error;
pub mod json;
pub mod layers;
pub mod page;
pub mod query;
pub mod ready;
pub mod route;
pub mod server;
pub mod waiting_room;
pub mod workers;
