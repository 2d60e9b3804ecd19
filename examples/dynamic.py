"""Creates jobs with a webhook of their own and a binding token that shows that they are ours.

Usage: WEBHOOK_URL=... BINDING_KEY=... GEMINI_API_KEY=... python dynamic.py batch|interaction
"""

import base64
import hmac
import os
import secrets
import sys

from google import genai
from google.genai import types


def token(key):
    """What `gemhook token` mints: a nonce and its HMAC."""
    nonce = secrets.token_hex(16)
    mac = hmac.digest(key.encode(), f"gemhook binding v1:{nonce}".encode(), "sha256")
    return f"{nonce}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def webhook_config(**metadata):
    metadata["gemhook_token"] = token(os.environ["BINDING_KEY"])
    return {"uris": [os.environ["WEBHOOK_URL"]], "user_metadata": metadata}


def batch(client):
    job = client.batches.create(
        model="gemini-flash-latest",
        src=[types.InlinedRequest(contents="Which fruit is ripe in May?")],
        config={"webhook_config": webhook_config(group="nightly")},
    )
    return job.name


def interaction(client):
    job = client.interactions.create(
        model="gemini-flash-latest",
        input="Which fruit is ripe in May?",
        background=True,
        webhook_config=webhook_config(group="research"),
    )
    return job.id


if __name__ == "__main__":
    create = {"batch": batch, "interaction": interaction}[sys.argv[1]]
    print(create(genai.Client()))
