"""What holds for every resource here, also for those that SAM makes: cfn-lint is told to look for it.

The tests look at the template as it is written. These rules look at what it becomes.
"""

from cfnlint.rules import CloudFormationLintRule, RuleMatch
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

TAGS = {"Application", "Environment", "Owner"}

# SAM makes these and gives them no tags. They have the stack's own, which samconfig.toml sets.
UNTAGGED_BY_SAM = {"AWS::Lambda::EventSourceMapping"}

# X-Ray has no resources that its writers could name.
WITHOUT_RESOURCE = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}


class EverythingIsTagged(CloudFormationLintRule):
    id = "E9101"
    shortdesc = "What can have tags says what it belongs to, and whose it is"
    description = "Costs and questions find their owner by the tags."
    tags = ["tags"]

    def match(self, cfn):
        for name, resource in cfn.get_resources().items():
            kind = resource["Type"]
            if kind in UNTAGGED_BY_SAM or kind.startswith("AWS::Serverless::"):
                continue
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
            if "Tags" not in schema["properties"]:
                continue
            tags = resource.get("Properties", {}).get("Tags", {})
            there = set(tags) if isinstance(tags, dict) else {tag["Key"] for tag in tags}
            if not TAGS <= there:
                missing = ", ".join(sorted(TAGS - there))
                yield RuleMatch(["Resources", name], f"{name} has no tag {missing}")


class NoWildcards(CloudFormationLintRule):
    id = "E9102"
    shortdesc = "A statement names its actions and its resources"
    description = "A role may do what its function does, and no more."
    tags = ["iam"]

    def match(self, cfn):
        for path, statement in statements(cfn.template["Resources"], ["Resources"]):
            actions = set(listed(statement.get("Action", [])))
            resources = listed(statement.get("Resource", []))
            if not actions or any("*" in action for action in actions):
                yield RuleMatch(path, f"actions are not named: {sorted(actions)}")
            if any(isinstance(it, str) and "*" in it for it in resources) and not actions <= WITHOUT_RESOURCE:
                yield RuleMatch(path, f"resources are not named: {resources} for {sorted(actions)}")
            if statement.get("Principal") in ("*", {"AWS": "*"}):
                yield RuleMatch(path, "anybody may do this")


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(value, path):
    """Every statement of every policy, with its place; of an optional one, what it is where it is not left out."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "Statement":
                for index, statement in enumerate(listed(member)):
                    here = path + [name, index]
                    optional = statement.get("Fn::If")
                    yield (here + ["Fn::If", 1], optional[1]) if optional else (here, statement)
            else:
                yield from statements(member, path + [name])
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from statements(element, path + [index])
