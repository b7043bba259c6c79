"""Expands the SAM template named first into the CloudFormation template named second, offline.

cfn-lint passes over mistakes inside AWS::Serverless resources (a wrong runtime in Globals, a misspelt event property).
The transform that AWS runs at deployment finds some of them, and linting what it produces finds the others.
"""

import json
import os
import sys

# The translator asks boto3 which partition it writes ARNs for. No request is made.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.model.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402


class NoManagedPolicies:
    """Stands in for the lookup of managed policies in IAM: every role in the template is spelt out."""

    def load(self):
        return {}


def main(source, target):
    with open(source, encoding="utf-8") as file:
        template = yaml_parse(file.read())

    # `sam build` and `sam package` put an address in S3 here before AWS sees the template.
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"

    try:
        translated = transform(template, {}, NoManagedPolicies())
    except InvalidDocumentException as error:
        causes = "\n".join(f"  {cause.message}" for cause in error.causes)
        sys.exit(f"{source} cannot be translated:\n{causes}")

    with open(target, "w", encoding="utf-8") as file:
        json.dump(translated, file, indent=2)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: translate_template.py SAM_TEMPLATE CLOUDFORMATION_TEMPLATE")
    main(sys.argv[1], sys.argv[2])
