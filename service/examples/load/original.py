"""The service in Python that this one replaces, as the course has it: FastAPI and boto3.

It is here to be measured beside ours, so that figures of different machines can be compared; it does less (no limits,
no checks of the owner of a post, no metrics).
"""

import os
import uuid

import boto3
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from fastapi import FastAPI, Header
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
table = boto3.resource("dynamodb").Table(os.environ["DYNAMO_TABLE"])
s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
bucket = os.environ["BUCKET"]


class Post(BaseModel):
    title: str
    body: str


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.post("/posts", status_code=201)
async def write(post: Post, authorization: str | None = Header(default=None)):
    item = {"user": f"USER#{authorization}", "id": f"POST#{uuid.uuid4()}", "title": post.title, "body": post.body}
    table.put_item(Item=item)
    return item


@app.get("/posts")
async def list_posts(user: str | None = None):
    found = table.query(KeyConditionExpression=Key("user").eq(f"USER#{user}")) if user else table.scan()
    return [shown(item) for item in found["Items"]]


def shown(item):
    if image := item.get("image"):
        item["image"] = address("get_object", {"Bucket": bucket, "Key": image})
    item["label"] = item.get("labels")
    return item


@app.get("/signedUrlPut")
async def upload(filename: str, filetype: str, postId: str, authorization: str | None = Header(default=None)):
    name = f"{authorization}/{postId}/{uuid.uuid4()}{filename}"
    return {"uploadURL": address("put_object", {"Bucket": bucket, "Key": name, "ContentType": filetype}), "objectName": name}


def address(use, parameters):
    return s3.generate_presigned_url(use, Params=parameters, ExpiresIn=3600)
