//! The table of Lambda's operations: for each the path, the required permissions, the parameters and the handler.

use futures::future::BoxFuture;
use http::Method;
use serde_json::Value;

use super::{Lambda, shown};
use kit::answer::{Refusal, Response};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Call, Need, Needs, Operation, Pagination, Request, Rest, Row, Rows};
use kit::parameters::{ANYTHING, ParameterSpec};

/// A request, as handlers receive it.
pub(super) struct LambdaRequest<'a> {
    /// The function or resource in the path.
    pub name: String,
    /// The path segment two after the name: a statement's ID.
    pub detail: String,
    pub rest: &'a Rest,
    pub http: &'a Request,
}

impl<'a> LambdaRequest<'a> {
    pub(super) fn of(call: &'a Call, http: &'a Request) -> LambdaRequest<'a> {
        let rest = call.input.rest();
        let part = |at: usize| rest.path.get(at).cloned().unwrap_or_default();
        LambdaRequest { name: part(2), detail: part(4), rest, http }
    }

    /// Returns the parsed body.
    pub(super) fn body(&self) -> Result<&'a Value, Refusal> {
        self.rest
            .body
            .read()
            .map_err(|_| Refusal::new(400, "InvalidRequestContentException", "Could not parse request body into json"))
    }
}

pub(super) type Run = for<'a> fn(&'a Lambda, &'a LambdaRequest<'a>) -> BoxFuture<'a, Result<Response, Refusal>>;

/// The path of an operation. If the operation is not implemented, only its name.
struct Route {
    method: Method,
    since: &'static str,
    /// The segments after the API version; `*` is a name.
    path: &'static [&'static str],
    operation: Result<Operation<Run>, &'static str>,
}

