//! JSON in answers, written straight into bytes: poem-openapi's own payload builds a tree of all values first.

use std::marker::PhantomData;

use bytes::Bytes;
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{self, Payload};
use poem_openapi::registry::{MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use serde::Serialize;

/// A `T` that is told as JSON; in the OpenAPI document the same as [`payload::Json`].
pub(crate) struct Json<T> {
    written: Bytes,
    is: PhantomData<fn() -> T>,
}

// Whatever `T` is, it is written already.
impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        Self { written: self.written.clone(), is: PhantomData }
    }
}

impl<T: Serialize> Json<T> {
    pub(crate) fn of(value: &T) -> Self {
        Self::like(value, 256)
    }
}

impl<T> Json<T> {
    /// Something that has the same fields, and likely is about so many bytes.
    pub(crate) fn like(value: &impl Serialize, bytes: usize) -> Self {
        let mut written = Vec::with_capacity(bytes);
        serde_json::to_writer(&mut written, value).expect("what is told has texts as keys and nothing that can fail");
        Self { written: written.into(), is: PhantomData }
    }
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
        Response::builder().header(header::CONTENT_TYPE, "application/json; charset=utf-8").body(self.written)
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
