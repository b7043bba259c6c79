"""template.yaml as the engine on this machine can deploy it: translated by AWS's own translator beforehand."""

import os

# The translator asks boto3 which partition it writes ARNs for. No request is made.
os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402


class _NoManagedPolicies:
    """Stands in for the lookup of managed policies in IAM: every role in the template is spelt out."""

    def load(self):
        return {}


def functions(source):
    """The functions of a SAM template: each resource's name with that of its binary."""
    resources = yaml_parse(source)["Resources"].items()
    return {
        name: resource["Metadata"]["BuildProperties"]["Binary"]
        for name, resource in resources
        if resource["Type"] == "AWS::Serverless::Function"
    }


def translate(source, places, api_address):
    """The CloudFormation template of a SAM template whose functions' packages lie at these places in S3."""
    template = yaml_parse(source)
    for name, place in places.items():
        template["Resources"][name]["Properties"]["CodeUri"] = place
    translated = transform(template, {}, _NoManagedPolicies())
    for name in [
        name for name, resource in translated["Resources"].items() if _is_beyond_ministack(resource)
    ]:
        del translated["Resources"][name]
    for output in translated["Outputs"].values():
        if output["Value"] == {"Fn::GetAtt": ["HttpApi", "ApiEndpoint"]}:
            output["Value"] = {"Fn::Sub": f"{api_address}/_aws/execute-api/${{HttpApi}}/$default"}
    return translated


def _is_beyond_ministack(resource):
    """Alarms over an expression of several metrics, which it refuses. Nothing refers to an alarm."""
    return resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
