//! Limits the memory that one answer may take: a server that poses as AWS may never stop sending.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextMut, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use http_body::{Body, Frame, SizeHint};

/// The longest answers are lists of a thousand names, at most a few megabytes.
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// Fails an answer that grows beyond [`MOST_BYTES`].
#[derive(Debug, Clone, Copy)]
pub struct AnswerLimit;

#[dyn_dispatch_hint]
impl Intercept for AnswerLimit {
    fn name(&self) -> &'static str {
        "answer limit"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = std::mem::replace(context.response_mut().body_mut(), SdkBody::taken());
        *context.response_mut().body_mut() = SdkBody::from_body_1_x(Limited { body, left: MOST_BYTES });
        Ok(())
    }
}

/// A body with a maximum length.
struct Limited {
    body: SdkBody,
    left: u64,
}

impl Body for Limited {
    type Data = bytes::Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else { return Poll::Pending };
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        Poll::Ready(Some(match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => {
                Err(format!("the answer is longer than {} MiB, which no answer of AWS is", MOST_BYTES >> 20).into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn read(bytes: usize, left: u64) -> Result<usize, String> {
        let body = SdkBody::from(vec![0; bytes]);
        let read = Limited { body, left }.collect().await;
        read.map(|read| read.to_bytes().len()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_answer_may_be_as_long_as_the_limit_and_no_longer() {
        assert_eq!(read(10, 10).await, Ok(10));
        assert_eq!(read(11, 10).await, Err("the answer is longer than 32 MiB, which no answer of AWS is".into()));
    }
}
