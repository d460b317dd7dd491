"""Creates, reads back, uses and deletes the whole Postagram stack with boto3 on the AWS at the given endpoint.

Everything is written as for the real AWS, except that the waits are short enough for a laptop.
"""

import base64
import hashlib
import io
import json
import re
import sys
import time
import urllib.error
import urllib.request
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, REGION, NAME = sys.argv[1], "us-east-1", "postagram"
SESSION = boto3.Session("LOCALACCESSKEY000000", "local", region_name=REGION)
TAGS = {"deployer:stack": NAME, "author": "Zoé"}

SERVICE = """#!/usr/bin/env python3
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = os.environ.get("TABLE", "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ["PORT"]))
print("service listens on", address, flush=True)
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""

FUNCTION = """#!/usr/bin/env python3
import json, os, urllib.request

api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as job:
        number, event = job.headers["Lambda-Runtime-Aws-Request-Id"], json.load(job)
    keys = [record["s3"]["object"]["key"] for record in event.get("Records", [])]
    print("labelled", keys, flush=True)
    answer = json.dumps({"keys": keys}).encode()
    urllib.request.urlopen(urllib.request.Request(api + number + "/response", data=answer, method="POST"))
"""

USER_DATA = """#cloud-config
write_files:
- path: /etc/web.env
  permissions: '0600'
  content: |
    TABLE="{table}"
    PORT="8080"
- path: /etc/systemd/system/web.service
  permissions: '0644'
  content: |
    [Service]
    EnvironmentFile=/etc/web.env
    ExecStartPre=+/usr/bin/aws s3 cp --only-show-errors --region us-east-1 s3://{bucket}/service /opt/web/service
    ExecStartPre=+/usr/bin/chmod 0755 /opt/web/service
    ExecStart=/opt/web/service
    StandardOutput=journal+console
    StandardError=journal+console
    Restart=always
    [Install]
    WantedBy=multi-user.target
runcmd:
- [mkdir, -p, /opt/web]
- [systemctl, daemon-reload]
- [systemctl, enable, --now, web.service]
"""


def client(service):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2})
    return SESSION.client(service, endpoint_url=ENDPOINT, config=config)


S3, DYNAMODB, IAM, LAMBDA, LOGS, EC2, ELB, SCALING, STS, CLOUDWATCH = map(
    client, ["s3", "dynamodb", "iam", "lambda", "logs", "ec2", "elbv2", "autoscaling", "sts", "cloudwatch"]
)


def listed(key="Key", value="Value"):
    return [{key: name, value: text} for name, text in TAGS.items()]


def same(found, wanted, what):
    """Asserts that `found` contains everything in `wanted`; AWS may return more."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in found, f"{what}: {key} is missing in {found}"
            same(found[key], value, f"{what}.{key}")
    else:
        assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def eventually(what, is_so):
    for _ in range(600):
        found = is_so()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as fault:
        assert fault.response["Error"]["Code"] == code, fault
    else:
        raise AssertionError(f"{call.__name__} was not refused with {code}")


def not_implemented(call, **arguments):
    """Asserts that an unsupported call is refused by name."""
    try:
        call(**arguments)
    except ClientError as fault:
        assert fault.response["ResponseMetadata"]["HTTPStatusCode"] == 501, fault
        assert "the local AWS" in fault.response["Error"]["Message"], fault
    else:
        raise AssertionError(f"{call.__name__} takes what it does not do")


def zipped(program):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, program)
    return packed.getvalue()


def trust(service):
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def everything(resource):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": resource}]}


