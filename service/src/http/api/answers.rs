//! The answers of the API.

use poem_openapi::{ApiResponse, Object};
use serde::Serialize;

use crate::http::json::Json;
use crate::http::post::PostSchema;

#[derive(Object, Serialize)]
pub(super) struct Upload {
    /// The URL to PUT the picture to.
    #[oai(rename = "uploadURL")]
    #[serde(rename = "uploadURL")]
    pub(super) upload_url: String,
    /// The object key of the picture.
    #[oai(rename = "objectName")]
    #[serde(rename = "objectName")]
    pub(super) object_name: String,
}

#[derive(Object, Serialize)]
pub(super) struct Health {
    pub(super) status: String,
}

#[derive(ApiResponse)]
pub(super) enum Written {
    /// The new post
    #[oai(status = 201)]
    Post(Json<PostSchema>),
}

#[derive(ApiResponse)]
pub(super) enum Listed {
    /// The posts
    #[oai(status = 200)]
    Posts(
        Json<Vec<PostSchema>>,
        /// The `cursor` of the next page; absent on the last page.
        #[oai(header = "Next-Cursor")]
        Option<String>,
        /// The version of the page; absent without a `limit`.
        #[oai(header = "ETag")]
        Option<String>,
    ),
    /// The page is the one that `If-None-Match` names
    #[oai(status = 304)]
    Unchanged(
        /// The version of the page.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum Described {
    /// The picture has this description
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
pub(super) enum Deleted {
    /// The post is deleted
    #[oai(status = 204)]
    Gone,
}
