//! Requests and answers: endpoints, the layers around them, and connections.

pub mod api;
pub mod connection;
pub mod document;
pub mod error;
pub mod json;
pub mod layers;
pub mod open_graph;
pub mod page;
pub mod permalinks;
pub mod post;
pub mod query;
pub mod ready;
pub mod route;
pub mod server;
pub mod waiting_room;
pub mod workers;
