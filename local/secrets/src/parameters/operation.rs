//! The operations of Parameter Store.

use kit::ACCOUNT;
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Need, Needs, Operation, Pagination, Rows};

use super::Parameters;
use crate::{Input, with_request_tags};

/// A name that begins with a slash keeps it as the only one behind `parameter`.
pub(super) fn arn_of(region: &str, name: &str) -> String {
    format!("arn:aws:ssm:{region}:{ACCOUNT}:parameter/{}", name.trim_start_matches('/'))
}

/// The permission to read a parameter.
pub fn to_read(region: &str, name: &str) -> Need {
    Need::new("ssm:GetParameter", arn_of(region, name))
}

/// The parameters that a call names.
fn named(asked: &Asked, of: &str) -> Vec<Need> {
    let input = Input(asked.call.input.json().value());
    let names: Vec<&str> = input.text(of).into_iter().chain(input.list(of)).collect();
    match names.is_empty() {
        // Refused later: nothing is named.
        true => vec![asked.own("*")],
        false => names.into_iter().map(|name| asked.own(arn_of(asked.region, name))).collect(),
    }
}

const BY_NAME: Needs = Needs::Of(|asked| named(asked, "Name"));
const BY_NAMES: Needs = Needs::Of(|asked| named(asked, "Names"));
const BY_PATH: Needs = Needs::Of(|asked| named(asked, "Path"));
const BY_ID: Needs = Needs::Of(|asked| {
    let needs = named(asked, "ResourceId").into_iter();
    needs.map(|need| with_request_tags(need, asked)).collect()
});
/// Giving a new parameter tags needs the permission to tag it as well.
const PUT: Needs = Needs::Of(|asked| {
    let has_tags = !Input(asked.call.input.json().value()).tags().is_empty();
    let arn = arn_of(asked.region, asked.text("Name"));
    let tag = has_tags.then(|| Need::new("ssm:AddTagsToResource", arn.clone()));
    [asked.own(arn)].into_iter().chain(tag).map(|need| with_request_tags(need, asked)).collect()
});

const PAGED: Option<Pagination> = Some(Pagination::Own("MaxResults"));

/// The supported operations and parameters; any other is refused by name.
pub(super) const OPERATIONS: &[Operation<crate::Run<Parameters>>] = &[
    Operation::new(
        "AddTagsToResource",
        Writes,
        BY_ID,
        None,
        "ResourceId ResourceType=Parameter Tags[].Key Tags[].Value",
        Parameters::tag,
    ),
    Operation::new("DeleteParameter", Writes, BY_NAME, None, "Name", Parameters::delete),
    Operation::new("DeleteParameters", Writes, BY_NAMES, None, "Names[]", Parameters::delete_several),
    Operation::new(
        "DescribeParameters",
        Reads,
        Needs::Own,
        PAGED,
        "MaxResults:integer NextToken ParameterFilters[].Key ParameterFilters[].Option ParameterFilters[].Values[]",
        Parameters::describe,
    ),
    Operation::new("GetParameter", Reads, BY_NAME, None, "Name WithDecryption:boolean", Parameters::get),
    Operation::new("GetParameters", Reads, BY_NAMES, None, "Names[] WithDecryption:boolean", Parameters::get_several),
    Operation::new(
        "GetParametersByPath",
        Reads,
        BY_PATH,
        PAGED,
        "MaxResults:integer NextToken Path Recursive:boolean WithDecryption:boolean",
        Parameters::get_by_path,
    ),
    Operation::new(
        "ListTagsForResource",
        Reads,
        BY_ID,
        None,
        "ResourceId ResourceType=Parameter",
        Parameters::list_tags,
    ),
    Operation::new(
        "PutParameter",
        Writes,
        PUT,
        None,
        "DataType=text Description KeyId=alias/aws/ssm Name Overwrite:boolean Tags[].Key Tags[].Value Tier=Standard \
         Type Value",
        Parameters::put,
    ),
    Operation::new(
        "RemoveTagsFromResource",
        Writes,
        BY_ID,
        None,
        "ResourceId ResourceType=Parameter TagKeys[]",
        Parameters::untag,
    ),
];

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}
