//! The errors for a signature, in the words of each service.

use kit::answer::{Protocol, Refusal, expired_token};

/// Error responses, whose codes depend on the protocol.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) protocol: Protocol,
    pub(super) s3: bool,
}

impl Words {
    pub(super) fn unsigned(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => Refusal::new(403, "AccessDenied", "Access Denied"),
            Protocol::Ec2 => {
                Refusal::new(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
            }
            _ => Refusal::new(403, "MissingAuthenticationToken", "Missing Authentication Token"),
        }
    }

    pub(super) fn malformed(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => {
                Refusal::new(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.")
            }
            _ => Refusal::new(400, "IncompleteSignature", "The request signature does not conform to AWS standards."),
        }
    }

    pub(super) fn malformed_query(&self) -> Refusal {
        Refusal::new(
            400,
            "AuthorizationQueryParametersError",
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires (0 to 604800) parameters.",
        )
    }

    pub(super) fn unknown_key(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => Refusal::new(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
            ),
            Protocol::Ec2 => self.unsigned(),
            Protocol::Query => {
                Refusal::new(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
            }
            _ => Refusal::new(
                400,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
        }
    }

    pub(super) fn bad_token(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => {
                Refusal::new(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
            }
            _ => self.unknown_key(),
        }
    }

    pub(super) fn expired_token(&self) -> Refusal {
        expired_token(self.protocol)
    }

    pub(super) fn skewed(&self) -> Refusal {
        match self.protocol {
            Protocol::RestXml => Refusal::new(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
            Protocol::Ec2 => Refusal::new(400, "RequestExpired", "Request has expired."),
            _ => self.mismatch(),
        }
    }

    pub(super) fn mismatch(&self) -> Refusal {
        const TEXT: &str = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
        match self.protocol {
            Protocol::RestXml | Protocol::Query => Refusal::new(403, "SignatureDoesNotMatch", TEXT),
            Protocol::Ec2 => self.unsigned(),
            _ => Refusal::new(403, "InvalidSignatureException", TEXT),
        }
    }

    pub(super) fn wrong_region(&self, signed_for: &str, region: &str) -> Refusal {
        let text = "Credential should be scoped to a valid region. ";
        match self.protocol {
            Protocol::RestXml => Refusal::new(
                400,
                "AuthorizationHeaderMalformed",
                format!(
                    "The authorization header is malformed; the region '{signed_for}' is wrong; expecting '{region}'"
                ),
            ),
            Protocol::Query => Refusal::new(403, "SignatureDoesNotMatch", text),
            Protocol::Ec2 => self.unsigned(),
            _ => Refusal::new(403, "InvalidSignatureException", text),
        }
    }
}
