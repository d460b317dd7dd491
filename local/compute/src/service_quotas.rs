//! Service Quotas: the vCPU quota of the standard instance families, the only one that is enforced here by its code.

use serde_json::{Value, json};

use crate::{Compute, ec2};
use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Call, Effect, Needs, Operation, Rows};
use kit::taken;

/// The quota for On-Demand instances of the standard families (docs/aws.md §3.5).
const STANDARD: &str = "L-1216C47A";

type Run = fn(&Value, &Compute) -> Result<Value, Refusal>;

/// The supported operations and parameters; any other is refused by name.
const OPERATIONS: &[Operation<Run>] =
    &[Operation::new("GetServiceQuota", Effect::Reads, Needs::Own, None, "QuotaCode ServiceCode", get)];

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// Handles a call; `None` if there is no such operation.
pub fn answer(call: &Call, compute: &Compute) -> Option<Response> {
    let operation = Operation::find(OPERATIONS, &call.operation)?;
    let input = taken::document(operation.takes, call.input.json());
    let answer = input.and_then(|input| (operation.run)(input, compute));
    Some(match answer {
        Ok(answer) => json_answer(200, Protocol::Json11, &answer),
        Err(refusal) => refusal.answer(Protocol::Json11),
    })
}

fn get(input: &Value, compute: &Compute) -> Result<Value, Refusal> {
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    if let Some(missing) = ["ServiceCode", "QuotaCode"].into_iter().find(|name| text(name).is_empty()) {
        return Err(Refusal::new(400, "ValidationException", format!("{missing} is required")));
    }
    // AWS knows more of them: an answer that there is none would pass for no limit.
    if (text("ServiceCode"), text("QuotaCode")) != ("ec2", STANDARD) {
        let asked = format!("the quota {} of {}", text("QuotaCode"), text("ServiceCode"));
        return Err(taken::refusal(format!("the local AWS does not implement {asked}")));
    }
    let region = &compute.site.region;
    Ok(json!({ "Quota": {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": format!("arn:aws:servicequotas:{region}:{ACCOUNT}:ec2/{STANDARD}"),
        "QuotaCode": STANDARD,
        "QuotaName": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        "Value": f64::from(ec2::quota(&compute.site)),
        "Unit": "None",
        "Adjustable": true,
        "GlobalQuota": false,
    } }))
}
