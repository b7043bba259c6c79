"""Writes what API Gateway can import of docs/openapi.yaml, which is OpenAPI 3.1, as OpenAPI 3.0.1 in JSON.

API Gateway refuses 3.1 ("Unable to determine OAS version"). Of 3.0 an HTTP API takes the routes, their parameters, who may
call them and what answers; it validates no bodies, so schemas are left out. The functions are named as in template.yaml: the
output is the Body of an AWS::ApiGatewayV2::Api, or the DefinitionBody of an AWS::Serverless::HttpApi; what lets API Gateway
invoke them is not in it.

    openapi_for_api_gateway.py docs/openapi.yaml                    writes it
    openapi_for_api_gateway.py docs/openapi.yaml translated.json    compares it with what SAM makes of template.yaml
"""

import json
import sys

import yaml

# The scheme that API Gateway checks itself. Whoever bears any other is let through: the function checks them.
CHECKED_BY_GATEWAY = "awsIam"
KEPT = ["operationId", "summary", "tags", "x-amazon-apigateway-integration"]


def reduced(document):
    scheme = document["components"]["securitySchemes"][CHECKED_BY_GATEWAY]
    paths = {
        path: {method: reduced_operation(operation) for method, operation in methods.items()}
        for path, methods in document["paths"].items()
    }
    info = {member: document["info"][member] for member in ("title", "version")}
    return {
        "openapi": "3.0.1",
        "info": info,
        "paths": paths,
        "components": {"securitySchemes": {CHECKED_BY_GATEWAY: scheme}},
    }


def reduced_operation(operation):
    in_path = [parameter for parameter in operation.get("parameters", []) if parameter.get("in") == "path"]
    checked = [alternative for alternative in operation["security"] if CHECKED_BY_GATEWAY in alternative]
    return {member: operation[member] for member in KEPT} | {
        "security": checked,
        "parameters": [
            {"name": parameter["name"], "in": "path", "required": True, "schema": {"type": "string"}}
            for parameter in in_path
        ],
        "responses": {"default": {"description": "See docs/openapi.yaml."}},
    }


def routes(document):
    """Of each route: who is asked, and whether API Gateway asks for a signature first."""
    schemes = document["components"]["securitySchemes"]
    signed = {name for name, scheme in schemes.items() if scheme.get("x-amazon-apigateway-authtype") == "awsSigv4"}
    return {
        (method, path): (
            operation["x-amazon-apigateway-integration"],
            any(signed & alternative.keys() for alternative in operation["security"]),
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def main(source, translated=None):
    with open(source, encoding="utf-8") as file:
        ours = reduced(yaml.safe_load(file))
    if translated is None:
        json.dump(ours, sys.stdout, indent=2)
        return
    with open(translated, encoding="utf-8") as file:
        resources = json.load(file)["Resources"].values()
    [api] = [resource for resource in resources if resource["Type"] == "AWS::ApiGatewayV2::Api"]
    theirs = api["Properties"]["Body"]
    if routes(ours) != routes(theirs):
        sys.exit(f"{source} and template.yaml disagree:\n{routes(ours)}\n{routes(theirs)}")
    print(f"{source}: API Gateway would be configured as template.yaml has it ({len(routes(ours))} routes)")


main(*sys.argv[1:])
