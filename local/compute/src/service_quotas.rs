//! Service Quotas: the quotas that are enforced here and that AWS shows only there.

use serde_json::{Value, json};

use crate::{Compute, Site, ec2};
use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Call, Effect, Needs, Operation, Rows};
use kit::{parameters, quotas};

/// A quota (docs/aws.md §3.5).
struct Quota {
    service: &'static str,
    service_name: &'static str,
    code: &'static str,
    name: &'static str,
    value: fn(&Site) -> f64,
}

const QUOTAS: &[Quota] = &[
    Quota {
        service: "ec2",
        service_name: "Amazon Elastic Compute Cloud (Amazon EC2)",
        code: "L-1216C47A",
        name: "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        value: |site| f64::from(ec2::quota(site)),
    },
    Quota {
        service: "vpc",
        service_name: "Amazon Virtual Private Cloud (Amazon VPC)",
        code: "L-F678F1CE",
        name: "VPCs per Region",
        value: |_| quotas::VPCS as f64,
    },
    Quota {
        service: "vpc",
        service_name: "Amazon Virtual Private Cloud (Amazon VPC)",
        code: "L-E79EC296",
        name: "VPC security groups per Region",
        value: |_| quotas::SECURITY_GROUPS as f64,
    },
    Quota {
        service: "dynamodb",
        service_name: "Amazon DynamoDB",
        code: "L-F98FE922",
        name: "Maximum number of tables",
        value: |_| quotas::TABLES as f64,
    },
];

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
    let input = parameters::document(operation.parameters, call.input.json());
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
    // AWS has more quotas: reporting them as missing would look like there is no limit.
    let is_asked = |quota: &&Quota| (quota.service, quota.code) == (text("ServiceCode"), text("QuotaCode"));
    let Some(quota) = QUOTAS.iter().find(is_asked) else {
        let asked = format!("the quota {} of {}", text("QuotaCode"), text("ServiceCode"));
        return Err(parameters::refusal(format!("the local AWS does not implement {asked}")));
    };
    let Quota { service, service_name, code, name, value } = quota;
    let region = &compute.site.region;
    Ok(json!({ "Quota": {
        "ServiceCode": service,
        "ServiceName": service_name,
        "QuotaArn": format!("arn:aws:servicequotas:{region}:{ACCOUNT}:{service}/{code}"),
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value(&compute.site),
        "Unit": "None",
        "Adjustable": true,
        "GlobalQuota": false,
    } }))
}