const fn route(method: Method, since: &'static str, path: &'static [&'static str], operation: Operation<Run>) -> Route {
    Route { method, since, path, operation: Ok(operation) }
}

macro_rules! run {
    (|$lambda:ident, $request:ident| $answer:expr) => {
        |$lambda, $request| Box::pin(async move { $answer })
    };
}

/// The parameters of a function's configuration that have an effect; others would merely be displayed.
macro_rules! configuration {
    () => {
        "Description Environment.Variables.* EphemeralStorage.Size:integer Handler KMSKeyArn LoggingConfig.LogFormat=Text \
         LoggingConfig.LogGroup MemorySize:integer Role Runtime SnapStart.ApplyOn=None Timeout:integer TracingConfig.Mode "
    };
}

/// The body of an operation without parameters is ignored.
pub(super) const NO_BODY: ParameterSpec = ANYTHING;

/// The operation's action on the function in the path.
const FUNCTION: Needs = Needs::Of(|asked| vec![asked.own(function_of(asked))]);

#[rustfmt::skip]
const TABLE: &[Route] = &[
    route(Method::GET, "2015-03-31", &["functions"], Operation::new("ListFunctions", Reads, Needs::Own, Some(Pagination::Own("MaxItems")), NO_BODY, run!(|lambda, request| lambda.list(request.rest)))),
    route(Method::POST, "2015-03-31", &["functions"], Operation::new("CreateFunction", Writes, Needs::Of(new_function), None, concat!(
            configuration!(),
            "Architectures[] Code.S3Bucket Code.S3Key Code.ZipFile:blob FunctionName PackageType=Zip Publish:boolean Tags.*"
        ), run!(|lambda, request| lambda.create(request.body()?).await))),
    route(Method::GET, "2015-03-31", &["functions", "*"], Operation::new("GetFunction", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.get(&request.name)))),
    route(Method::DELETE, "2015-03-31", &["functions", "*"], Operation::new("DeleteFunction", Writes, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.delete(&request.name)))),
    route(Method::GET, "2015-03-31", &["functions", "*", "configuration"], Operation::new("GetFunctionConfiguration", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| Ok(shown(200, &lambda.show(&lambda.find(&request.name)?)))))),
    route(Method::PUT, "2015-03-31", &["functions", "*", "configuration"], Operation::new("UpdateFunctionConfiguration", Writes, Needs::Of(changed_function), None, concat!(configuration!(), "RevisionId"), run!(|lambda, request| lambda.update_configuration(&request.name, request.body()?).await))),
    route(Method::PUT, "2015-03-31", &["functions", "*", "code"], Operation::new("UpdateFunctionCode", Writes, FUNCTION, None, "Architectures[] DryRun:boolean Publish:boolean RevisionId S3Bucket S3Key ZipFile:blob", run!(|lambda, request| lambda.update_code(&request.name, request.body()?).await))),
    // `Invoke` counts as reading: a function changes state through its own calls.
    route(Method::POST, "2015-03-31", &["functions", "*", "invocations"], Operation::new("Invoke", Reads, Needs::Of(invoked), None, NO_BODY, run!(|lambda, request| lambda.invoke(&request.name, request.http).await))),
    route(Method::GET, "2015-03-31", &["functions", "*", "policy"], Operation::new("GetPolicy", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.policy(&request.name)))),
    route(Method::POST, "2015-03-31", &["functions", "*", "policy"], Operation::new("AddPermission", Writes, FUNCTION, None, "Action Principal RevisionId SourceAccount SourceArn StatementId", run!(|lambda, request| lambda.add_permission(&request.name, request.body()?).await))),
    route(Method::DELETE, "2015-03-31", &["functions", "*", "policy", "*"], Operation::new("RemovePermission", Writes, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.remove_permission(&request.name, &request.detail).await))),
    route(Method::GET, "2015-03-31", &["functions", "*", "versions"], Operation::new("ListVersionsByFunction", Reads, FUNCTION, Some(Pagination::Own("MaxItems")), NO_BODY, run!(|lambda, request| lambda.list_versions(&request.name, request.rest)))),
    route(Method::POST, "2015-03-31", &["functions", "*", "versions"], Operation::new("PublishVersion", Writes, FUNCTION, None, "CodeSha256 Description RevisionId", run!(|lambda, request| lambda.publish(&request.name, request.body()?)))),
    // There are no aliases or function URLs, and only S3 sends events.
    route(Method::GET, "2015-03-31", &["functions", "*", "aliases"], Operation::new("ListAliases", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.none_of(&request.name, "Aliases")))),
    Route { method: Method::POST, since: "2015-03-31", path: &["functions", "*", "aliases"], operation: Err("CreateAlias") },
    route(Method::GET, "2015-03-31", &["event-source-mappings"], Operation::new("ListEventSourceMappings", Reads, Needs::Own, None, NO_BODY, run!(|lambda, request| lambda.sources(request.rest)))),
    Route { method: Method::POST, since: "2015-03-31", path: &["event-source-mappings"], operation: Err("CreateEventSourceMapping") },
    route(Method::GET, "2016-08-19", &["account-settings"], Operation::new("GetAccountSettings", Reads, Needs::Own, None, NO_BODY, run!(|lambda, _ask| Ok(lambda.account())))),
    route(Method::GET, "2017-03-31", &["tags", "*"], Operation::new("ListTags", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.tags(&request.name)))),
    route(Method::POST, "2017-03-31", &["tags", "*"], Operation::new("TagResource", Writes, FUNCTION, None, "Tags.*", run!(|lambda, request| lambda.tag(&request.name, request.body()?)))),
    route(Method::DELETE, "2017-03-31", &["tags", "*"], Operation::new("UntagResource", Writes, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.untag(&request.name, request.rest)))),
    route(Method::PUT, "2017-10-31", &["functions", "*", "concurrency"], Operation::new("PutFunctionConcurrency", Writes, FUNCTION, None, "ReservedConcurrentExecutions:integer", run!(|lambda, request| lambda.reserve(&request.name, request.body()?)))),
    route(Method::DELETE, "2017-10-31", &["functions", "*", "concurrency"], Operation::new("DeleteFunctionConcurrency", Writes, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.free(&request.name)))),
    route(Method::GET, "2019-09-30", &["functions", "*", "concurrency"], Operation::new("GetFunctionConcurrency", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.reserved(&request.name)))),
    route(Method::GET, "2019-09-25", &["functions", "*", "event-invoke-config", "list"], Operation::new("ListFunctionEventInvokeConfigs", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.on_events(&request.name)))),
    route(Method::GET, "2019-09-25", &["functions", "*", "event-invoke-config"], Operation::new("GetFunctionEventInvokeConfig", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.on_event(&request.name)))),
    route(Method::PUT, "2019-09-25", &["functions", "*", "event-invoke-config"], Operation::new("PutFunctionEventInvokeConfig", Writes, FUNCTION, None, "DestinationConfig.OnFailure.Destination DestinationConfig.OnSuccess.Destination MaximumEventAgeInSeconds:integer MaximumRetryAttempts:integer", run!(|lambda, request| lambda.put_on_event(&request.name, request.body()?)))),
    route(Method::POST, "2019-09-25", &["functions", "*", "event-invoke-config"], Operation::new("UpdateFunctionEventInvokeConfig", Writes, FUNCTION, None, "DestinationConfig.OnFailure.Destination DestinationConfig.OnSuccess.Destination MaximumEventAgeInSeconds:integer MaximumRetryAttempts:integer", run!(|lambda, request| lambda.update_on_event(&request.name, request.body()?)))),
    route(Method::DELETE, "2019-09-25", &["functions", "*", "event-invoke-config"], Operation::new("DeleteFunctionEventInvokeConfig", Writes, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.delete_on_event(&request.name)))),
    // There is no code signing.
    route(Method::GET, "2020-06-30", &["functions", "*", "code-signing-config"], Operation::new("GetFunctionCodeSigningConfig", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.signing(&request.name)))),
    Route { method: Method::POST, since: "2021-10-31", path: &["functions", "*", "url"], operation: Err("CreateFunctionUrlConfig") },
    route(Method::GET, "2021-10-31", &["functions", "*", "url"], Operation::new("GetFunctionUrlConfig", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.url(&request.name)))),
    route(Method::GET, "2021-10-31", &["functions", "*", "urls"], Operation::new("ListFunctionUrlConfigs", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.none_of(&request.name, "FunctionUrlConfigs")))),
    route(Method::GET, "2021-07-20", &["functions", "*", "runtime-management-config"], Operation::new("GetRuntimeManagementConfig", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.runtime(&request.name)))),
    route(Method::GET, "2024-08-31", &["functions", "*", "recursion-config"], Operation::new("GetFunctionRecursionConfig", Reads, FUNCTION, None, NO_BODY, run!(|lambda, request| lambda.recursion(&request.name)))),
];

