"""Runs the Python handler of a function: a client of the Lambda runtime API.

What handlers, callers and logs see of it is as on AWS (docs/aws.md §7.8).
"""

import base64
import decimal
import errno
import http.client
import importlib
import importlib.machinery
import json
import logging
import math
import os
import sys
import time
import traceback
from types import SimpleNamespace

API = "/2018-06-01/runtime/"
TASK_ROOT = os.path.realpath(os.environ["LAMBDA_TASK_ROOT"])

# Flags with which a file is opened to change it.
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# The arguments of other audit events that are the paths of files to change.
CHANGED_PATHS = {
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
}
# Packages that AWS's runtimes have: boto3, and what it needs.
INCLUDED = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")


class RuntimeFault(Exception):
    """An error that the runtime finds, rather than one that the handler raises."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind, self.trace = f"Runtime.{kind}", list(trace)


class Api:
    """The runtime API, over one connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address)

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, API + path, body, headers or {})
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def report(self, path, error):
        """Reports an error."""
        headers = {"Lambda-Runtime-Function-Error-Type": error["errorType"]}
        self.call("POST", path, json.dumps(error), headers)


class Context:
    """What a handler learns about its invocation."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = client_context(headers.get("Lambda-Runtime-Client-Context"))
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


class LogHandler(logging.Handler):
    """Writes the records of `logging` to the function's log."""

    request_id = ""

    def __init__(self):
        super().__init__()
        line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        formatter = logging.Formatter(line, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record):
        record.aws_request_id = LogHandler.request_id
        sys.stdout.write(self.format(record) + "\n")


class Encoder(json.JSONEncoder):
    """Encodes numbers of DynamoDB, too."""

    def default(self, value):
        if not isinstance(value, decimal.Decimal):
            return super().default(value)
        if value.is_nan():
            return math.nan
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


def client_context(header):
    """The context that the caller gave: JSON, which a header may carry in base64."""
    if not header:
        return None
    text = header if header.lstrip().startswith("{") else base64.b64decode(header)
    fields = json.loads(text)
    client = SimpleNamespace(**fields["client"]) if isinstance(fields.get("client"), dict) else None
    return SimpleNamespace(client=client, custom=fields.get("custom"), env=fields.get("env"))


class IncludedPackages:
    """Finds the packages of AWS's runtimes in these folders."""

    def __init__(self, folders):
        self.folders = folders

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.PathFinder.find_spec(name, self.folders) if name in INCLUDED else None


def keep_to_task_root():
    """Hides the packages of this machine: on AWS, a function has its own packages and those of the runtime."""
    library = os.path.dirname(os.__file__)
    # What follows the standard library are folders with installed packages, and what these add.
    standard = [
        at for at, folder in enumerate(sys.path) if folder == library or os.path.basename(folder) == "lib-dynload"
    ]
    end = max(standard, default=len(sys.path)) + 1
    sys.meta_path.append(IncludedPackages(sys.path[end:]))
    del sys.path[end:]


def refuse_changes(event, arguments):
    """Keeps the code as it is: on AWS it is on a read-only file system."""
    if event == "open":
        path, _, flags = arguments
        paths = [path] if isinstance(flags, int) and flags & WRITES else []
    else:
        paths = [arguments[at] for at in CHANGED_PATHS.get(event, ())]
    for path in paths:
        if not isinstance(path, (str, bytes, os.PathLike)):
            continue
        path = os.path.realpath(os.fsdecode(path))
        if path == TASK_ROOT or path.startswith(TASK_ROOT + os.sep):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def load(handler):
    """Returns the function that a handler such as `folder/file.function` names."""
    try:
        module, name = handler.rsplit(".", 1)
    except ValueError as error:
        raise RuntimeFault("MalformedHandlerName", f"Bad handler '{handler}': {error}") from None
    if module.split(".")[0] in sys.builtin_module_names:
        message = f"Cannot use built-in module {module} as a handler module"
        raise RuntimeFault("BuiltInModuleConflict", message)
    try:
        loaded = importlib.import_module(module.replace("/", "."))
    except ImportError as error:
        warn_of_included(error)
        raise RuntimeFault("ImportModuleError", f"Unable to import module '{module}': {error}") from None
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise RuntimeFault("UserCodeSyntaxError", f"Syntax error in module '{module}': {error}", [place]) from None
    if not hasattr(loaded, name):
        raise RuntimeFault("HandlerNotFound", f"Handler '{name}' missing on module '{module}'")
    return getattr(loaded, name)


def warn_of_included(error):
    """Says that AWS's runtimes have a package which is missing here."""
    package = (getattr(error, "name", None) or "").split(".")[0]
    if package in INCLUDED:
        print(
            f"[WARNING] AWS's Python runtimes have {package}. The local AWS runs functions with {sys.executable}, "
            f"which does not: {sys.executable} -m pip install {package}"
        )


def described(error, request_id=""):
    """Returns an error as AWS's runtimes report it."""
    if isinstance(error, RuntimeFault):
        kind, trace = error.kind, error.trace
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        kind, trace = type(error).__name__, traceback.format_list(frames)
    return {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}


def log(error):
    """Writes an error to the function's log."""
    lines = [f"[ERROR] {error['errorType']}: {error['errorMessage']}", "Traceback (most recent call last):"]
    lines += [line for part in error["stackTrace"] for line in part.splitlines()]
    sys.stdout.write("\n".join(lines) + "\n")


def answer(handler, event, context):
    """Returns the handler's response as bytes."""
    try:
        event = json.loads(event)
    except ValueError as error:
        raise RuntimeFault("UnmarshalError", f"Unable to unmarshal input: {error}") from None
    response = handler(event, context)
    if isinstance(response, bytes):
        return response
    try:
        return json.dumps(response, cls=Encoder, ensure_ascii=False).encode()
    except Exception as error:
        raise RuntimeFault("MarshalError", f"Unable to marshal response: {error}") from None


def serve(api, handler):
    """Waits for an invocation and answers it. Whatever is no `Exception`, such as `SystemExit`, ends the process."""
    try:
        status, headers, event = api.call("GET", "invocation/next")
    except (OSError, http.client.HTTPException):
        # The local AWS ends a process that it no longer needs by ending this call.
        sys.exit(0)
    if status != 200:
        sys.exit(0)
    context = Context(headers)
    request_id = LogHandler.request_id = context.aws_request_id
    os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id", "")
    try:
        response = answer(handler, event, context)
    except Exception as error:
        error = described(error, request_id)
        log(error)
        api.report(f"invocation/{request_id}/error", error)
    else:
        api.call("POST", f"invocation/{request_id}/response", response)


def main():
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    # The code is found in place of the folder of this file.
    sys.path[0] = TASK_ROOT
    keep_to_task_root()
    sys.dont_write_bytecode = True
    sys.addaudithook(refuse_changes)
    logging.getLogger().addHandler(LogHandler())
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as error:
        error = described(error)
        log(error)
        api.report("init/error", error)
        sys.exit(1)
    while True:
        serve(api, handler)


if __name__ == "__main__":
    main()
