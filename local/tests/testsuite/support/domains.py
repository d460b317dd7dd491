"""A story on Route 53 and Certificate Manager: a zone, a validated certificate, its tags, and their end."""

import socket
import struct
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, DNS = sys.argv[1], sys.argv[2]
DOMAIN = "shop.example.com"


def client(service):
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=ENDPOINT,
        aws_access_key_id="LOCALACCESSKEY000000",
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 5}),
    )


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} was expected")


def until(what, check):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"still waiting for {what}")


def ask(name, kind):
    """Asks the DNS server over UDP, and returns the status and the number of answers."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.strip(".").split("."))
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
    host, port = DNS.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(5)
        connection.sendto(query, (host, int(port)))
        answer = connection.recv(4096)
    number, flags, _, count, _, _ = struct.unpack(">HHHHHH", answer[:12])
    assert number == 7 and flags & 0x8000
    return flags & 0xF, count


NS, CNAME = 2, 5
route53, acm = client("route53"), client("acm")

zone = route53.create_hosted_zone(Name=DOMAIN, CallerReference="one", HostedZoneConfig={"Comment": "a shop"})
zone_id = zone["HostedZone"]["Id"].removeprefix("/hostedzone/")
assert zone["ChangeInfo"]["Status"] == "PENDING" and len(zone["DelegationSet"]["NameServers"]) == 4
refused("HostedZoneAlreadyExists", route53.create_hosted_zone, Name=DOMAIN, CallerReference="one")
assert route53.get_hosted_zone(Id=zone_id)["HostedZone"]["Config"] == {"Comment": "a shop", "PrivateZone": False}
assert [one["Name"] for one in route53.list_hosted_zones()["HostedZones"]] == [DOMAIN + "."]
assert route53.list_hosted_zones_by_name(DNSName=DOMAIN)["HostedZones"][0]["Id"] == "/hostedzone/" + zone_id
assert ask(DOMAIN, NS) == (0, 4)

route53.change_tags_for_resource(
    ResourceType="hostedzone", ResourceId=zone_id, AddTags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
)
route53.change_tags_for_resource(ResourceType="hostedzone", ResourceId=zone_id, RemoveTagKeys=["b"])
tags = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=zone_id)["ResourceTagSet"]
assert tags["Tags"] == [{"Key": "a", "Value": "1"}], tags
tags = route53.list_tags_for_resources(ResourceType="hostedzone", ResourceIds=[zone_id])["ResourceTagSets"]
assert tags[0]["Tags"] == [{"Key": "a", "Value": "1"}], tags

request = {
    "DomainName": DOMAIN,
    "SubjectAlternativeNames": ["*." + DOMAIN],
    "ValidationMethod": "DNS",
    "IdempotencyToken": "token",
    "Tags": [{"Key": "stack", "Value": "shop"}],
}
arn = acm.request_certificate(**request)["CertificateArn"]
assert acm.request_certificate(**request)["CertificateArn"] == arn
refused("RequestInProgressException", acm.get_certificate, CertificateArn=arn)


def record():
    options = acm.describe_certificate(CertificateArn=arn)["Certificate"].get("DomainValidationOptions", [])
    return [option["ResourceRecord"] for option in options if "ResourceRecord" in option]


records = until("the validation records", record)
assert len(records) == 2 and records[0] == records[1] and records[0]["Type"] == "CNAME", records


def change(action, name, kind, *values, ttl=60):
    records = {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": value} for value in values]}
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": records}]}
    return route53.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch=batch)["ChangeInfo"]


proof = (records[0]["Name"], "CNAME", records[0]["Value"])
info = change("CREATE", *proof)
assert info["Status"] == "PENDING"
until("the change", lambda: route53.get_change(Id=info["Id"])["ChangeInfo"]["Status"] == "INSYNC")
assert ask(records[0]["Name"], CNAME) == (0, 1)

acm.get_waiter("certificate_validated").wait(CertificateArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
certificate = acm.describe_certificate(CertificateArn=arn)["Certificate"]
assert certificate["Status"] == "ISSUED" and certificate["InUseBy"] == [], certificate
assert certificate["SubjectAlternativeNames"] == [DOMAIN, "*." + DOMAIN]
assert certificate["NotBefore"] < certificate["NotAfter"] and certificate["RenewalEligibility"] == "INELIGIBLE"
assert acm.get_certificate(CertificateArn=arn)["Certificate"].startswith("-----BEGIN CERTIFICATE-----")

other = acm.request_certificate(DomainName="a." + DOMAIN, ValidationMethod="DNS", KeyAlgorithm="EC_prime256v1")
listed = [one["CertificateArn"] for one in acm.list_certificates()["CertificateSummaryList"]]
assert listed == [arn], listed
everything = acm.list_certificates(Includes={"keyTypes": ["RSA_2048", "EC_prime256v1"]})["CertificateSummaryList"]
assert {one["CertificateArn"] for one in everything} == {arn, other["CertificateArn"]}

acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "more", "Value": "1"}])
acm.remove_tags_from_certificate(CertificateArn=arn, Tags=[{"Key": "stack"}])
assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "more", "Value": "1"}]

refused("HostedZoneNotEmpty", route53.delete_hosted_zone, Id=zone_id)
pages = route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone_id, PaginationConfig={"PageSize": 1})
listed = [(one["Name"], one["Type"]) for page in pages for one in page["ResourceRecordSets"]]
assert listed == [(DOMAIN + ".", "NS"), (DOMAIN + ".", "SOA"), (proof[0], "CNAME")], listed
until("the zone", lambda: change("DELETE", *proof))
until("the change", lambda: ask(records[0]["Name"], CNAME)[0] == 3)
route53.delete_hosted_zone(Id=zone_id)
refused("NoSuchHostedZone", route53.get_hosted_zone, Id=zone_id)
for one in (arn, other["CertificateArn"]):
    acm.delete_certificate(CertificateArn=one)
    refused("ResourceNotFoundException", acm.describe_certificate, CertificateArn=one)
print("done")
