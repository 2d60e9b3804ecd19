"""Streams an answer into a bucket as most Python functions do it. Prints seconds, processor seconds and peak MiB."""

import resource
import sys
import time

import boto3
import urllib3
from botocore.config import Config

url, endpoint = sys.argv[1:]
begun = time.perf_counter()
keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench", "region_name": "us-east-1"}
s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}), **keys)
answer = urllib3.PoolManager().request("GET", url, preload_content=False)
s3.upload_fileobj(answer, "bench", "streamed")
seconds = time.perf_counter() - begun
usage = resource.getrusage(resource.RUSAGE_SELF)
print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024)
