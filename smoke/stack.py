"""A deployed stack, seen through its outputs and called as its users call it."""

import base64
import contextlib
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

# What the steps need. A stack that lacks one of these is not this product, or an older one.
OUTPUTS = (
    "HttpApiUrl",
    "WebhookIntakeFunctionArn",
    "DataActionsFunctionArn",
    "DataActionsQueueUrl",
    "TransfersFunctionArn",
    "RetentionFunctionArn",
    "RelayFunctionArn",
    "EventBusName",
    "TableName",
)


# Of a line of a log, as much as is shown.
LONGEST_LINE = 600


class Failed(Exception):
    """A step that did not go as it must: what was expected, what came, and whose logs may say why."""

    def __init__(self, expected, came, functions=()):
        super().__init__(f"expected {expected}; came {came}")
        self.expected = expected
        self.came = came
        self.functions = functions


class Skipped(Exception):
    """A step that was not played, and why."""


@dataclass
class Answer:
    """What an HTTP route answered."""

    status: int
    headers: dict
    text: str

    @property
    def body(self):
        """The body as JSON, or as text if it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return self.text

    @property
    def slug(self):
        """The last part of a problem's type, such as `store-unavailable`."""
        body = self.body
        return str(body.get("type", "")).rsplit(":", 1)[-1] if isinstance(body, dict) else ""

    @property
    def is_replayed(self):
        """Whether the function says that it has answered this before."""
        return self.headers.get("idempotent-replayed") == "true"

    def __str__(self):
        replayed = " (replayed)" if self.is_replayed else ""
        return f"{self.status}{replayed} {self.text[:400]}"


class Stack:
    """The stack's outputs, and everything that can be reached from them."""

    def __init__(self, name, region=None, profile=None, token=None):
        self.session = boto3.Session(region_name=region, profile_name=profile)
        self.region = self.session.region_name
        self.token = token
        # A call that is repeated behind our back would be a second delivery.
        config = Config(retries={"total_max_attempts": 1}, read_timeout=330)
        self._clients = {}
        self._config = config
        described = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        self.name = described["StackName"]
        self.status = described["StackStatus"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}

    def client(self, service):
        """boto3's client of a service."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=self._config)
        return self._clients[service]

    def __getitem__(self, output):
        return self.outputs[output]

    def settings(self, function):
        """The environment variables of a function."""
        described = self.client("lambda").get_function_configuration(FunctionName=function)
        return described.get("Environment", {}).get("Variables", {})

    def secret(self, arn):
        """The string of a secret."""
        return self.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]

    def post(self, path, body, headers=None, signed=False):
        """One POST to a route of the HTTP API; signed: with the token, if there is one, or with IAM."""
        url = self["HttpApiUrl"].rstrip("/") + path
        request = AWSRequest("POST", url, data=body.encode(), headers={"content-type": "application/json"})
        for name, value in (headers or {}).items():
            request.headers[name] = value
        if signed and self.token:
            request.headers["authorization"] = f"Bearer {self.token}"
        elif signed:
            SigV4Auth(self.session.get_credentials(), "execute-api", self.region).add_auth(request)
        return send(request)

    def invoke(self, function, payload):
        """What a direct invocation answers. A function that fails is a failed step."""
        answered = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload).encode())
        text = answered["Payload"].read().decode("utf-8", "replace")
        if "FunctionError" in answered:
            raise Failed("an answer", f"{answered['FunctionError']}: {text[:400]}", [function])
        return json.loads(text)


def last_lines(client, function, count=12):
    """The last lines of a function's log, oldest first. `client` makes boto3's client of a service."""
    try:
        described = client("lambda").get_function_configuration(FunctionName=function)
        default = f"/aws/lambda/{described['FunctionName']}"
        group = described.get("LoggingConfig", {}).get("LogGroup", default)
        since = int((time.time() - 900) * 1000)
        pages = (
            client("logs").get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
        )
        events = sorted(
            (event for page in pages for event in page["events"]), key=lambda event: event["timestamp"]
        )
        lines = [line.strip() for event in events for line in event["message"].splitlines()]
        return [line[:LONGEST_LINE] for line in lines if line and not _is_noise(line)][-count:] or ["(none)"]
    except (BotoCoreError, ClientError) as error:
        return [f"(they cannot be read: {error})"]


def _is_noise(line):
    """Lambda's own lines, and metrics, which say nothing that the line beside them does not."""
    return '"_aws"' in line or line.startswith(
        ("START RequestId", "END RequestId", "REPORT RequestId", "INIT_START")
    )


def send(request):
    """Sends a request once: nothing is repeated or followed behind our back."""
    answered = URLLib3Session(proxies=get_environ_proxies(request.url), timeout=35).send(request.prepare())
    headers = {name.lower(): value for name, value in answered.headers.items()}
    return Answer(answered.status_code, headers, answered.content.decode("utf-8", "replace"))


def fetch(url):
    """What a GET answers."""
    return send(AWSRequest("GET", url))


def hub_signature(secret, body):
    """The value of X-Hub-Signature-256, as Genesys Cloud Open Messaging computes it."""
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()
    return "sha256=" + base64.b64encode(digest).decode()


def until(holds, seconds, every=1.0):
    """Asks until there is something, or the time is over. Whatever came last is returned."""
    give_up = time.monotonic() + seconds
    while True:
        seen = holds()
        if seen or time.monotonic() > give_up:
            return seen
        time.sleep(every)


@contextlib.contextmanager
def listening(stack, run, prefix):
    """A queue that takes the events on the bus whose ids begin so. It and its rule are removed at the end."""
    sqs, events = stack.client("sqs"), stack.client("events")
    name, bus = f"{stack.name}-smoke-{run}"[:64], stack["EventBusName"]
    pattern = {"source": ["patchbay"], "detail": {"event_id": [{"prefix": prefix}]}}
    with contextlib.ExitStack() as cleanup:
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        cleanup.callback(sqs.delete_queue, QueueUrl=url)
        queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rule = events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))["RuleArn"]
        cleanup.callback(events.delete_rule, Name=name, EventBusName=bus)
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        put = events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "smoke", "Arn": queue}])
        cleanup.callback(events.remove_targets, Rule=name, EventBusName=bus, Ids=["smoke"])
        if put["FailedEntryCount"]:
            raise Failed("a rule with a target", put["FailedEntries"])

        def heard(seconds):
            """The events that arrive within so many seconds; at least one, if there is one."""
            taken = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=seconds, MaxNumberOfMessages=10)
            return [json.loads(message["Body"]) for message in taken.get("Messages", [])]

        yield heard
