"""Expands the SAM template named first into the CloudFormation template named second, offline.

cfn-lint passes over mistakes inside AWS::Serverless resources (a wrong runtime in Globals, a misspelt event property).
The transform that AWS runs at deployment finds some of them, and linting what it produces finds the others.

With parameters (NAME=VALUE) after the two names, what they decide is decided: conditions are gone, and with them what they
leave out. A reference to something left out is then one to nothing, which a linter finds.
"""

import json
import os
import sys

# The translator asks boto3 which partition it writes ARNs for. No request is made.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.model.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

LEFT_OUT = object()


class NoManagedPolicies:
    """Stands in for the lookup of managed policies in IAM: every role in the template is spelt out."""

    def load(self):
        return {}


def translate(source):
    with open(source, encoding="utf-8") as file:
        template = yaml_parse(file.read())

    # `sam build` and `sam package` put an address in S3 here before AWS sees the template.
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"

    try:
        return transform(template, {}, NoManagedPolicies())
    except InvalidDocumentException as error:
        causes = "\n".join(f"  {cause.message}" for cause in error.causes)
        sys.exit(f"{source} cannot be translated:\n{causes}")


def decide(template, given):
    """The template as it is with these parameters, and the others at their defaults."""
    unknown = given.keys() - template["Parameters"].keys()
    if unknown:
        sys.exit(f"the template has no parameter {', '.join(sorted(unknown))}")
    values = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()} | given
    conditions = template.pop("Conditions")

    def holds(test):
        (kind, inner), = test.items() if isinstance(test, dict) else [("Condition", test)]
        if kind == "Condition":
            return holds(conditions[inner])
        if kind == "Fn::Not":
            return not holds(inner[0])
        if kind == "Fn::And":
            return all(map(holds, inner))
        if kind == "Fn::Or":
            return any(map(holds, inner))
        one, other = (values[it["Ref"]] if isinstance(it, dict) else it for it in inner)
        return one == other

    def settle(part):
        if isinstance(part, list):
            return [it for it in map(settle, part) if it is not LEFT_OUT]
        if not isinstance(part, dict):
            return part
        if part == {"Ref": "AWS::NoValue"}:
            return LEFT_OUT
        if part.keys() == {"Fn::If"}:
            condition, then, otherwise = part["Fn::If"]
            return settle(then if holds(condition) else otherwise)
        settled = {name: settle(it) for name, it in part.items()}
        return {name: it for name, it in settled.items() if it is not LEFT_OUT}

    for section in "Resources", "Outputs":
        kept = {}
        for name, part in template[section].items():
            condition = part.pop("Condition", None)
            if condition is None or holds(condition):
                kept[name] = settle(part)
        template[section] = kept
    for name, value in given.items():
        template["Parameters"][name]["Default"] = value
    return template


def main(source, target, parameters):
    template = translate(source)
    if parameters:
        template = decide(template, dict(parameter.split("=", 1) for parameter in parameters))
    with open(target, "w", encoding="utf-8") as file:
        json.dump(template, file, indent=2)


if __name__ == "__main__":
    if len(sys.argv) < 3 or not all("=" in parameter for parameter in sys.argv[3:]):
        sys.exit("usage: translate_template.py SAM_TEMPLATE CLOUDFORMATION_TEMPLATE [PARAMETER=VALUE ...]")
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
