"""Reads `terraform show -json` and writes an import block for each resource."""

import json
import sys

# Resources whose import id is not their `id`.
IDS = {
    "aws_autoscaling_policy": "{autoscaling_group_name}/{name}",
    "aws_iam_role_policy_attachment": "{role}/{policy_arn}",
    "aws_lambda_permission": "{function_name}/{statement_id}",
    "aws_s3_object": "{bucket}/{key}",
}

for resource in json.load(sys.stdin)["values"]["root_module"]["resources"]:
    if resource["mode"] == "managed":
        name = IDS.get(resource["type"], "{id}").format(**resource["values"])
        print(f"import {{\n  to = {resource['address']}\n  id = {json.dumps(name)}\n}}")
