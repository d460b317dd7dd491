//! Denials, in the words of AWS.

use kit::answer::{Denied, Protocol, Refusal, Response};
use kit::call::Call;
use kit::call::Need;

/// A denied action.
#[derive(Debug, Clone)]
pub struct Denial {
    pub(super) caller: String,
    pub(super) need: Need,
    pub(super) reason: Reason,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Reason {
    NothingAllows,
    /// A policy of the role denies it.
    IdentityPolicy,
    /// The policy of the resource denies it.
    ResourcePolicy,
}

impl Denial {
    /// The error message, worded as on AWS.
    pub fn text(&self) -> String {
        let Denial { caller, need: Need { action, resource, .. }, reason } = self;
        let place = match resource.as_str() {
            "*" => String::new(),
            // Only S3 quotes the resource.
            resource if action.starts_with("s3:") => format!(" on resource: \"{resource}\""),
            resource => format!(" on resource: {resource}"),
        };
        let why = match reason {
            Reason::IdentityPolicy => "with an explicit deny in an identity-based policy".to_owned(),
            Reason::ResourcePolicy => "with an explicit deny in a resource-based policy".to_owned(),
            Reason::NothingAllows => format!("because no identity-based policy allows the {action} action"),
        };
        format!("User: {caller} is not authorized to perform: {action}{place} {why}")
    }

    /// The error response to a call, with the status and code of its protocol.
    pub fn refusal(&self, call: &Call) -> Refusal {
        let text = self.text();
        match call.protocol {
            Protocol::RestXml | Protocol::Query => Refusal::new(403, "AccessDenied", text),
            Protocol::Ec2 => {
                let text = format!("You are not authorized to perform this operation. {text}");
                Refusal::new(403, "UnauthorizedOperation", text)
            }
            Protocol::Cbor | Protocol::Json10 | Protocol::Json11 => Refusal::new(400, "AccessDeniedException", text),
            Protocol::RestJson => Refusal::new(403, "AccessDeniedException", text),
        }
    }

    /// Records in the response why it was denied, for the journal, whatever the caller gets to read.
    pub fn mark(&self, answer: &mut Response) {
        answer.extensions_mut().insert(Denied(self.text()));
    }
}
