"""Holds the files under examples/ against what they are for, offline: templates against CloudFormation, the state machine
against the States Language, data actions against the format of Genesys Cloud's exports and their own contracts.

Prints what is wrong, one line each; exits with 1 if anything is.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# The translator asks boto3 which partition it writes ARNs for. No request is made.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import jsonata  # noqa: E402
import jsonschema  # noqa: E402
from samtranslator.model.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

EXAMPLES = Path("examples")
SAM = "AWS::Serverless-2016-10-31"
PROGRAMS = Path(sys.executable).parent

# What an export of a custom action consists of. `secure` hides inputs and outputs from logs.
ACTION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "integrationType", "actionType", "config", "contract", "secure"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 256},
        "integrationType": {"enum": ["aws-lambda-data-actions", "custom-rest-actions"]},
        "actionType": {"const": "custom"},
        "secure": {"type": "boolean"},
        "config": {
            "type": "object",
            "additionalProperties": False,
            "required": ["request", "response"],
            "properties": {
                "request": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["requestUrlTemplate", "requestType", "headers", "requestTemplate"],
                    "properties": {
                        "requestUrlTemplate": {"type": "string", "pattern": "^(https://|arn:aws)"},
                        "requestType": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
                        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                        "requestTemplate": {"type": "string"},
                    },
                },
                "response": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["translationMap", "translationMapDefaults", "successTemplate"],
                    "properties": {
                        "translationMap": {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\$"}},
                        "translationMapDefaults": {"type": "object", "additionalProperties": {"type": "string"}},
                        "successTemplate": {"type": "string"},
                    },
                },
            },
        },
        "contract": {
            "type": "object",
            "additionalProperties": False,
            "required": ["input", "output"],
            "properties": {
                "input": {"type": "object", "required": ["inputSchema"], "additionalProperties": {"type": "object"}},
                "output": {"type": "object", "required": ["successSchema"], "additionalProperties": {"type": "object"}},
            },
        },
    },
}


class NoManagedPolicies:
    """Stands in for the lookup of managed policies in IAM: every role in the templates is spelt out."""

    def load(self):
        return {}


def program(name, *arguments):
    """What one of the tools has to complain of."""
    run = subprocess.run([PROGRAMS / name, *map(str, arguments)], capture_output=True, text=True, check=False)
    return [] if run.returncode == 0 else (run.stdout + run.stderr).strip().splitlines()


def template(path):
    """A template, and what the SAM transform makes of it."""
    yield from program("cfn-lint", path)
    document = yaml_parse(path.read_text(encoding="utf-8"))
    if document.get("Transform") != SAM:
        return
    for resource in document["Resources"].values():
        properties = resource.get("Properties", {})
        if "DefinitionUri" in properties:
            # `sam deploy` puts the file into S3. Here it is put into the template, so that it is linted with it.
            definition = path.parent / properties.pop("DefinitionUri")
            properties["Definition"] = json.loads(definition.read_text(encoding="utf-8"))
    try:
        translated = transform(document, {}, NoManagedPolicies())
    except InvalidDocumentException as error:
        yield from (cause.message for cause in error.causes)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(translated, file)
        file.flush()
        yield from program("cfn-lint", file.name)


def state_machine(path):
    """A definition, with placeholders replaced, and every expression parsed."""
    text = re.sub(r"\$\{(\w+)\}", lambda it: "aws" if it[1] == "Partition" else "placeholder", path.read_text(encoding="utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield from program("statelint", file.name)
    for expression in re.findall(r"\{%(.*?)%\}", text):
        try:
            jsonata.Jsonata(expression)
        except jsonata.JException as error:
            yield f"{expression.strip()}: {error}"


def data_action(path):
    """An export of a custom action. Its templates use what the contract and the map have, and all of it."""
    action = json.loads(path.read_text(encoding="utf-8"))
    for error in jsonschema.Draft202012Validator(ACTION).iter_errors(action):
        yield f"{error.json_path}: {error.message}"
        return
    for direction, name in [("input", "inputSchema"), ("output", "successSchema")]:
        schema = action["contract"][direction][name]
        try:
            jsonschema.Draft4Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            yield f"{name}: {error.message}"
        unknown = set(schema["required"]) - set(schema["properties"])
        if unknown:
            yield f"{name} requires {sorted(unknown)}, which it does not describe"

    request, response = action["config"]["request"], action["config"]["response"]
    written = "\n".join([request["requestUrlTemplate"], request["requestTemplate"], *request["headers"].values()])
    inputs = set(re.findall(r"\$\{input\.(\w+)\}", written))
    described = set(action["contract"]["input"]["inputSchema"]["properties"])
    if inputs != described:
        yield f"the request uses {sorted(inputs)}, and the contract describes {sorted(described)}"
    unescaped = re.findall(r"(?<!jsonString\()\$\{input\.(\w+)\}", request["requestTemplate"])
    if unescaped:
        yield f"{unescaped} go into the body without $esc.jsonString"
    used = set(re.findall(r"\$\{(\w+)\}", response["successTemplate"]))
    if used != set(response["translationMap"]):
        yield f"the success template uses {sorted(used)}, and the map has {sorted(response['translationMap'])}"
    stray = set(response["translationMapDefaults"]) - used
    if stray:
        yield f"there are defaults for {sorted(stray)}, which nothing uses"


CHECKS = [
    ("**/template.yaml", template),
    ("**/*.asl.json", state_machine),
    ("**/*.custom.json", data_action),
    ("**/*.json", lambda path: [] if json.loads(path.read_text(encoding="utf-8")) else ["it is empty"]),
    # Its programs are compiled, not run.
    ("**/*.py", lambda path: [] if compile(path.read_text(encoding="utf-8"), path, "exec") else []),
]


def main():
    faults = 0
    for pattern, check in CHECKS:
        paths = sorted(EXAMPLES.glob(pattern))
        if not paths:
            sys.exit(f"examples: nothing matches {pattern}")
        for path in paths:
            for fault in check(path):
                print(f"{path}: {fault}", file=sys.stderr)
                faults += 1
        print(f"examples: {len(paths)} files {pattern}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
