//! Downloads from presigned addresses, such as that of a function's code.

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

use super::Aws;
use crate::engine::Fault;

/// Downloads from this address.
///
/// The client of S3 sends the request, because it has the proxies, certificates and retries of all calls; only the address
/// is replaced, and our own signature removed: the address has one.
pub async fn download(aws: &Aws, address: &str) -> Result<Vec<u8>, Fault> {
    let call = aws.s3.get_object().bucket("presigned").key("address");
    let answer = call.customize().interceptor(At(address.to_owned())).send().await?;
    let body = answer.body.collect().await;
    body.map(|body| body.to_vec()).map_err(|error| Fault::new("GetObject", "BrokenDownload", error.to_string()))
}

/// Sends a request to this address.
#[derive(Debug)]
struct At(String);

#[dyn_dispatch_hint]
impl Intercept for At {
    fn name(&self) -> &'static str {
        "presigned address"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.set_uri(self.0.as_str())?;
        let is_ours = |name: &&str| name.starts_with("x-amz-") || ["authorization", "host"].contains(name);
        let names = request.headers().iter().map(|(name, _)| name);
        let ours: Vec<String> = names.filter(is_ours).map(str::to_owned).collect();
        for name in ours {
            request.headers_mut().remove(name);
        }
        Ok(())
    }
}
