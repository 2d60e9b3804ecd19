"""Runs deploy/without-sam.sh against moto, twice: the second time must find everything and make nothing.

Each run is by another shell: dash has no arrays, no [[ and little else than POSIX, and bash is what macOS has.

The functions themselves are deployed by a stand-in, this file with the arguments of cargo lambda deploy.
"""

import argparse
import json
import logging
import os
import subprocess
import sys

REGION = "eu-central-1"
NAME = "gemhook-plain"
os.environ.update(
    AWS_DEFAULT_REGION=REGION,
    AWS_REGION=REGION,
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_EC2_METADATA_DISABLED="true",
)

import boto3


def stand_in(arguments):
    """What cargo lambda deploy does to an account: makes the function, or brings its settings up to date."""
    parser = argparse.ArgumentParser()
    for flag in ("--binary-name", "--memory", "--timeout", "--role", "--env-var"):
        parser.add_argument(flag, required=True)
    parser.add_argument("name")
    told = parser.parse_args(arguments)
    functions = boto3.client("lambda")
    settings = {
        "FunctionName": told.name,
        "Role": told.role,
        "MemorySize": int(told.memory),
        "Timeout": int(told.timeout),
        "Environment": {"Variables": dict(pair.split("=", 1) for pair in told.env_var.split(","))},
    }
    try:
        functions.update_function_configuration(**settings)
    except functions.exceptions.ResourceNotFoundException:
        code = {"ZipFile": bytes.fromhex("504b0506" + "00" * 18)}
        functions.create_function(Runtime="provided.al2023", Handler="bootstrap", Code=code, **settings)


def run(shell, endpoint, binding):
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": endpoint,
        "BINDING_KEY_SECRET": binding,
        "DYNAMIC_WEBHOOKS": "true",
        "GEMHOOK_DEPLOY": f"{sys.executable} {os.path.abspath(__file__)}",
    }
    command = [shell, "deploy/without-sam.sh", NAME]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return done.stdout


def state(client):
    """All that the script is to have made, as the services tell it."""
    functions = client("lambda")
    mappings = functions.list_event_source_mappings(FunctionName=f"{NAME}-archiver")["EventSourceMappings"]
    told = {
        "tables": client("dynamodb").list_tables()["TableNames"],
        "buckets": [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]],
        "secrets": [secret["Name"] for secret in client("secretsmanager").list_secrets()["SecretList"]],
        "roles": [role["RoleName"] for role in client("iam").list_roles()["Roles"]],
        "functions": [function["FunctionName"] for function in functions.list_functions()["Functions"]],
        "mappings": [mapping["UUID"] for mapping in mappings],
        "rules": [rule["Name"] for rule in client("events").list_rules()["Rules"]],
        "permissions": {
            name: sorted(s["Sid"] for s in json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"])
            for name in (f"{NAME}-receiver", f"{NAME}-archiver")
        },
    }
    return {kind: found if isinstance(found, dict) else sorted(found) for kind, found in told.items()}


def check_like_template(client):
    """The same permissions, settings and tables as the template gives the functions."""
    from samtranslator.yaml_helper import yaml_parse

    def actions(statements):
        statements = [s["Fn::If"][1] if "Fn::If" in s else s for s in statements]
        lists = [s["Action"] if isinstance(s["Action"], list) else [s["Action"]] for s in statements]
        return sorted(action for some in lists for action in some)

    with open("template.yaml", encoding="utf-8") as file:
        resources = yaml_parse(file.read())["Resources"]
    for function in ("receiver", "archiver"):
        role = resources[f"{function.capitalize()}Role"]["Properties"]["Policies"][0]["PolicyDocument"]
        name = f"{NAME}-{function}"
        made = client("iam").get_role_policy(RoleName=name, PolicyName="gemhook")["PolicyDocument"]
        assert actions(made["Statement"]) == actions(role["Statement"]), made
        told = resources[f"{function.capitalize()}Function"]["Properties"]
        configuration = client("lambda").get_function_configuration(FunctionName=name)
        assert configuration["Timeout"] == told["Timeout"], configuration
        # What has a default in the code may be left out.
        unknown = set(configuration["Environment"]["Variables"]) - set(told["Environment"]["Variables"])
        assert not unknown, unknown
    for table, logical in (("deliveries", "DeliveriesTable"), ("jobs", "JobsTable")):
        made = client("dynamodb").describe_table(TableName=f"{NAME}-{table}")["Table"]
        told = resources[logical]["Properties"]
        assert made["KeySchema"] == told["KeySchema"], made
        indexes = [
            (index["IndexName"], index["KeySchema"], sorted(index["Projection"]["NonKeyAttributes"]))
            for side in (made, told)
            for index in side["GlobalSecondaryIndexes"]
        ]
        assert indexes[0] == indexes[1], indexes


def main():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())

        def client(service):
            return boto3.client(service, endpoint_url=endpoint)

        binding = client("secretsmanager").create_secret(Name="binding-key", SecretString="correct horse battery")["ARN"]
        print(run("dash", endpoint, binding), end="")
        first = state(client)
        counts = {kind: len(found) for kind, found in first.items()}
        wanted = dict(tables=2, buckets=1, secrets=3, roles=2, functions=2, mappings=1, rules=2, permissions=2)
        assert counts == wanted, first
        check_like_template(client)
        secret = f"{NAME}-signing-secret"
        client("secretsmanager").put_secret_value(SecretId=secret, SecretString="whsec_mine")
        again = run("bash", endpoint, binding)
        made = [line for line in again.splitlines() if line.startswith("made")]
        assert not made, made
        assert state(client) == first, "the second run changed something"
        kept = client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
        assert kept == "whsec_mine", "the second run overwrote a secret"
        print("deploy/without-sam.sh: run by dash and by bash, the second run made nothing and kept the secret")
    finally:
        server.stop()


if __name__ == "__main__":
    stand_in(sys.argv[1:]) if sys.argv[1:] else main()
