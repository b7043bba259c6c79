"""Writes what API Gateway can import of docs/openapi.yaml, which is OpenAPI 3.1, as OpenAPI 3.0.1 in JSON.

API Gateway refuses 3.1 ("Unable to determine OAS version"). Of 3.0 an HTTP API takes the routes, their parameters, who may
call them and what answers; it validates no bodies, so schemas are left out. Callers sign with IAM: a JWT authoriser has an
issuer, which is not in the document. The functions are named as in template.yaml: the output can be the Body of an
AWS::ApiGatewayV2::Api. What lets API Gateway invoke them is not in it.

    openapi_for_api_gateway.py docs/openapi.yaml                    writes it
    openapi_for_api_gateway.py docs/openapi.yaml translated.json    compares it with template.yaml, as SAM translates it
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


def routes_of(document):
    """Of each route: which function answers, in which format it is asked, and whether callers must sign."""
    return {
        f"{method.upper()} {path}": (
            operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"].split("${")[-1].split(".")[0],
            operation["x-amazon-apigateway-integration"]["payloadFormatVersion"],
            operation["security"] != [],
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def routes_of_template(resources):
    """The same of the template, where no issuer of tokens is given."""
    routes = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::ApiGatewayV2::Route":
            route = resource["Properties"]
            integration = resources[route["Target"]["Fn::Sub"].removeprefix("integrations/${").removesuffix("}")]
            routes[route["RouteKey"]] = (
                integration["Properties"]["IntegrationUri"]["Fn::GetAtt"][0],
                integration["Properties"]["PayloadFormatVersion"],
                route["AuthorizationType"] != "NONE",
            )
    return routes


def main(source, translated=None):
    with open(source, encoding="utf-8") as file:
        ours = reduced(yaml.safe_load(file))
    if translated is None:
        json.dump(ours, sys.stdout, indent=2)
        return
    with open(translated, encoding="utf-8") as file:
        theirs = routes_of_template(json.load(file)["Resources"])
    ours = routes_of(ours)
    if ours != theirs:
        sys.exit(f"{source} and template.yaml disagree:\n{ours}\n{theirs}")
    print(f"{source}: API Gateway would be configured as template.yaml has it ({len(ours)} routes)")


main(*sys.argv[1:])
