"""A function of Python's standard library, for tests."""

import json
import logging
import os
import sys
import time
from pathlib import Path
from urllib.parse import unquote_plus

logging.getLogger().setLevel(logging.INFO)
TASK_ROOT = Path(os.environ["LAMBDA_TASK_ROOT"])


def handler(event, context):
    for record in event.get("Records", []):
        print("uploaded", unquote_plus(record["s3"]["object"]["key"]))
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        sys.exit(event["exit"])
    if "write" in event:
        (TASK_ROOT / event["write"]).write_text("changed")
    if "sleep_s" in event:
        time.sleep(event["sleep_s"])
    if "respond" in event:
        return {event["respond"]}
    logging.info("greeting %s", event.get("name"))
    return {
        "greeting": f"{os.environ['GREETING']}, {(TASK_ROOT / 'name.txt').read_text()}",
        "request_id": context.aws_request_id,
        "function": context.function_name,
        "memory_mb": context.memory_limit_in_mb,
        "has_time": 0 < context.get_remaining_time_in_millis() <= 5_000,
        "environment": os.environ["AWS_EXECUTION_ENV"],
        "handler": os.environ["_HANDLER"],
        "is_at_task_root": Path.cwd() == TASK_ROOT,
    }


def other(event, context):
    return json.dumps(event)
