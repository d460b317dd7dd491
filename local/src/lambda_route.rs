//! Lambda's paths: the operation of a request, and what it names.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::call::Request;

/// One row: method, version, what follows it (`*` is a name), operation.
type Row = (Method, &'static str, &'static [&'static str], &'static str);

const TABLE: &[Row] = &[
    (Method::GET, "2015-03-31", &["functions"], "ListFunctions"),
    (Method::POST, "2015-03-31", &["functions"], "CreateFunction"),
    (Method::GET, "2015-03-31", &["functions", "*"], "GetFunction"),
    (Method::DELETE, "2015-03-31", &["functions", "*"], "DeleteFunction"),
    (Method::GET, "2015-03-31", &["functions", "*", "configuration"], "GetFunctionConfiguration"),
    (Method::PUT, "2015-03-31", &["functions", "*", "configuration"], "UpdateFunctionConfiguration"),
    (Method::PUT, "2015-03-31", &["functions", "*", "code"], "UpdateFunctionCode"),
    (Method::POST, "2015-03-31", &["functions", "*", "invocations"], "Invoke"),
    (Method::GET, "2015-03-31", &["functions", "*", "policy"], "GetPolicy"),
    (Method::POST, "2015-03-31", &["functions", "*", "policy"], "AddPermission"),
    (Method::DELETE, "2015-03-31", &["functions", "*", "policy", "*"], "RemovePermission"),
    (Method::GET, "2015-03-31", &["functions", "*", "versions"], "ListVersionsByFunction"),
    (Method::POST, "2015-03-31", &["functions", "*", "versions"], "PublishVersion"),
    (Method::GET, "2015-03-31", &["functions", "*", "aliases"], "ListAliases"),
    (Method::POST, "2015-03-31", &["functions", "*", "aliases"], "CreateAlias"),
    (Method::GET, "2015-03-31", &["event-source-mappings"], "ListEventSourceMappings"),
    (Method::POST, "2015-03-31", &["event-source-mappings"], "CreateEventSourceMapping"),
    (Method::GET, "2016-08-19", &["account-settings"], "GetAccountSettings"),
    (Method::GET, "2017-03-31", &["tags", "*"], "ListTags"),
    (Method::POST, "2017-03-31", &["tags", "*"], "TagResource"),
    (Method::DELETE, "2017-03-31", &["tags", "*"], "UntagResource"),
    (Method::PUT, "2017-10-31", &["functions", "*", "concurrency"], "PutFunctionConcurrency"),
    (Method::DELETE, "2017-10-31", &["functions", "*", "concurrency"], "DeleteFunctionConcurrency"),
    (Method::GET, "2019-09-30", &["functions", "*", "concurrency"], "GetFunctionConcurrency"),
    (Method::GET, "2019-09-25", &["functions", "*", "event-invoke-config", "list"], "ListFunctionEventInvokeConfigs"),
    (Method::GET, "2019-09-25", &["functions", "*", "event-invoke-config"], "GetFunctionEventInvokeConfig"),
    (Method::PUT, "2019-09-25", &["functions", "*", "event-invoke-config"], "PutFunctionEventInvokeConfig"),
    (Method::POST, "2019-09-25", &["functions", "*", "event-invoke-config"], "UpdateFunctionEventInvokeConfig"),
    (Method::DELETE, "2019-09-25", &["functions", "*", "event-invoke-config"], "DeleteFunctionEventInvokeConfig"),
    (Method::GET, "2020-06-30", &["functions", "*", "code-signing-config"], "GetFunctionCodeSigningConfig"),
    (Method::POST, "2021-10-31", &["functions", "*", "url"], "CreateFunctionUrlConfig"),
    (Method::GET, "2021-10-31", &["functions", "*", "url"], "GetFunctionUrlConfig"),
    (Method::GET, "2021-10-31", &["functions", "*", "urls"], "ListFunctionUrlConfigs"),
    (Method::GET, "2021-07-20", &["functions", "*", "runtime-management-config"], "GetRuntimeManagementConfig"),
    (Method::GET, "2024-08-31", &["functions", "*", "recursion-config"], "GetFunctionRecursionConfig"),
];

/// Every operation that is answered: the others have a path only so that they are refused by name.
#[cfg(test)]
pub(crate) fn operations() -> Vec<&'static str> {
    const ABSENT: &[&str] = &["CreateAlias", "CreateEventSourceMapping", "CreateFunctionUrlConfig"];
    TABLE.iter().map(|(_, _, _, name)| *name).filter(|name| !ABSENT.contains(name)).collect()
}

/// The operation's name.
pub(crate) fn operation(method: &Method, path: &str) -> &'static str {
    let parts = parts(path);
    let Some((version, rest)) = parts.split_first() else {
        return "UnknownOperation";
    };
    let found = TABLE.iter().find(|(verb, since, shape, _)| {
        verb == method
            && since == version
            && shape.len() == rest.len()
            && shape.iter().zip(rest).all(|(wanted, part)| *wanted == "*" || wanted == part)
    });
    found.map_or("UnknownOperation", |(_, _, _, name)| name)
}

/// What the path names: the function or resource, and what stands two parts further (a statement's id).
pub(crate) fn names(path: &str) -> (String, String) {
    let mut parts = parts(path).into_iter().skip(2);
    (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default())
}

fn parts(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
}

/// The function or resource that a request names.
pub(crate) fn named(request: &Request) -> String {
    plain_name(&names(&request.path).0).to_owned()
}

/// The name in a name, an ARN or a partial ARN, without version.
pub(crate) fn plain_name(name: &str) -> &str {
    let name = match name.split_once(":function:") {
        Some((_, name)) => name,
        None => name.strip_prefix("function:").unwrap_or(name),
    };
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_operations_and_functions() {
        assert_eq!(operation(&Method::POST, "/2015-03-31/functions/labeler/invocations"), "Invoke");
        assert_eq!(operation(&Method::GET, "/2015-03-31/functions/"), "ListFunctions");
        assert_eq!(operation(&Method::GET, "/2099-01-01/else"), "UnknownOperation");
        let named = names("/2015-03-31/functions/labeler/policy/s3%20one");
        assert_eq!(named, ("labeler".to_owned(), "s3 one".to_owned()));
        let named = names("/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A0%3Afunction%3Alabeler");
        assert_eq!(named.0, "arn:aws:lambda:us-east-1:0:function:labeler");
    }
}