class Stack:
    def __init__(self):
        self.account = STS.get_caller_identity()["Account"]
        self.images = f"{NAME}-images-{self.account}-{REGION}"
        self.artifacts = f"{NAME}-artifacts-{self.account}-{REGION}"
        self.table = f"{NAME}-posts"

    def buckets(self):
        for name in [self.images, self.artifacts]:
            S3.create_bucket(Bucket=name)
            S3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": listed()})
            tags = S3.get_bucket_tagging(Bucket=name)["TagSet"]
            assert {tag["Key"]: tag["Value"] for tag in tags} == TAGS, tags
        rule = {"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"], "MaxAgeSeconds": 60}
        S3.put_bucket_cors(Bucket=self.images, CORSConfiguration={"CORSRules": [rule]})
        same(S3.get_bucket_cors(Bucket=self.images)["CORSRules"][0], rule, "cors")
        block = dict.fromkeys(
            ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], True
        )
        same(S3.get_public_access_block(Bucket=self.images)["PublicAccessBlockConfiguration"], block, "access")
        S3.put_object(Bucket=self.artifacts, Key="service", Body=SERVICE.encode())
        refused("PreconditionFailed", S3.put_object, Bucket=self.artifacts, Key="service", Body=b"", IfNoneMatch="*")
        assert S3.get_object(Bucket=self.artifacts, Key="service")["Body"].read() == SERVICE.encode()

    def posts(self):
        schema = [("user", "HASH"), ("id", "RANGE")]
        keys = [{"AttributeName": name, "KeyType": kind} for name, kind in schema]
        DYNAMODB.create_table(
            TableName=self.table,
            KeySchema=keys,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in schema],
            BillingMode="PAY_PER_REQUEST",
            Tags=listed(),
        )
        DYNAMODB.get_waiter("table_exists").wait(TableName=self.table, WaiterConfig={"Delay": 1})
        table = DYNAMODB.describe_table(TableName=self.table)["Table"]
        same(table, {"KeySchema": keys, "TableStatus": "ACTIVE", "ItemCount": 0}, "table")
        recovery = {"PointInTimeRecoveryEnabled": True}
        enable_backups(self.table, recovery)
        backups = DYNAMODB.describe_continuous_backups(TableName=self.table)["ContinuousBackupsDescription"]
        same(backups["PointInTimeRecoveryDescription"], {"PointInTimeRecoveryStatus": "ENABLED"}, "recovery")
        item = {"user": {"S": "USER#ada"}, "id": {"S": "POST#1"}, "likes": {"N": "2"}, "labels": {"SS": ["a", "b"]}}
        DYNAMODB.put_item(TableName=self.table, Item=item)
        key = {name: item[name] for name, _ in schema}
        assert DYNAMODB.get_item(TableName=self.table, Key=key)["Item"] == item

    def roles(self):
        self.role = {}
        for name, service in [("labeler", "lambda.amazonaws.com"), ("web", "ec2.amazonaws.com")]:
            full = f"{NAME}-{name}"
            path = f"/deployer/{NAME}/"
            made = IAM.create_role(RoleName=full, Path=path, AssumeRolePolicyDocument=trust(service), Tags=listed())
            self.role[name] = made["Role"]["Arn"]
            IAM.put_role_policy(RoleName=full, PolicyName="uses", PolicyDocument=json.dumps(everything("*")))
            read = IAM.get_role(RoleName=full)["Role"]
            same(read, {"Arn": self.role[name], "Path": path, "AssumeRolePolicyDocument": json.loads(trust(service))}, full)
            same(IAM.get_role_policy(RoleName=full, PolicyName="uses")["PolicyDocument"], everything("*"), "policy")
        IAM.create_instance_profile(InstanceProfileName=f"{NAME}-web", Path=f"/deployer/{NAME}/")
        IAM.add_role_to_instance_profile(InstanceProfileName=f"{NAME}-web", RoleName=f"{NAME}-web")
        profile = IAM.get_instance_profile(InstanceProfileName=f"{NAME}-web")["InstanceProfile"]
        same(profile["Roles"][0], {"RoleName": f"{NAME}-web"}, "profile")
        policy = IAM.create_policy(PolicyName=f"{NAME}-more", PolicyDocument=json.dumps(everything("*")))["Policy"]
        listed_now = IAM.list_policies(Scope="Local")["Policies"]
        assert [one["PolicyId"] for one in listed_now] == [policy["PolicyId"]], listed_now
        for kind, found in [
            ("AROA", profile["Roles"][0]["RoleId"]), ("AIPA", profile["InstanceProfileId"]), ("ANPA", policy["PolicyId"])
        ]:
            assert re.fullmatch(f"{kind}[A-Z0-9]{{17}}", found), found
        IAM.delete_policy(PolicyArn=policy["Arn"])
        not_implemented(IAM.update_role, RoleName=f"{NAME}-web", MaxSigninSessionDuration=3600)

    def labeler(self):
        group = f"/aws/lambda/{NAME}-labeler"
        LOGS.create_log_group(logGroupName=group, tags=TAGS)
        LOGS.put_retention_policy(logGroupName=group, retentionInDays=14)
        same(LOGS.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0], {"retentionInDays": 14}, "logs")
        settings = {
            "FunctionName": f"{NAME}-labeler", "Runtime": "provided.al2023", "Handler": "bootstrap",
            "Role": self.role["labeler"], "Timeout": 30, "MemorySize": 256, "Architectures": ["x86_64"],
            "Environment": {"Variables": {"TABLE": self.table}},
        }
        made = LAMBDA.create_function(**settings, Code={"ZipFile": zipped(FUNCTION)}, Tags=TAGS)
        LAMBDA.get_waiter("function_active_v2").wait(FunctionName=settings["FunctionName"], WaiterConfig={"Delay": 1})
        read = LAMBDA.get_function(FunctionName=settings["FunctionName"])
        same(read["Configuration"], settings, "function")
        same(read, {"Tags": TAGS}, "function")
        LAMBDA.add_permission(
            FunctionName=settings["FunctionName"], StatementId="images", Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com", SourceArn=f"arn:aws:s3:::{self.images}", SourceAccount=self.account,
        )
        notification = {"LambdaFunctionArn": made["FunctionArn"], "Events": ["s3:ObjectCreated:*"]}
        wanted = {"LambdaFunctionConfigurations": [notification]}
        S3.put_bucket_notification_configuration(Bucket=self.images, NotificationConfiguration=wanted)
        read = S3.get_bucket_notification_configuration(Bucket=self.images)
        same(read["LambdaFunctionConfigurations"][0], notification, "notification")
        answer = LAMBDA.invoke(FunctionName=settings["FunctionName"], Payload=b"{}")
        assert json.load(answer["Payload"]) == {"keys": []} and "FunctionError" not in answer, answer
        # A changed notification takes a moment to be in force.
        time.sleep(1)
        S3.put_object(Bucket=self.images, Key="ada/é 1.jpg", Body=b"picture")
        eventually(
            "the upload is labelled",
            lambda: LOGS.filter_log_events(logGroupName=group, filterPattern="%C3%A9+1.jpg")["events"],
        )

    def network(self):
        vpc = EC2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        subnets = EC2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
        self.vpc, self.subnets = vpc, [subnet["SubnetId"] for subnet in subnets]
        self.firewalls = {}
        for name in ["balancer", "web"]:
            specification = [{"ResourceType": "security-group", "Tags": listed()}]
            made = EC2.create_security_group(
                GroupName=f"{NAME}-{name}", Description=name, VpcId=vpc, TagSpecifications=specification
            )
            self.firewalls[name] = made["GroupId"]
        self.allow("balancer", 80, {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]})
        self.allow("web", 8080, {"UserIdGroupPairs": [{"GroupId": self.firewalls["balancer"]}]})
        again = {"GroupId": self.firewalls["balancer"], "IpPermissions": [self.rule]}
        read = EC2.describe_security_groups(GroupIds=[self.firewalls["web"]])["SecurityGroups"][0]
        same(read["IpPermissions"][0], {"FromPort": 8080, "ToPort": 8080, "IpProtocol": "tcp"}, "firewall")
        same(read["IpPermissions"][0]["UserIdGroupPairs"][0], {"GroupId": self.firewalls["balancer"]}, "firewall")
        again["IpPermissions"][0] = {**self.rule, "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        again["IpPermissions"][0].pop("UserIdGroupPairs")
        refused("InvalidPermission.Duplicate", EC2.authorize_security_group_ingress, **again)

    def allow(self, name, port, sources):
        self.rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **sources}
        EC2.authorize_security_group_ingress(GroupId=self.firewalls[name], IpPermissions=[self.rule])

    def service(self):
        parameter = "/aws/service/ami-amazon-linux-latest"
        image = EC2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-2023*x86_64"]}])
        assert image["Images"], parameter
        data = {
            "ImageId": image["Images"][0]["ImageId"], "InstanceType": "t3.micro",
            "IamInstanceProfile": {"Name": f"{NAME}-web"}, "SecurityGroupIds": [self.firewalls["web"]],
            "UserData": base64.b64encode(USER_DATA.format(table=self.table, bucket=self.artifacts).encode()).decode(),
        }
        template = EC2.create_launch_template(LaunchTemplateName=f"{NAME}-web", LaunchTemplateData=data)
        template = template["LaunchTemplate"]["LaunchTemplateId"]
        read = EC2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"][0]
        same(read, {"VersionNumber": 1, "DefaultVersion": True, "LaunchTemplateData": data}, "template")
        check = {"HealthCheckPath": "/", "HealthCheckIntervalSeconds": 5, "HealthyThresholdCount": 2}
        check["HealthCheckTimeoutSeconds"] = 2
        made = ELB.create_target_group(
            Name=f"{NAME}-web", Protocol="HTTP", Port=8080, VpcId=self.vpc, TargetType="instance", Tags=listed(), **check
        )["TargetGroups"][0]
        self.targets = made["TargetGroupArn"]
        same(ELB.describe_target_groups(TargetGroupArns=[self.targets])["TargetGroups"][0], check, "target group")
        balancer = ELB.create_load_balancer(
            Name=f"{NAME}-web", Subnets=self.subnets, SecurityGroups=[self.firewalls["balancer"]], Tags=listed()
        )["LoadBalancers"][0]
        self.balancer = balancer["LoadBalancerArn"]
        forward = [{"Type": "forward", "TargetGroupArn": self.targets}]
        ELB.create_listener(LoadBalancerArn=self.balancer, Protocol="HTTP", Port=80, DefaultActions=forward)
        eventually("the load balancer is active", lambda: self.described()["State"]["Code"] == "active")
        listener = ELB.describe_listeners(LoadBalancerArn=self.balancer)["Listeners"][0]
        same(listener["DefaultActions"][0], forward[0], "listener")
        group = {"MinSize": 1, "MaxSize": 4, "HealthCheckType": "ELB", "HealthCheckGracePeriod": 60}
        SCALING.create_auto_scaling_group(
            AutoScalingGroupName=f"{NAME}-web", TargetGroupARNs=[self.targets], **group,
            LaunchTemplate={"LaunchTemplateId": template, "Version": "1"}, VPCZoneIdentifier=",".join(self.subnets),
            Tags=[{**tag, "PropagateAtLaunch": True} for tag in listed()],
        )
        read = SCALING.describe_auto_scaling_groups(AutoScalingGroupNames=[f"{NAME}-web"])["AutoScalingGroups"][0]
        same(read, {**group, "DesiredCapacity": 1, "TargetGroupARNs": [self.targets]}, "group")
        tracking = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 60.0}
        SCALING.put_scaling_policy(
            AutoScalingGroupName=f"{NAME}-web", PolicyName="cpu", PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration=tracking,
        )
        policy = SCALING.describe_policies(AutoScalingGroupName=f"{NAME}-web")["ScalingPolicies"][0]
        same(policy["TargetTrackingConfiguration"], tracking, "policy")

    def described(self):
        return ELB.describe_load_balancers(LoadBalancerArns=[self.balancer])["LoadBalancers"][0]

    def use(self):
        def healthy():
            found = ELB.describe_target_health(TargetGroupArn=self.targets)["TargetHealthDescriptions"]
            return [one for one in found if one["TargetHealth"]["State"] == "healthy"]

        target = eventually("a target is healthy", healthy)[0]["Target"]["Id"]
        with urllib.request.urlopen(f"http://{self.described()['DNSName']}/") as answer:
            assert answer.read().decode() == self.table
        instance = EC2.describe_instances(InstanceIds=[target])["Reservations"][0]["Instances"][0]
        assert instance["State"]["Name"] == "running", instance
        assert {"Key": "author", "Value": "Zoé"} in instance["Tags"], instance["Tags"]
        assert "service listens on" in EC2.get_console_output(InstanceId=target, Latest=True)["Output"]
        activity = SCALING.describe_scaling_activities(AutoScalingGroupName=f"{NAME}-web")["Activities"][-1]
        same(activity, {"StatusCode": "Successful"}, "activity")

    def asked(self):
        """Makes other calls that ordinary clients make."""
        group = SCALING.describe_auto_scaling_groups(AutoScalingGroupNames=[f"{NAME}-web"])["AutoScalingGroups"][0]
        same(group, {
            "TrafficSources": [{"Identifier": self.targets, "Type": "elbv2"}],
            "AvailabilityZoneDistribution": {"CapacityDistributionStrategy": "balanced-best-effort"},
            "CapacityReservationSpecification": {"CapacityReservationPreference": "default"},
        }, "group")
        sources = SCALING.describe_traffic_sources(AutoScalingGroupName=f"{NAME}-web")["TrafficSources"]
        same(sources[0], {"Identifier": self.targets, "State": "InService"}, "sources")
        assert SCALING.describe_lifecycle_hooks(AutoScalingGroupName=f"{NAME}-web")["LifecycleHooks"] == []
        assert SCALING.describe_account_limits()["NumberOfAutoScalingGroups"] == 1
        assert not SCALING.describe_notification_configurations()["NotificationConfigurations"]

        one = group["Instances"][0]["InstanceId"]
        instance = EC2.describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]
        profile = IAM.get_instance_profile(InstanceProfileName=f"{NAME}-web")["InstanceProfile"]
        assert instance["IamInstanceProfile"] == {"Arn": profile["Arn"], "Id": profile["InstanceProfileId"]}, instance
        attached = [{"Name": "attachment.instance-id", "Values": [one]}]
        volume = EC2.describe_volumes(Filters=attached)["Volumes"][0]
        assert instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] == volume["VolumeId"], volume
        interface = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
        found = EC2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
        assert found["Attachment"]["InstanceId"] == one, found
        data = EC2.describe_instance_attribute(InstanceId=one, Attribute="userData")["UserData"]["Value"]
        assert base64.b64decode(data).decode().startswith("#cloud-config")
        assert REGION in [region["RegionName"] for region in EC2.describe_regions()["Regions"]]

        listener = ELB.describe_listeners(LoadBalancerArn=self.balancer)["Listeners"][0]
        rule = ELB.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"][0]
        same(rule, {"IsDefault": True, "Priority": "default", "Actions": listener["DefaultActions"]}, "rule")
        assert ELB.describe_rules(RuleArns=[rule["RuleArn"]])["Rules"] == [rule]
        assert {"Name": "target-groups", "Max": "3000"} in ELB.describe_account_limits()["Limits"]
        assert ELB.describe_ssl_policies(Names=["ELBSecurityPolicy-2016-08"])["SslPolicies"][0]["Ciphers"]

        policy = SCALING.describe_policies(AutoScalingGroupName=f"{NAME}-web")["ScalingPolicies"][0]
        alarms = CLOUDWATCH.describe_alarms(AlarmNamePrefix=f"TargetTracking-{NAME}-web")["MetricAlarms"]
        assert [alarm["AlarmArn"] for alarm in alarms] == [alarm["AlarmARN"] for alarm in policy["Alarms"]], alarms
        same(alarms[0], {"Threshold": 60.0, "AlarmActions": [policy["PolicyARN"]], "EvaluationPeriods": 3}, "alarm")
        assert alarms[0]["StateUpdatedTimestamp"].year >= 2024, alarms[0]
        not_implemented(CLOUDWATCH.put_metric_alarm, AlarmName="mine", ComparisonOperator="GreaterThanThreshold",
                        EvaluationPeriods=1, MetricName="CPUUtilization", Namespace="AWS/EC2", Period=60, Threshold=1)

        function = LAMBDA.get_function(FunctionName=f"{NAME}-labeler")
        with urllib.request.urlopen(function["Code"]["Location"]) as answer:
            digest = base64.b64encode(hashlib.sha256(answer.read()).digest()).decode()
        assert digest == function["Configuration"]["CodeSha256"], function
        try:
            urllib.request.urlopen(function["Code"]["Location"][:-1] + "x")
            raise AssertionError("the code is open to everybody")
        except urllib.error.HTTPError as fault:
            assert fault.code == 403, fault
        first = LAMBDA.publish_version(FunctionName=f"{NAME}-labeler")
        assert first["Version"] == "1" and first["FunctionArn"].endswith(":1"), first
        assert LAMBDA.publish_version(FunctionName=f"{NAME}-labeler")["Version"] == "1", "nothing has changed"
        versions = LAMBDA.list_versions_by_function(FunctionName=f"{NAME}-labeler")["Versions"]
        assert [one["Version"] for one in versions] == ["$LATEST", "1"], versions
        found = LAMBDA.get_function(FunctionName=f"{NAME}-labeler", Qualifier="1")["Configuration"]
        assert found["CodeSha256"] == function["Configuration"]["CodeSha256"], found
        not_implemented(LAMBDA.invoke, FunctionName=f"{NAME}-labeler", Qualifier="1")
        SCALING.disable_metrics_collection(AutoScalingGroupName=f"{NAME}-web")
        assert LAMBDA.list_event_source_mappings()["EventSourceMappings"] == []
        assert LAMBDA.list_aliases(FunctionName=f"{NAME}-labeler")["Aliases"] == []
        not_implemented(LAMBDA.update_function_configuration, FunctionName=f"{NAME}-labeler", Layers=["arn"])
        change = {"FunctionName": f"{NAME}-labeler", "KMSKeyArn": "arn:aws:kms:::key"}
        refused("InvalidParameterValueException", LAMBDA.update_function_configuration, **change)
        refused("ResourceNotFoundException", LAMBDA.get_function, FunctionName=f"{NAME}-labeler", Qualifier="7")

        logs = f"/aws/lambda/{NAME}-labeler"
        assert LOGS.list_tags_log_group(logGroupName=logs)["tags"] == TAGS
        assert LOGS.describe_metric_filters(logGroupName=logs)["metricFilters"] == []
        refused("InvalidParameterException", LOGS.create_log_group, logGroupName="other", kmsKeyId="arn")
        not_implemented(LOGS.filter_log_events, logGroupName=logs, filterPattern="{ $.level = 1 }")
        role = {"RoleArn": self.role["web"], "RoleSessionName": "me"}
        not_implemented(STS.assume_role, **role, SourceIdentity="ada")
        not_implemented(STS.assume_role, **role, Policy=json.dumps(everything("*")))

    def delete(self):
        SCALING.delete_auto_scaling_group(AutoScalingGroupName=f"{NAME}-web", ForceDelete=True)
        eventually("the group is gone", lambda: not SCALING.describe_auto_scaling_groups()["AutoScalingGroups"])
        ELB.delete_load_balancer(LoadBalancerArn=self.balancer)
        ELB.delete_target_group(TargetGroupArn=self.targets)
        EC2.delete_launch_template(LaunchTemplateName=f"{NAME}-web")
        for name in ["web", "balancer"]:
            eventually(f"the firewall {name} can go", lambda: self.gone(self.firewalls[name]))
        S3.put_bucket_notification_configuration(Bucket=self.images, NotificationConfiguration={})
        LAMBDA.delete_function(FunctionName=f"{NAME}-labeler")
        LOGS.delete_log_group(logGroupName=f"/aws/lambda/{NAME}-labeler")
        IAM.remove_role_from_instance_profile(InstanceProfileName=f"{NAME}-web", RoleName=f"{NAME}-web")
        IAM.delete_instance_profile(InstanceProfileName=f"{NAME}-web")
        for name in ["labeler", "web"]:
            refused("DeleteConflict", IAM.delete_role, RoleName=f"{NAME}-{name}")
            IAM.delete_role_policy(RoleName=f"{NAME}-{name}", PolicyName="uses")
            IAM.delete_role(RoleName=f"{NAME}-{name}")
        DYNAMODB.delete_table(TableName=self.table)
        for name in [self.images, self.artifacts]:
            refused("BucketNotEmpty", S3.delete_bucket, Bucket=name)
            for one in S3.list_objects_v2(Bucket=name)["Contents"]:
                S3.delete_object(Bucket=name, Key=one["Key"])
            S3.delete_bucket(Bucket=name)

    def gone(self, firewall):
        try:
            EC2.delete_security_group(GroupId=firewall)
        except ClientError as fault:
            if fault.response["Error"]["Code"] == "DependencyViolation":
                return False
            raise
        return True

    def nothing_is_left(self):
        assert not S3.list_buckets()["Buckets"]
        eventually("the table is gone", lambda: not DYNAMODB.list_tables()["TableNames"])
        assert not IAM.list_roles(PathPrefix=f"/deployer/{NAME}/")["Roles"]
        assert not IAM.list_instance_profiles()["InstanceProfiles"]
        assert not LAMBDA.list_functions()["Functions"]
        assert not LOGS.describe_log_groups()["logGroups"]
        assert not ELB.describe_load_balancers()["LoadBalancers"]
        assert not ELB.describe_target_groups()["TargetGroups"]
        assert not EC2.describe_launch_templates()["LaunchTemplates"]
        groups = EC2.describe_security_groups()["SecurityGroups"]
        assert [group["GroupName"] for group in groups] == ["default"], groups
        running = EC2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}])
        assert not running["Reservations"], running
        refused("ResourceNotFoundException", DYNAMODB.describe_table, TableName=self.table)
        refused("NoSuchEntity", IAM.get_role, RoleName=f"{NAME}-web")
        refused("LoadBalancerNotFound", ELB.describe_load_balancers, LoadBalancerArns=[self.balancer])


def enable_backups(table, recovery):
    """Retries, because a new table always refuses this call at first (docs/aws.md §2.3)."""
    for _ in range(50):
        try:
            return DYNAMODB.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=recovery)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ContinuousBackupsUnavailableException":
                raise
            time.sleep(0.02)
    raise AssertionError("backups of a new table were never enabled")


def main():
    stack = Stack()
    steps = [stack.buckets, stack.posts, stack.roles, stack.labeler, stack.network, stack.service, stack.use, stack.asked]
    for step in [*steps, stack.delete, stack.nothing_is_left]:
        begun = time.monotonic()
        step()
        print(f"{step.__name__} {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
