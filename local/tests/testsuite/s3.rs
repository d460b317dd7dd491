//! Buckets and objects as the SDK and a browser see them.

mod browsers;
mod buckets;
mod keys;
mod multipart;
mod objects;
mod refusals;
mod settings;
mod support;
mod versions;
