//! Guards S3's paginated listings: the SDK stops silently when a page repeats its token, or announces a next page
//! without one, and the remaining objects would never be deleted.

use aws_sdk_s3::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::list_objects_v2::{ListObjectsV2Input, ListObjectsV2Output};
use aws_smithy_types::config_bag::{Storable, StoreReplace};

/// Rejects such pages.
#[derive(Debug)]
pub(crate) struct Pages;

/// The token that the page was requested with.
#[derive(Debug)]
struct RequestToken(String);

impl Storable for RequestToken {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Pages {
    fn name(&self) -> &'static str {
        "Pages"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let list = context.input().downcast_ref::<ListObjectsV2Input>();
        if let Some(token) = list.and_then(ListObjectsV2Input::continuation_token) {
            cfg.interceptor_state().store_put(RequestToken(token.to_owned()));
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(page) = context.output_or_error().ok().and_then(|output| output.downcast_ref::<ListObjectsV2Output>())
        else {
            return Ok(());
        };
        let requested_with = cfg.load::<RequestToken>().map(|RequestToken(token)| token.as_str());
        match page.next_continuation_token().filter(|next| !next.is_empty()) {
            Some(next) if requested_with == Some(next) => Err("S3's pages repeat".into()),
            None if page.is_truncated() == Some(true) => Err("S3 does not name the next page".into()),
            _ => Ok(()),
        }
    }
}
