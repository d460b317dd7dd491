//! The table rows that describe operations, in the same form for all services.

use std::borrow::Cow;

use super::{Call, Request};
use crate::ACCOUNT;
use crate::parameters::ParameterSpec;

/// Whether an operation may change state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It may change state.
    Writes,
}

/// An operation's metadata, for authorizing its calls, recording them in the journal and paginating its responses.
#[derive(Debug)]
pub struct Row {
    /// The name in IAM policies and SDKs.
    pub name: &'static str,
    /// Whether it may change state.
    pub effect: Effect,
    /// The permissions that the caller needs.
    pub needs: Needs,
    /// How its list is paginated; `None` if the response is always complete.
    pub page: Option<Pagination>,
}

/// The rows of a service.
pub type Rows = Box<dyn Iterator<Item = &'static Row>>;

/// An operation of a service: its row, the parameters it implements, and its handler.
#[derive(Debug)]
pub struct Operation<Run: 'static> {
    /// Its metadata.
    pub row: Row,
    /// The parameters that it implements.
    pub parameters: ParameterSpec,
    /// Its handler.
    pub run: Run,
}

impl<Run> Operation<Run> {
    /// An operation; no part has a default.
    pub const fn new(
        name: &'static str,
        effect: Effect,
        needs: Needs,
        page: Option<Pagination>,
        parameters: ParameterSpec,
        run: Run,
    ) -> Operation<Run> {
        Operation { row: Row { name, effect, needs, page }, parameters, run }
    }

    /// Finds the operation with this name.
    pub fn find(table: &'static [Operation<Run>], name: &str) -> Option<&'static Operation<Run>> {
        table.iter().find(|operation| operation.row.name == name)
    }

    /// Returns the rows of a table.
    pub fn rows(table: &'static [Operation<Run>]) -> Rows {
        Box::new(table.iter().map(|operation| &operation.row))
    }
}

/// The permissions that the caller of an operation needs; all of them are required.
#[derive(Debug, Clone, Copy)]
pub enum Needs {
    /// None: any caller may call it.
    Nothing,
    /// The action of the operation's name, on `*`.
    Own,
    /// The action of the operation's name, on the resource with this ARN. `{region}` and `{account}` are filled in. Any
    /// other name in braces is a parameter: a list gives one resource for each item, and a missing parameter is `*`.
    On(&'static str),
    /// Computed from the call.
    Of(fn(&Asked) -> Vec<Need>),
}

/// An action on a resource. The resource is `*` if the action has no resource-level permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Such as `s3:GetObject`.
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// Condition keys, in addition to the global ones of every request.
    pub keys: Vec<(Cow<'static, str>, String)>,
    /// Whether all tags of the resource are among the keys.
    pub has_tags: bool,
}

impl Need {
    /// An action on a resource, without condition keys.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Need {
        Need { action: action.into(), resource: resource.into(), keys: Vec::new(), has_tags: false }
    }

    /// Adds a condition key, if it has a value.
    pub fn knowing(mut self, key: impl Into<Cow<'static, str>>, value: Option<String>) -> Need {
        self.keys.extend(value.map(|value| (key.into(), value)));
        self
    }
}

/// A call whose permissions are computed, and what else the ARNs depend on.
pub struct Asked<'a> {
    /// The call.
    pub call: &'a Call,
    /// Its request.
    pub request: &'a Request,
    /// The region of the request.
    pub region: &'a str,
    /// Returns the ARN of an existing IAM entity, including its path, by its kind (as in ARNs) and name; of a secret; of
    /// the route table of an association; or of the web ACL of a load balancer.
    pub entity_arn: &'a dyn Fn(&str, &str) -> Option<String>,
}

impl Asked<'_> {
    /// Returns the permissions that the caller needs. For an operation that is not implemented, that is the action of
    /// its name.
    pub fn needs(&self) -> Vec<Need> {
        match self.call.row.map_or(Needs::Own, |row| row.needs) {
            Needs::Nothing => Vec::new(),
            Needs::Own => vec![self.own("*")],
            Needs::On(pattern) => self.filled(pattern).into_iter().map(|resource| self.own(resource)).collect(),
            Needs::Of(work_out) => work_out(self),
        }
    }

    /// The action of the operation's name on a resource.
    pub fn own(&self, resource: impl Into<String>) -> Need {
        Need::new(format!("{}:{}", self.call.service, self.call.operation), resource)
    }

    /// Returns the text of a parameter, or an empty string.
    pub fn text(&self, name: &str) -> &str {
        self.call.input.text(name).unwrap_or_default()
    }

    /// Returns the ARN of a resource of the service in the request's region.
    pub fn arn(&self, resource: &str) -> String {
        format!("arn:aws:{}:{}:{ACCOUNT}:{resource}", self.call.service, self.region)
    }

    fn filled(&self, pattern: &str) -> Vec<String> {
        let pattern = pattern.replace("{region}", self.region).replace("{account}", ACCOUNT);
        let parts = pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        let Some((before, (name, after))) = parts else { return vec![pattern] };
        let mut texts = self.call.input.texts(name);
        if texts.is_empty() {
            texts.push("*");
        }
        texts.into_iter().map(|text| format!("{before}{text}{after}")).collect()
    }
}

/// How a list is paginated.
#[derive(Debug, Clone, Copy)]
pub enum Pagination {
    /// The handler returns the whole list, whose items are in this element; it is cut into pages in the service's
    /// style.
    Cut(&'static Style, &'static str),
    /// The handler paginates. This parameter sets the page size.
    Own(&'static str),
}

/// How a service paginates its lists.
#[derive(Debug)]
pub struct Style {
    /// The parameter with the page size.
    pub size: &'static str,
    /// The parameter with the token of the requested page.
    pub from: &'static str,
    /// The element with the token of the next page.
    pub next: &'static str,
    /// The default page size.
    pub usual: usize,
    /// The minimum page size.
    pub least: usize,
    /// The maximum page size.
    pub most: usize,
    /// The error code for an invalid token.
    pub bad_token: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Protocol;
    use crate::call::{Form, Input};

    #[test]
    fn each_item_of_a_list_is_a_resource_and_a_missing_parameter_is_any() {
        let needs = |form: &[(&str, &str)], needs: Needs| {
            let row: &'static Row =
                Box::leak(Box::new(Row { name: "Stop", effect: Effect::Writes, needs, page: None }));
            let form: Form = form.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            let call = Call { row: Some(row), ..Call::of("ec2", "Stop", Protocol::Ec2, Input::Form(form)) };
            let request = Request::default();
            let asked = Asked { call: &call, request: &request, region: "eu-west-1", entity_arn: &|_, _| None };
            asked.needs().into_iter().map(|need| format!("{} {}", need.action, need.resource)).collect::<Vec<_>>()
        };
        let on = Needs::On("arn:{region}:{account}:i/{Id}");
        assert_eq!(
            needs(&[("Id.1", "a"), ("Id.2", "b")], on),
            ["ec2:Stop arn:eu-west-1:000000000000:i/a", "ec2:Stop arn:eu-west-1:000000000000:i/b"]
        );
        assert_eq!(needs(&[], on), ["ec2:Stop arn:eu-west-1:000000000000:i/*"]);
        assert_eq!(needs(&[], Needs::Own), ["ec2:Stop *"]);
        assert!(needs(&[], Needs::Nothing).is_empty());
    }
}
