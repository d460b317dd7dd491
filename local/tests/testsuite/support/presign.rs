//! Presigned URLs.

use local::{ACCESS_KEY, SECRET_KEY};

/// Signs any URL in the way of presigned ones.
pub fn presign(method: &reqwest::Method, url: &str, life: std::time::Duration) -> String {
    use aws_sigv4::http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    let identity = aws_credential_types::Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.expires_in = Some(life);
    let params = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(std::time::SystemTime::now())
        .settings(settings)
        .build()
        .expect("all signing parameters are set")
        .into();
    let host = url.split('/').nth(2).expect("an address has a host");
    let headers = [("host", host)].into_iter();
    let request =
        SignableRequest::new(method.as_str(), url, headers, SignableBody::UnsignedPayload).expect("an address");
    let (instructions, _) = sign(request, &params).expect("it can be signed").into_parts();
    let query = instructions.params().iter().map(|(name, value)| {
        format!("&{name}={}", percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC))
    });
    format!("{url}{}{}", if url.contains('?') { "" } else { "?" }, query.collect::<String>())
}
