"""Posts one event to `gemhook dev`, three times, and looks at what came of it."""

import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
from standardwebhooks import Webhook


def call(url, body=None, headers=None):
    request = urllib.request.Request(url, data=body, headers={"x-goog-api-key": "any", **(headers or {})})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read()


def create_batch(gemini_url):
    requests = [{"request": {"contents": [{"parts": [{"text": f"question {n}"}]}]}} for n in range(10)]
    batch = {
        "displayName": "official",
        "inputConfig": {"requests": {"requests": requests}},
        # Nobody listens there, so that only our own deliveries arrive.
        "webhookConfig": {"uris": ["http://127.0.0.1:9/"]},
    }
    url = f"{gemini_url}/v1beta/models/any:batchGenerateContent"
    name = json.loads(call(url, json.dumps({"batch": batch}).encode())[1])["name"]
    while not json.loads(call(f"{gemini_url}/v1beta/{name}")[1]).get("done"):
        time.sleep(0.1)
    return name


def check(what, found, expected):
    print(f"{what}: {found}")
    if found != expected:
        sys.exit(f"{what}: expected {expected}")


def main(gemhook, folder):
    command = [gemhook, "dev", "--json", "--port", "0", "--finish-after", "0.1", "--data", folder]
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        at = json.loads(dev.stdout.readline())
        job = create_batch(at["gemini_url"])
        body = json.dumps({"type": "batch.succeeded", "data": {"id": job}})
        signed = Webhook(at["webhook_secret"])
        for _ in range(3):
            now = datetime.datetime.now(tz=datetime.timezone.utc)
            headers = {
                "webhook-id": "msg_official",
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": signed.sign("msg_official", now, body),
                "content-type": "application/json",
            }
            check("answer", call(at["webhook_url"], body.encode(), headers)[0], 200)
        for line in dev.stdout:
            if json.loads(line).get("state") in ("done", "failed"):
                break

        aws = boto3.Session(at["aws_access_key_id"], at["aws_secret_access_key"], region_name=at["aws_region"])
        dynamodb = aws.client("dynamodb", endpoint_url=at["dynamodb_url"])
        rows = dynamodb.scan(TableName=at["deliveries_table"], ConsistentRead=True)["Items"]
        check("rows", len(rows), 1)
        check("ended", (rows[0]["state"]["S"], rows[0]["outcome"]["S"]), ("done", "archived"))
        jobs = dynamodb.get_item(TableName=at["jobs_table"], Key={"job_id": {"S": job}}, ConsistentRead=True)
        output = jobs["Item"]["outputs"]["L"][0]["M"]

        s3 = aws.client("s3", endpoint_url=at["s3_url"])
        objects = s3.list_objects_v2(Bucket=at["bucket"])["Contents"]
        check("objects", len(objects), 1)
        content = s3.get_object(Bucket=at["bucket"], Key=output["key"]["S"])["Body"].read()
        check("lines", content.count(b"\n"), 10)
        check("sha256", hashlib.sha256(content).hexdigest(), output["sha256"]["S"])
    finally:
        dev.terminate()
        check("exit status", dev.wait(timeout=30), 0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1], folder)
