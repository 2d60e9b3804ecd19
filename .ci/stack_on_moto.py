"""Brings template.yaml up on moto's CloudFormation, twice in one account, registers both at the API of `gemhook dev` as the
README says, and sends a signed event through the receiver.

The template is transformed by the SAM translator, as CloudFormation does it. moto would run a mapped function in Docker
on every put; here what the stream hands over is only kept. Usage: stack_on_moto.py RECEIVER_BINARY GEMHOOK_BINARY, with
the AWS CLI on PATH.
"""

import io
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager

REGION = "eu-central-1"
os.environ.update(
    AWS_DEFAULT_REGION=REGION,
    AWS_REGION=REGION,
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_EC2_METADATA_DISABLED="true",
)

import moto_models
from fake_runtime import FakeRuntime, url_event
from moto.awslambda.models import LambdaBackend
from moto.server import ThreadedMotoServer
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CODE = "code-of-the-stacks"
HANDED_OVER = []


def hand_over(_backend, function_arn, items, _source):
    """Instead of the function in Docker. A true answer means that the records were taken."""
    HANDED_OVER.extend((function_arn, item.to_json()["dynamodb"]["NewImage"]) for item in items)
    return "taken"


class NoManagedPolicies:
    def load(self):
        return {}


def transformed():
    with open("template.yaml", encoding="utf-8") as file:
        template = yaml_parse(file.read())
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = f"s3://{CODE}/bootstrap.zip"
    return transform(template, {}, NoManagedPolicies())


def check_public_url(template):
    """Since 2025 a public URL needs both permissions, and the second must count for the URL only."""
    public = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Permission" and resource["Properties"]["Principal"] == "*"
    ]
    told = {(p["Action"], p.get("FunctionUrlAuthType"), p.get("InvokedViaFunctionUrl")) for p in public}
    wanted = {("lambda:InvokeFunctionUrl", "NONE", None), ("lambda:InvokeFunction", None, True)}
    assert told == wanted, told
    print("both permissions of the public URL, the second only through the URL")


def bootstrap_zip():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("bootstrap", "#!/bin/sh\n")
    return data.getvalue()


