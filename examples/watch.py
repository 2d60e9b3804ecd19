"""Has gemhook follow a job whose end may come without an event, such as a video or an interaction.

Usage: JOBS_TABLE=... python watch.py models/veo-3/operations/abc
"""

import os
import sys
import time

import boto3


def watch(job, days=7):
    """One conditional update. A put would erase the end of a job that has ended already."""
    until = int((time.time() + days * 86400) * 1000)
    jobs = boto3.resource("dynamodb").Table(os.environ["JOBS_TABLE"])
    try:
        jobs.update_item(
            Key={"job_id": job},
            UpdateExpression="SET watch_until = :until",
            ConditionExpression="attribute_not_exists(ended_by)",
            ExpressionAttributeValues={":until": until},
        )
    except jobs.meta.client.exceptions.ConditionalCheckFailedException:
        return False
    return True


if __name__ == "__main__":
    print("followed" if watch(sys.argv[1]) else "has ended already")
