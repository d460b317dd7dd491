//! Tools for rehearsals, which reach nothing.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use super::{NoAnswer, Tools};
use crate::Objects;

/// Tools of an instance that has no objects, journal or units.
pub struct NoTools;

#[async_trait]
impl Objects for NoTools {
    async fn get(&self, _bucket: &str, _key: &str) -> Result<Bytes, String> {
        Err("NoSuchKey: The specified key does not exist.".to_owned())
    }

    async fn put(&self, _bucket: &str, _key: &str, _bytes: Bytes) -> Result<(), String> {
        Err("NoSuchBucket: The specified bucket does not exist.".to_owned())
    }
}

#[async_trait]
impl Tools for NoTools {
    fn journal(&self, _unit: &str, from: u64) -> (u64, String) {
        (from, String::new())
    }

    async fn log(&self, _region: Option<&str>, _operation: &str, _input: Value) -> Result<Value, String> {
        Err("Unable to locate credentials".to_owned())
    }

    async fn value(&self, _region: Option<&str>, _operation: &str, _input: Value) -> Result<Value, String> {
        Err("Unable to locate credentials".to_owned())
    }

    async fn pause(&self, _seconds: u64) {}

    fn properties(&self, _unit: &str) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    async fn answer(&self, _port: u16, _most: Option<Duration>) -> Result<u16, NoAnswer> {
        Err(NoAnswer::Refused)
    }

    async fn back_off(&self, _seconds: u64) {}
}
