"""Drives webhooks and jobs of every kind with Google's SDK, and holds what it gets against what `gemhook` has archived.

    google_sdk_jobs.py GEMHOOK RECORD    writes which calls were made to RECORD
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

from gemhook_dev import check, dev
from google import genai
from google.genai import types
from google_sdk import check_gone, use_webhooks
from sdk_calls import RecordedClient

MAJOR = int(genai.__version__.split(".")[0])


def until(ask, ended):
    for _ in range(600):
        found = ask()
        if ended(found):
            return found
        time.sleep(0.1)
    sys.exit("a job has not ended")


def raw(at, path, body=None):
    headers = {"x-goog-api-key": "any", "content-type": "application/json"}
    request = urllib.request.Request(f"{at['gemini_url']}/v1beta/{path}", data=body, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def batch_ended(client, name):
    open_states = ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")
    return until(lambda: client.batches.get(name=name), lambda job: job.state.name not in open_states)


def interact(client, **asked):
    made = client.interactions.create(background=True, **asked)
    check("status", made.status, "in_progress")
    return until(lambda: client.interactions.get(id=made.id), lambda it: it.status != "in_progress")


def shown(interaction):
    """As plain JSON, because 1.75.0 knows neither the steps nor the errors of an interaction."""
    return interaction.model_dump(mode="json")


def content(interaction):
    return shown(interaction)["steps"][-1]["content"]


def research(client, at):
    done = interact(client, agent="deep-research-preview", input='why, simulate: {"size": 200000}')
    text = content(done)[0]["text"]
    check("research", (done.status, len(text)), ("completed", 200_000))
    check("its output_text", getattr(done, "output_text", text) == text, True)
    name = f"interactions/{done.id}"
    yield name, {f"{name}/text.md": text.encode(), f"{name}/interaction.json": raw(at, name)}


def filmed_interaction(client, at):
    done = interact(
        client,
        model="gemini-omni-flash-preview",
        input='a red balloon, simulate: {"size": 3000000}',
        response_format={"type": "video", "delivery": "uri"},
    )
    video = client.files.download(file=types.Video(uri=content(done)[-1]["uri"]))
    check("video of an interaction", len(video), 3_000_000)
    yield f"interactions/{done.id}", {f"videos/{done.id}/0.mp4": video}


def painted_interaction(client, at):
    done = interact(client, model="gemini-image", input="a balloon", response_format={"type": "image"})
    text, image = content(done)
    check("image", (image["mime_type"], text["text"]), ("image/png", "echo: a balloon"))
    name = f"interactions/{done.id}"
    yield name, {f"{name}/interaction.json": raw(at, name)}


def function_call(client, at):
    tool = {
        "type": "function",
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
    }
    waiting = interact(client, model="gemini-flash", input="Boston", tools=[tool])
    call = shown(waiting)["steps"][-1]
    check("status", waiting.status, "requires_action")
    check("call", (call["name"], call["arguments"]), ("get_weather", {"location": "Boston"}))
    result = {"type": "function_result", "call_id": call["id"], "name": call["name"], "result": {"ok": True}}
    done = interact(client, model="gemini-flash", previous_interaction_id=waiting.id, input=[result])
    text = content(done)[0]["text"]
    check("continued", text, 'echo: {"ok":true}')
    yield f"interactions/{done.id}", {f"interactions/{done.id}/text.md": text.encode()}


def failed_interaction(client, at):
    failed = interact(client, model="gemini-flash", input='simulate: {"fail": "boom"}')
    check("failed", (failed.status, shown(failed)["errors"][0]["message"]), ("failed", "boom"))
    yield f"interactions/{failed.id}", {}
    made = client.interactions.create(model="gemini-flash", input="hi", background=True)
    check("cancelled", client.interactions.cancel(id=made.id).status, "cancelled")
    yield f"interactions/{made.id}", {}
    # Only now, because the archiver must have read it.
    client.interactions.delete(id=failed.id)
    check_gone("interaction", lambda: client.interactions.get(id=failed.id))


def embeddings(client, at):
    line = {"key": "a", "request": {"content": {"parts": [{"text": "one two"}]}, "output_dimensionality": 4}}
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as source:
        pathlib.Path(source.name).write_text(json.dumps(line) + "\n")
        uploaded = client.files.upload(file=source.name, config={"mime_type": "application/jsonl"})
    job = client.batches.create_embeddings(model="gemini-embedding-001", src={"file_name": uploaded.name})
    done = batch_ended(client, job.name)
    lines = client.files.download(file=done.dest.file_name)
    check("embedding", len(json.loads(lines)["response"]["embedding"]["values"]), 4)
    yield job.name, {f"{job.name}/responses.jsonl": lines}

    check("uploaded", client.files.get(name=uploaded.name).mime_type, "application/jsonl")
    listed = [file.name for file in client.files.list(config={"page_size": 1})]
    check("files listed", (uploaded.name in listed, done.dest.file_name in listed), (True, True))
    client.files.delete(name=uploaded.name)
    check_gone("file", lambda: client.files.get(name=uploaded.name))

    inlined = {"contents": ["one two", "three"], "config": {"output_dimensionality": 4}}
    job = client.batches.create_embeddings(model="gemini-embedding-001", src={"inlined_requests": inlined})
    done = batch_ended(client, job.name)
    values = [item.response.embedding.values for item in done.dest.inlined_embed_content_responses]
    check("inline embeddings", [len(one) for one in values], [4, 4])
    yield job.name, {}


def ended_batches(client, at):
    source = [types.InlinedRequest(contents="one")]
    job = client.batches.create(model="gemini-flash", src=source)
    client.batches.cancel(name=job.name)
    check("cancelled", batch_ended(client, job.name).state.name, "JOB_STATE_CANCELLED")
    yield job.name, {}
    wish = {"display_name": 'simulate: {"state": "expired"}'}
    job = client.batches.create(model="gemini-flash", src=source, config=wish)
    check("expired", batch_ended(client, job.name).state.name, "JOB_STATE_EXPIRED")
    yield job.name, {}


def generate_videos(client, at, prompt, samples):
    """The newest SDK makes videos only on Google Cloud, but still reads the operation of one that others have made."""
    model = "veo-3.1-generate-preview"
    if MAJOR < 3:
        return client.models.generate_videos(model=model, prompt=prompt, config={"number_of_videos": samples})
    asked = {"instances": [{"prompt": prompt}], "parameters": {"sampleCount": samples}}
    made = json.loads(raw(at, f"models/{model}:predictLongRunning", json.dumps(asked).encode()))
    return types.GenerateVideosOperation(name=made["name"])


def videos(client, at):
    operation = generate_videos(client, at, 'a cat, simulate: {"size": 500000}', 2)
    done = until(lambda: client.operations.get(operation), lambda operation: operation.done)
    samples = [client.files.download(file=made.video) for made in done.response.generated_videos]
    check("videos", [len(sample) for sample in samples], [500_000, 500_000])
    place = "videos/" + operation.name.rsplit("/", 1)[-1]
    yield operation.name, {f"{place}/{number}.mp4": sample for number, sample in enumerate(samples)}

    filtered = generate_videos(client, at, 'simulate: {"filtered": true}', 1)
    done = until(lambda: client.operations.get(filtered), lambda operation: operation.done)
    check("filtered", done.response.rai_media_filtered_count, 1)
    yield filtered.name, {}


KINDS = [
    research,
    filmed_interaction,
    painted_interaction,
    function_call,
    failed_interaction,
    embeddings,
    ended_batches,
    videos,
]


def use_jobs(client, gemhook, at):
    local = f"--local={at['data_dir']}"
    for kind in KINDS:
        for name, outputs in kind(client, at):
            # Nothing but the event that was delivered has told this machine of the job.
            subprocess.run([gemhook, "jobs", "wait", name, "--timeout", "60s", local], check=True)
            if not outputs:
                continue
            with tempfile.TemporaryDirectory() as to:
                subprocess.run([gemhook, "jobs", "fetch", name, "--to", to, local], check=True)
                for key, expected in outputs.items():
                    if pathlib.Path(to, key).read_bytes() != expected:
                        sys.exit(f"{key} is not what the SDK got")


def main(gemhook, record):
    with dev(gemhook, "--finish-after", "0.5") as at:
        client = RecordedClient(genai.Client(api_key="any", http_options={"base_url": at["gemini_url"]}))
        use_webhooks(client)
        use_jobs(client, gemhook, at)
    pathlib.Path(record).write_text(json.dumps(client.record(f"Python {genai.__version__}")))


if __name__ == "__main__":
    main(*sys.argv[1:])
