"""Runs Prowler's checks of the services named in the first argument and prints the result as JSON.

Prowler's own command imports the SDKs of every other cloud. Its checks of AWS need boto3 only.
"""

import contextlib
import importlib
import json
import os
import sys

from prowler.lib.check.utils import recover_checks_from_provider
from prowler.providers.aws.aws_provider import AwsProvider
from prowler.providers.common.models import Audit_Metadata
from prowler.providers.common.provider import Provider


def service_of(path):
    return os.path.basename(os.path.dirname(path))


def main(services):
    checks = sorted((name, path) for name, path in recover_checks_from_provider("aws") if service_of(path) in services)
    provider = AwsProvider(
        regions={os.environ["AWS_REGION"]}, config_content={}, mutelist_content={}, scan_unused_services=True
    )
    provider.audit_metadata = Audit_Metadata(
        services_scanned=0, expected_checks=[name for name, _ in checks], completed_checks=0, audit_progress=0
    )
    Provider.set_global_provider(provider)
    passed, failed, broken = [], [], []
    for name, path in checks:
        try:
            module = importlib.import_module(f"prowler.providers.aws.services.{service_of(path)}.{name}.{name}")
            findings = getattr(module, name)().execute()
        except Exception as error:
            broken.append({"check": name, "error": f"{type(error).__name__}: {error}"})
            continue
        for finding in findings:
            severity = getattr(finding.check_metadata.Severity, "value", finding.check_metadata.Severity)
            found = {"check": name, "severity": severity, "resource": finding.resource_id}
            {"PASS": passed, "FAIL": failed}.get(finding.status, []).append(found)
    return {"passed": passed, "failed": failed, "broken": broken}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = main(sys.argv[1].split(","))
    json.dump(result, sys.stdout)
