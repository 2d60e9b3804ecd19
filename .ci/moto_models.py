"""Kinds of resources that moto's CloudFormation does not know, each made by the service's own call on the same server.

boto3 checks each call against the service's model, so a property with a wrong name or type fails here too.
Import this before moto's CloudFormation is first used: it collects its kinds once.
"""

import json

import boto3
from moto.core.common_models import CloudFormationModel

SERVER = {}


def client(service):
    return boto3.client(service, **SERVER)


class Made:
    """A resource: its physical id and the attributes that others may ask for."""

    def __init__(self, physical, **attributes):
        self.physical, self.attributes = physical, attributes

    @property
    def physical_resource_id(self):
        return self.physical

    @staticmethod
    def cloudformation_name_type():
        return ""

    @classmethod
    def has_cfn_attr(cls, attr):
        return True

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, *_args, **_kwargs):
        physical, attributes = cls.make(resource_name, dict(cloudformation_json["Properties"]))
        return cls(physical, **attributes)

    @classmethod
    def delete_from_cloudformation_json(cls, *_args, **_kwargs):
        pass

    def get_cfn_attribute(self, attribute_name):
        return self.attributes[attribute_name]


KINDS = []


def kind(name):
    def register(make):
        members = {
            # moto reads the name of a service out of this.
            "__module__": "ci.moto_models",
            "make": staticmethod(make),
            "cloudformation_type": staticmethod(lambda: name),
        }
        KINDS.append(type(make.__name__, (Made, CloudFormationModel), members))
        return make

    return register


@kind("AWS::SecretsManager::Secret")
def secret(name, told):
    return client("secretsmanager").create_secret(Name=name, **told)["ARN"], {}


@kind("AWS::S3::BucketPolicy")
def bucket_policy(name, told):
    client("s3").put_bucket_policy(Bucket=told["Bucket"], Policy=json.dumps(told["PolicyDocument"]))
    return name, {}


@kind("AWS::CloudWatch::Alarm")
def alarm(_name, told):
    # CloudFormation's parameters are text, the service wants a number.
    told["Threshold"] = float(told["Threshold"])
    client("cloudwatch").put_metric_alarm(**told)
    return told["AlarmName"], {}


@kind("AWS::Lambda::Url")
def function_url(_name, told):
    told["FunctionName"] = told.pop("TargetFunctionArn")
    made = client("lambda").create_function_url_config(**told)
    return made["FunctionArn"], {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]}


@kind("AWS::Lambda::EventInvokeConfig")
def event_invoke_config(name, told):
    client("lambda").put_function_event_invoke_config(**told)
    return name, {}
