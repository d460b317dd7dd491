//! JSON answers, serialised directly to bytes: poem-openapi's own payload first builds a tree of all values.

use std::io;
use std::marker::PhantomData;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, Stream};
use poem::http::header;
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{self, Payload};
use poem_openapi::registry::{MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use serde::Serialize;

/// A `T` as JSON; in the OpenAPI document the same as [`payload::Json`].
pub(crate) struct Json<T> {
    written: JsonBody,
    is: PhantomData<fn() -> T>,
}

enum JsonBody {
    Whole(Bytes),
    /// Too large to be held in memory: each piece is generated once the client has read the previous one.
    InParts(BoxStream<'static, io::Result<Bytes>>),
}

/// Marks a response that is sent in pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InParts;

impl<T: Serialize> Json<T> {
    pub(crate) fn of(value: &T) -> Self {
        Self::like(value, 256)
    }
}

impl<T> Json<T> {
    /// Serialises `value`, whose fields must be those of `T`, into a buffer of about `bytes` bytes.
    pub(crate) fn like(value: &impl Serialize, bytes: usize) -> Self {
        Self::written(write(value, bytes))
    }

    /// Wraps JSON already serialised by [`write()`], whose fields must be those of `T`.
    pub(crate) fn written(json: Bytes) -> Self {
        Self { written: JsonBody::Whole(json), is: PhantomData }
    }

    /// Sends a value in pieces. An error truncates the answer.
    pub(crate) fn in_parts(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { written: JsonBody::InParts(parts.boxed()), is: PhantomData }
    }
}

/// Serialises a value into a buffer of about `bytes` bytes.
pub(crate) fn write(value: &impl Serialize, bytes: usize) -> Bytes {
    let mut written = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut written, value).expect("keys are strings and no value can fail");
    written.into()
}

impl<T: Type> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = payload::Json::<T>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        payload::Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        payload::Json::<T>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        <payload::Json<T> as Payload>::register(registry);
    }
}

impl<T> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let response = Response::builder().header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        match self.written {
            JsonBody::Whole(json) => response.body(json),
            JsonBody::InParts(parts) => response.extension(InParts).body(Body::from_bytes_stream(parts)),
        }
    }
}

impl<T: ToJSON> ApiResponse for Json<T> {
    fn meta() -> MetaResponses {
        payload::Json::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        <payload::Json<T> as ApiResponse>::register(registry);
    }
}
