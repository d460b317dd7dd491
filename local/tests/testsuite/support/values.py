"""Uses Secrets Manager and Parameter Store as boto3 does, and compares errors with the documented ones."""

import sys
import uuid

import boto3
from botocore.exceptions import ClientError

endpoint = sys.argv[1]
session = boto3.session.Session(
    aws_access_key_id="LOCALACCESSKEY000000", aws_secret_access_key="local", region_name="us-east-1"
)
secrets, ssm = (session.client(name, endpoint_url=endpoint) for name in ("secretsmanager", "ssm"))


def refused(code, call, **parameters):
    try:
        call(**parameters)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error
        assert "hunter2" not in str(error), error
    else:
        raise AssertionError(f"{code} was expected")


token = str(uuid.uuid4())
made = secrets.create_secret(
    Name="app/jwt", SecretString="hunter2", ClientRequestToken=token, Tags=[{"Key": "owner", "Value": "ada"}]
)
assert made["ARN"].startswith("arn:aws:secretsmanager:us-east-1:000000000000:secret:app/jwt-")
assert len(made["ARN"].rsplit("-", 1)[1]) == 6 and made["VersionId"] == token
assert secrets.create_secret(Name="app/jwt", SecretString="hunter2", ClientRequestToken=token) | {
    "ResponseMetadata": 0
} == made | {"ResponseMetadata": 0}
refused("ResourceExistsException", secrets.create_secret, Name="app/jwt", SecretString="hunter2")
refused("ResourceNotFoundException", secrets.get_secret_value, SecretId="none")
refused("ResourceExistsException", secrets.put_secret_value, SecretId="app/jwt", SecretString="x", ClientRequestToken=token)
second = secrets.put_secret_value(SecretId=made["ARN"], SecretString="tiger3")
assert second["VersionStages"] == ["AWSCURRENT"]
value = lambda **which: secrets.get_secret_value(SecretId="app/jwt", **which)["SecretString"]
assert [value(), value(VersionStage="AWSPREVIOUS"), value(VersionId=token)] == ["tiger3", "hunter2", "hunter2"]
described = secrets.describe_secret(SecretId="app/jwt")
assert described["VersionIdsToStages"] == {second["VersionId"]: ["AWSCURRENT"], token: ["AWSPREVIOUS"]}, described
assert described["Tags"] == [{"Key": "owner", "Value": "ada"}] and "SecretString" not in described
secrets.update_secret(SecretId="app/jwt", Description="a key")
assert secrets.describe_secret(SecretId="app/jwt")["Description"] == "a key"
assert secrets.update_secret(SecretId="app/jwt", SecretBinary=b"\x00\x01")["VersionId"]
assert secrets.get_secret_value(SecretId="app/jwt")["SecretBinary"] == b"\x00\x01"
secrets.tag_resource(SecretId="app/jwt", Tags=[{"Key": "more", "Value": ""}])
secrets.untag_resource(SecretId="app/jwt", TagKeys=["owner"])
for number in range(3):
    secrets.create_secret(Name=f"n{number}", SecretString="v")
pages = list(secrets.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 2}))
assert [len(page["SecretList"]) for page in pages] == [2, 2]
tagged = secrets.list_secrets(Filters=[{"Key": "tag-key", "Values": ["more"]}])["SecretList"]
assert [secret["Name"] for secret in tagged] == ["app/jwt"]
refused("InvalidParameterException", secrets.delete_secret, SecretId="n0", RecoveryWindowInDays=3)
secrets.delete_secret(SecretId="n0", RecoveryWindowInDays=7)
refused("InvalidRequestException", secrets.get_secret_value, SecretId="n0")
refused("InvalidRequestException", secrets.put_secret_value, SecretId="n0", SecretString="x")
refused("InvalidRequestException", secrets.create_secret, Name="n0", SecretString="x")
assert secrets.describe_secret(SecretId="n0")["DeletedDate"]
secrets.restore_secret(SecretId="n0")
secrets.delete_secret(SecretId="n0", ForceDeleteWithoutRecovery=True)
# The deletion ends in the background.
try:
    while secrets.describe_secret(SecretId="n0")["DeletedDate"]:
        pass
except secrets.exceptions.ResourceNotFoundException:
    pass
refused("ResourceNotFoundException", secrets.describe_secret, SecretId="n0")

put = lambda **more: ssm.put_parameter(**({"Name": "/app/db", "Value": "hunter2", "Type": "SecureString"} | more))
assert put(Tags=[{"Key": "owner", "Value": "ada"}])["Version"] == 1
refused("ParameterAlreadyExists", put)
refused("ValidationException", put, Overwrite=True, Tags=[{"Key": "a", "Value": "b"}])
refused("ValidationException", put, Name="app/db")
refused("ValidationException", put, Name="/aws/db")
refused("ValidationException", put, Name="/large", Value="hunter2" * 600)
refused("ValidationException", put, Name="/app//db")
refused("ValidationException", put, Name="x" * 967)
refused("ValidationException", put, Name="/nested", Value="{{ssm:/app/db}}")
refused("HierarchyTypeMismatchException", put, Type="String", Overwrite=True)
assert put(Value="tiger3", Overwrite=True, KeyId="alias/aws/ssm")["Version"] == 2
parameter = ssm.get_parameter(Name="/app/db", WithDecryption=True)["Parameter"]
assert (parameter["Value"], parameter["Version"], parameter["Type"]) == ("tiger3", 2, "SecureString")
assert parameter["ARN"] == "arn:aws:ssm:us-east-1:000000000000:parameter/app/db"
assert ssm.get_parameter(Name="/app/db")["Parameter"]["Value"] != "tiger3"
refused("ParameterNotFound", ssm.get_parameter, Name="/none")
several = ssm.get_parameters(Names=["/app/db", "/none"], WithDecryption=True)
assert several["InvalidParameters"] == ["/none"] and several["Parameters"][0]["Value"] == "tiger3"
assert len(ssm.get_parameters_by_path(Path="/app")["Parameters"]) == 1
owned = ssm.describe_parameters(ParameterFilters=[{"Key": "tag:owner", "Values": ["ada"]}])["Parameters"]
assert [it["Name"] for it in owned] == ["/app/db"] and "Value" not in owned[0]
resource = {"ResourceType": "Parameter", "ResourceId": "/app/db"}
ssm.add_tags_to_resource(**resource, Tags=[{"Key": "more", "Value": "x"}])
ssm.remove_tags_from_resource(**resource, TagKeys=["owner"])
assert ssm.list_tags_for_resource(**resource)["TagList"] == [{"Key": "more", "Value": "x"}]
refused("InvalidResourceId", ssm.list_tags_for_resource, ResourceType="Parameter", ResourceId="/none")
assert ssm.delete_parameters(Names=["/app/db", "/none"])["DeletedParameters"] == ["/app/db"]
refused("ParameterNotFound", ssm.delete_parameter, Name="/app/db")
