//! One row for each operation: everything that is known of it, whichever service it belongs to.

use super::{Call, Request};
use crate::ACCOUNT;
use crate::taken::Takes;

/// Whether an operation may change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It may change something.
    Writes,
}

/// What the server knows of an operation: to let its callers in, to note its calls and to page its answers.
#[derive(Debug)]
pub struct Row {
    /// As in IAM policies and SDKs.
    pub name: &'static str,
    /// Whether it may change something.
    pub effect: Effect,
    /// The permissions that its caller needs.
    pub needs: Needs,
    /// How its list comes in pages; nothing where the answer is always whole.
    pub page: Option<Page>,
}

/// The rows of a service.
pub type Rows = Box<dyn Iterator<Item = &'static Row>>;

/// An operation of a service: its row, the parameters that it carries out, and what answers it.
#[derive(Debug)]
pub struct Operation<Run: 'static> {
    /// What the server knows of it.
    pub row: Row,
    /// The parameters that it implements.
    pub takes: Takes,
    /// What answers it.
    pub run: Run,
}

impl<Run> Operation<Run> {
    /// An operation; every part must be given.
    pub const fn new(
        name: &'static str,
        effect: Effect,
        needs: Needs,
        page: Option<Page>,
        takes: Takes,
        run: Run,
    ) -> Operation<Run> {
        Operation { row: Row { name, effect, needs, page }, takes, run }
    }

    /// The operation with this name.
    pub fn find(table: &'static [Operation<Run>], name: &str) -> Option<&'static Operation<Run>> {
        table.iter().find(|operation| operation.row.name == name)
    }

    /// What everybody may know of a table.
    pub fn rows(table: &'static [Operation<Run>]) -> Rows {
        Box::new(table.iter().map(|operation| &operation.row))
    }
}

/// What the caller of an operation must be allowed, all of it.
#[derive(Debug, Clone, Copy)]
pub enum Needs {
    /// Nothing: everybody may call it.
    Nothing,
    /// The action of its own name on everything.
    Own,
    /// The action of its own name on the resource of this ARN, in which `{region}` and `{account}` are known and any
    /// other name in braces is a parameter: one for each item of a list, and `*` where the call has none.
    On(&'static str),
    /// What its input says.
    Of(fn(&Asked) -> Vec<Need>),
}

/// An action on a resource, which is `*` where the action knows none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Such as `s3:GetObject`.
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// What conditions may ask beside what every call says of itself.
    pub keys: Vec<(&'static str, String)>,
}

impl Need {
    /// An action on a resource.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Need {
        Need { action: action.into(), resource: resource.into(), keys: Vec::new() }
    }

    /// The same with a condition key that the call sets.
    pub fn knowing(mut self, key: &'static str, value: Option<String>) -> Need {
        self.keys.extend(value.map(|value| (key, value)));
        self
    }
}

/// A call whose needs are asked for, and what ARNs need to know beside it.
pub struct Asked<'a> {
    /// The call.
    pub call: &'a Call,
    /// The request that it came in.
    pub request: &'a Request,
    /// The region that is called.
    pub region: &'a str,
    /// The ARN of the role with this name, which has a path.
    pub role_arn: &'a dyn Fn(&str) -> Option<String>,
}

impl Asked<'_> {
    /// What the caller must be allowed. A call that nothing answers needs the action of its own name.
    pub fn needs(&self) -> Vec<Need> {
        match self.call.row.map_or(Needs::Own, |row| row.needs) {
            Needs::Nothing => Vec::new(),
            Needs::Own => vec![self.own("*")],
            Needs::On(pattern) => self.filled(pattern).into_iter().map(|resource| self.own(resource)).collect(),
            Needs::Of(work_out) => work_out(self),
        }
    }

    /// The action of the operation's own name on a resource.
    pub fn own(&self, resource: impl Into<String>) -> Need {
        Need::new(format!("{}:{}", self.call.service, self.call.operation), resource)
    }

    /// The text of a parameter, or the empty one.
    pub fn text(&self, name: &str) -> &str {
        self.call.input.text(name).unwrap_or_default()
    }

    /// The ARN of something in the region that is called.
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

/// How a list comes in pages.
#[derive(Debug, Clone, Copy)]
pub enum Page {
    /// The handler answers the whole list, whose items are in this element; it is cut in the style of the service.
    Cut(&'static Style, &'static str),
    /// The handler pages. This parameter has the length of a page.
    Own(&'static str),
}

/// How the lists of a service come in pages.
#[derive(Debug)]
pub struct Style {
    /// The parameter with the length of a page, and the one that asks for the next.
    pub size: &'static str,
    /// The parameter that asks for the next page.
    pub from: &'static str,
    /// The element that says where the next page begins.
    pub next: &'static str,
    /// What a page holds unless the call says otherwise, and the most that it can hold.
    pub usual: usize,
    /// The most that a page holds.
    pub most: usize,
    /// The code with which a token is refused that is none.
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
            let asked = Asked { call: &call, request: &request, region: "eu-west-1", role_arn: &|_| None };
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