/// Returns the name of the function in the path, if there is one.
pub(super) fn function_name(asked: &Asked) -> Option<String> {
    asked.call.input.rest().path.get(2).map(|name| plain_name(name).to_owned())
}

fn function_of(asked: &Asked) -> String {
    let name = asked.call.input.rest().path.get(2).map_or("", String::as_str);
    asked.arn(&format!("function:{}", plain_name(name)))
}

fn invoked(asked: &Asked) -> Vec<Need> {
    vec![Need::new("lambda:InvokeFunction", function_of(asked))]
}

fn new_function(asked: &Asked) -> Vec<Need> {
    let name = asked.call.input.json().value()["FunctionName"].as_str().unwrap_or_default();
    let arn = asked.arn(&format!("function:{}", plain_name(name)));
    let has_tags = asked.call.input.json().value()["Tags"].as_object().is_some_and(|tags| !tags.is_empty());
    // Giving it tags needs the permission to tag it as well (docs/aws.md §2.5).
    let tag = has_tags.then(|| Need::new("lambda:TagResource", arn.as_str()));
    with_role(asked, asked.own(arn)).into_iter().chain(tag).collect()
}

fn changed_function(asked: &Asked) -> Vec<Need> {
    with_role(asked, asked.own(function_of(asked)))
}

/// Setting a function's role requires permission to pass that role.
fn with_role(asked: &Asked, need: Need) -> Vec<Need> {
    let role = asked.call.input.json().value()["Role"].as_str();
    let pass = role.map(|role| {
        Need::new("iam:PassRole", role).knowing("iam:PassedToService", Some("lambda.amazonaws.com".to_owned()))
    });
    [need].into_iter().chain(pass).collect()
}

/// Returns the rows of all implemented operations.
pub fn rows() -> Rows {
    Box::new(TABLE.iter().filter_map(|route| route.operation.as_ref().ok()).map(|operation| &operation.row))
}

/// Finds the operation with this name, if it is implemented.
pub(super) fn find(name: &str) -> Option<&'static Operation<Run>> {
    TABLE.iter().filter_map(|route| route.operation.as_ref().ok()).find(|operation| operation.row.name == name)
}

/// Returns the name of the operation that a request calls, and its row if it is implemented.
pub fn identify(method: &Method, rest: &Rest) -> (&'static str, Option<&'static Row>) {
    let fits = |route: &&Route| {
        rest.path.split_first().is_some_and(|(since, path)| {
            route.method == *method
                && route.since == since
                && route.path.len() == path.len()
                && route.path.iter().zip(path).all(|(wanted, part)| *wanted == "*" || wanted == part)
        })
    };
    match TABLE.iter().find(fits).map(|route| &route.operation) {
        Some(Ok(operation)) => (operation.row.name, Some(&operation.row)),
        Some(Err(name)) => (name, None),
        None => ("UnknownOperation", None),
    }
}

/// Returns the name in a name, ARN or partial ARN, without the version.
pub fn plain_name(name: &str) -> &str {
    let name = match name.split_once(":function:") {
        Some((_, name)) => name,
        None => name.strip_prefix("function:").unwrap_or(name),
    };
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::answer::Protocol;
    use kit::call::Input;

    #[test]
    fn paths_name_operations_and_functions() {
        let asked = |method: Method, path: &str| {
            let http = Request { method, path: path.to_owned(), ..Request::default() };
            let call = Call::of("lambda", "", Protocol::RestJson, Input::of(Protocol::RestJson, &http));
            let request = LambdaRequest::of(&call, &http);
            (identify(&http.method, request.rest).0, request.name, request.detail)
        };
        assert_eq!(asked(Method::POST, "/2015-03-31/functions/labeler/invocations").0, "Invoke");
        assert_eq!(asked(Method::GET, "/2015-03-31/functions/").0, "ListFunctions");
        assert_eq!(asked(Method::POST, "/2015-03-31/functions/labeler/aliases").0, "CreateAlias");
        assert_eq!(asked(Method::GET, "/2099-01-01/else").0, "UnknownOperation");
        let (_, name, detail) = asked(Method::DELETE, "/2015-03-31/functions/labeler/policy/s3%20one");
        assert_eq!((name.as_str(), detail.as_str()), ("labeler", "s3 one"));
        let path = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A0%3Afunction%3Alabeler";
        assert_eq!(asked(Method::GET, path).1, "arn:aws:lambda:us-east-1:0:function:labeler");
    }
}