class Stack:
    def __init__(self, client, name, template, parameters):
        self.client, self.name = client, name
        cloudformation = client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        self.outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
        there = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        # moto lists a resource whose condition is false too, without a name, and has no id for a permission.
        self.physical = {r["LogicalResourceId"]: r.get("PhysicalResourceId") for r in there if "ResourceType" in r}
        holds = {
            None: True,
            "HasConsumer": parameters.get("ExampleConsumer") == "yes",
            "IsDynamic": parameters.get("DynamicWebhooks") == "true",
        }
        wanted = {name for name, resource in template["Resources"].items() if holds[resource.get("Condition")]}
        assert set(self.physical) == wanted, set(self.physical) ^ wanted
        self.kinds = {name: template["Resources"][name]["Type"] for name in wanted}

    def all(self, kind):
        return [self.physical[name] for name, its in self.kinds.items() if its == kind]

    def check(self):
        self.check_tables()
        self.check_bucket()
        self.check_functions()
        secrets = self.client("secretsmanager")
        for secret in ("SigningSecretArn", "ApiKeySecretArn"):
            value = secrets.get_secret_value(SecretId=self.outputs[secret])["SecretString"]
            assert value == "not-set-yet", value
        alarms = self.client("cloudwatch").describe_alarms(AlarmNamePrefix=self.name)["MetricAlarms"]
        assert len(alarms) == len(self.all("AWS::CloudWatch::Alarm")), alarms
        assert self.outputs["ReceiverUrl"].startswith("https://"), self.outputs
        count = len(set(self.kinds.values()))
        if "ConsumerRole" in self.physical:
            self.check_consumer()
        print(f"{self.name}: {len(self.kinds)} resources of {count} kinds, {len(self.outputs)} outputs")

    def check_tables(self):
        dynamodb = self.client("dynamodb")
        for name in (self.outputs["DeliveriesTableName"], self.outputs["JobsTableName"]):
            table = dynamodb.describe_table(TableName=name)["Table"]
            assert table["TableStatus"] == "ACTIVE", table
            assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST", table
        table = dynamodb.describe_table(TableName=self.outputs["DeliveriesTableName"])["Table"]
        assert [i["IndexName"] for i in table["GlobalSecondaryIndexes"]] == ["due"], table
        assert table["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE", table

    def check_bucket(self):
        s3, bucket = self.client("s3"), self.outputs["ResultsBucketName"]
        # moto's stacks apply no more of a bucket than this; a test over the template's text holds the rest.
        [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256", rule
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        assert policy["Statement"][0]["Effect"] == "Deny", policy

    def check_functions(self):
        functions, iam = self.client("lambda"), self.client("iam")
        for name in ("ReceiverFunctionName", "ArchiverFunctionName"):
            told = functions.get_function_configuration(FunctionName=self.outputs[name])
            assert told["Runtime"] == "provided.al2023", told
            role = told["Role"].split("/")[-1]
            policies = iam.list_role_policies(RoleName=role)["PolicyNames"]
            assert len(policies) == 1, policies
            document = iam.get_role_policy(RoleName=role, PolicyName=policies[0])["PolicyDocument"]
            assert "${" not in json.dumps(document), document
        mappings = functions.list_event_source_mappings(FunctionName=self.outputs["ArchiverFunctionName"])
        [mapping] = mappings["EventSourceMappings"]
        assert mapping["EventSourceArn"] == self.outputs["DeliveriesStreamArn"], mapping
        assert mapping["BatchSize"] == 1, mapping
        assert "received" in json.dumps(mapping["FilterCriteria"]), mapping
        targets = [
            json.loads(target["Input"])["schedule"]
            for rule in self.all("AWS::Events::Rule")
            for target in self.client("events").list_targets_by_rule(Rule=rule.split("|")[-1])["Targets"]
            if "Input" in target
        ]
        assert sorted(targets) == ["reconcile", "sweep"], targets

    def check_consumer(self):
        """What is announced is routed by the job's own metadata."""
        events = self.client("events")
        patterns = [events.describe_rule(Name=rule.split("|")[-1]).get("EventPattern") for rule in self.all("AWS::Events::Rule")]
        [pattern] = [json.loads(pattern) for pattern in patterns if pattern]
        assert pattern["detail"] == {"user_metadata": {"job_group": ["example"]}}, pattern
        assert pattern["detail-type"] == ["Gemini job ended"], pattern

    def receiver_environment(self):
        told = self.client("lambda").get_function_configuration(FunctionName=self.outputs["ReceiverFunctionName"])
        return {name: str(value) for name, value in told["Environment"]["Variables"].items()}


@contextmanager
def gemini_api(gemhook):
    """The variables that lead to the API of a local machine, while it runs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [gemhook, "dev", "--json", "--port", "0", "--data", folder]
        dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            at = json.loads(dev.stdout.readline())
            yield {"GEMINI_BASE_URL": at["gemini_url"], "GEMINI_API_KEY": at["gemini_api_key"]}
        finally:
            dev.terminate()
            dev.wait(timeout=30)


def register_by_hand(_gemhook, stack, variables):
    """The block of the README that does it with curl and the AWS CLI, as it stands there."""
    with open("README.md", encoding="utf-8") as file:
        [block] = [block for block in re.findall(r"```sh\n(.*?)```", file.read(), re.S) if "new_signing_secret" in block]
    outputs = {name: stack.outputs[name] for name in ("ReceiverUrl", "SigningSecretArn")}
    subprocess.run(["bash", "-euo", "pipefail", "-c", block], env={**variables, **outputs}, check=True)


def register_by_command(gemhook, stack, variables):
    subprocess.run([gemhook, "webhook", "create", "--stack", stack.name], env=variables, check=True)
    again = subprocess.run([gemhook, "webhook", "create", "--stack", stack.name], env=variables, capture_output=True)
    assert again.returncode == 1 and b"registered already" in again.stderr, again


def check_receiver(binary, stack, endpoint, register):
    """The receiver, with the very variables that the stack gives it."""
    with FakeRuntime(binary, stack.receiver_environment(), endpoint, REGION) as receiver:
        answer = receiver.invoke(url_event("GET"))
        assert answer["statusCode"] == 200, answer
        answer = receiver.invoke(url_event("POST", "whsec_" + "B" * 32, "evt-stack-1", "batch.succeeded"))
        assert answer["statusCode"] == 503, f"the secret still holds its placeholder: {answer}"
        register(stack)
        stored = stack.client("secretsmanager").get_secret_value(SecretId=stack.outputs["SigningSecretArn"])
        event = url_event("POST", stored["SecretString"], "evt-stack-1", "batch.succeeded")
        # A value that was not there is asked for again after a moment.
        time.sleep(3)
        for told in ("first", "duplicate"):
            answer = receiver.invoke(event)
            assert answer["statusCode"] == 200, (told, answer)
        forged = url_event("POST", "whsec_" + "A" * 32, "evt-stack-2", "batch.succeeded")
        answer = receiver.invoke(forged)
        assert answer["statusCode"] == 401, answer
    rows = stack.client("dynamodb").scan(TableName=stack.outputs["DeliveriesTableName"])["Items"]
    assert [(row["webhook_id"]["S"], row["state"]["S"]) for row in rows] == [("evt-stack-1", "received")], rows
    [(function, image)] = HANDED_OVER
    assert function == stack.outputs["ArchiverFunctionArn"], function
    assert image["state"] == {"S": "received"}, image
    HANDED_OVER.clear()
    check_metrics(receiver.output())
    print("receiver: GET 200, POST 503 before the secret is set, then 200, duplicate 200, forged 401, one row, one record for the archiver")


def check_metrics(output):
    lines = [json.loads(line) for line in output.splitlines() if '"_aws"' in line]
    counted = [
        metric["Name"]
        for line in lines
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    ]
    assert counted == ["Unavailable", "Accepted", "Duplicates", "Rejected"], counted


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    LambdaBackend.send_dynamodb_items = hand_over
    template = transformed()
    check_public_url(template)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())

        moto_models.SERVER.update(endpoint_url=endpoint, region_name=REGION)
        client = moto_models.client
        location = {"LocationConstraint": REGION}
        client("s3").create_bucket(Bucket=CODE, CreateBucketConfiguration=location)
        client("s3").put_object(Bucket=CODE, Key="bootstrap.zip", Body=bootstrap_zip())
        first = Stack(client, "gemhook-first", template, {})
        more = {"ExampleConsumer": "yes", "ResultsExpireAfterDays": "30", "DynamicWebhooks": "true"}
        second = Stack(client, "gemhook-second", template, more)
        for stack in (first, second):
            stack.check()
        shared = set(first.outputs.values()) & set(second.outputs.values())
        assert shared <= {"default"}, f"both stacks own {shared}"
        with gemini_api(sys.argv[2]) as api:
            variables = {**os.environ, "AWS_ENDPOINT_URL": endpoint, **api}
            for stack, register in ((first, register_by_hand), (second, register_by_command)):
                check_receiver(sys.argv[1], stack, endpoint, lambda stack: register(sys.argv[2], stack, variables))
            listed = subprocess.run([sys.argv[2], "webhook", "list"], env=variables, capture_output=True, text=True, check=True)
            urls = {stack.outputs["ReceiverUrl"] for stack in (first, second)}
            assert all(url in listed.stdout for url in urls), listed.stdout
    finally:
        server.stop()


if __name__ == "__main__":
    try:
        main()
    except subprocess.SubprocessError as error:
        sys.exit(f"the receiver: {error}")
