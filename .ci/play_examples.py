"""Plays the examples with everything real but the clouds: the stack of `patchbay serve` (functions, table, simulator), an
emulator of AWS (ministack) in which the templates are deployed and the functions' own binaries run, and the programs as the
READMEs call them. Ends with what was seen, or with the first thing that was not as it must be.

    python play_examples.py DIRECTORY_OF_BINARIES
"""

import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import boto3
from samtranslator.yaml_helper import yaml_parse

EXAMPLES = Path("examples")
BINARIES = Path(sys.argv[1])
PATIENCE_SECONDS = 90
# Any will do: neither the emulator nor the local gateway looks at them.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
CALL = "8c0f5a52-6f1e-4d0b-b1a3-5d2e9f7c4b60"
QUEUE = "1d2c3b4a-5f6e-4d7c-8b9a-0f1e2d3c4b5a"


def until(what, look):
    """Waits until `look` gives something that is true, and gives that."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at:
        if found := look():
            return found
        time.sleep(0.1)
    sys.exit(f"examples: no {what} after {PATIENCE_SECONDS} s")


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"examples: {what} is {found!r} and not {wanted!r}")
    print(f"examples: {what}: {wanted}", flush=True)


def http(url, body=None, method=None, headers=None):
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}, method=method)) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def process(command, log, **environment):
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | environment) as it:
        try:
            yield it
        finally:
            it.terminate()


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Genesys:
    """The simulator's control panel."""

    def __init__(self, url):
        self.url = url

    def declare(self, path, body):
        http(f"{self.url}/_simulator/{path}", body, "PUT")

    def fault(self, operation, fault, **more):
        http(f"{self.url}/_simulator/faults", {"operation": operation, "fault": fault, **more})

    def world(self):
        return json.loads(http(f"{self.url}/_simulator"))

    def effects(self, action):
        runs = self.world()["effects"].get(action, {"executions": []})["executions"]
        return [run["input"] for run in runs if run["performed"]]

    def transfers(self, conversation):
        return len(self.world()["conversations"][conversation]["recentTransfers"])


class Aws:
    """The emulator, with the functions in it."""

    def __init__(self, url, database, genesys):
        keys = dict(zip(["aws_access_key_id", "aws_secret_access_key", "region_name"], CREDENTIALS.values()))
        self.client = lambda service: boto3.client(service, endpoint_url=url, **keys)
        role = self.client("iam").create_role(RoleName="functions", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        variables = {
            "TABLE_NAME": "patchbay",
            "AWS_ENDPOINT_URL_DYNAMODB": database,
            "GENESYS_API_URL": genesys,
            "GENESYS_LOGIN_URL": genesys,
            "GENESYS_CLIENT_ID": "simulated-client",
            "GENESYS_CLIENT_SECRET": "simulated-secret",
            # Whoever calls repeats: here that is to be seen.
            "RETRY_ATTEMPTS": "1",
        }
        self.functions = {}
        for name, timeout in [("data-actions", 90), ("transfers", 60)]:
            created = self.client("lambda").create_function(
                FunctionName=name,
                Runtime="provided.al2023",
                Handler="bootstrap",
                Role=role,
                Timeout=timeout,
                Code={"ZipFile": zipped(BINARIES / name)},
                Environment={"Variables": variables},
            )
            self.functions[name] = created["FunctionArn"]

    def deploy(self, folder, **parameters):
        """The outputs of an example's stack. What `sam deploy` uploads is put into the template."""
        template = yaml_parse((EXAMPLES / folder / "template.yaml").read_text(encoding="utf-8"))
        for resource in template["Resources"].values():
            properties = resource.get("Properties", {})
            if "DefinitionUri" in properties:
                definition = EXAMPLES / folder / properties.pop("DefinitionUri")
                properties["Definition"] = json.loads(definition.read_text(encoding="utf-8"))
        functions = {
            "DataActionsFunctionArn": self.functions["data-actions"],
            "TransfersFunctionArn": self.functions["transfers"],
        }
        given = {name: arn for name, arn in functions.items() if name in template["Parameters"]} | parameters
        cloudformation = self.client("cloudformation")
        name = folder.replace("/", "-")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        stack = lambda: cloudformation.describe_stacks(StackName=name)["Stacks"][0]  # noqa: E731
        until(f"stack {name}", lambda: not stack()["StackStatus"].endswith("IN_PROGRESS"))
        expect(f"stack {name}", stack()["StackStatus"], "CREATE_COMPLETE")
        return {output["OutputKey"]: output["OutputValue"] for output in stack().get("Outputs", [])}


def zipped(binary):
    """A function's deployment package. Debug symbols stay at home."""
    with tempfile.TemporaryDirectory() as directory:
        bootstrap = Path(directory) / "bootstrap"
        subprocess.run(["strip", "-o", bootstrap, binary], check=True)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as it:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            it.writestr(entry, bootstrap.read_bytes())
        return archive.getvalue()


def step_functions(aws, genesys):
    genesys.declare("data-actions/open-ticket", {})
    genesys.declare("conversations/c-1", {"agent": "alice"})
    machine = aws.deploy("step-functions", OpenTicketDataActionId="open-ticket")["HandOverArn"]
    client = aws.client("stepfunctions")

    def played(name, experts):
        asked = {"conversationId": "c-1", "subject": 'A "late" parcel', "expertsQueueId": experts, "otherQueueId": "night-shift"}
        execution = client.start_execution(stateMachineArn=machine, name=name, input=json.dumps(asked))["executionArn"]
        ended = lambda: client.describe_execution(executionArn=execution)  # noqa: E731
        until(f"end of {name}", lambda: ended()["status"] != "RUNNING")
        output = json.loads(ended().get("output") or "{}")
        return ended()["status"], ended().get("error"), output.get("transfer", {}).get("destination", {}).get("id")

    expect("a call for the experts", played("case-1", "support"), ("SUCCEEDED", None, "support"))
    genesys.declare("conversations/c-1", {"agent": "alice"})
    expect("a call that they cannot take", played("case-2", "carol-only"), ("SUCCEEDED", None, "night-shift"))
    genesys.fault("execute-data-action", "effect-then-drop")
    expect("a ticket whose answer got lost", played("case-3", "support"), ("FAILED", "OutcomeUnknown", None))
    genesys.fault("execute-data-action", "status", status=429, retryAfter="1")
    genesys.declare("conversations/c-1", {"agent": "alice"})
    expect("a ticket that had to wait", played("case-4", "support"), ("SUCCEEDED", None, "support"))
    expect("tickets of four cases", len(genesys.effects("open-ticket")), 4)


def event_bridge(aws, genesys):
    genesys.declare("data-actions/survey", {})
    genesys.declare(f"conversations/{CALL}", {"agent": "alice"})
    genesys.declare(f"queues/{QUEUE}", {"joined": 3})
    client = aws.client("events")
    client.create_event_bus(Name="patchbay-events")
    outputs = aws.deploy("eventbridge", EventBusName="patchbay-events", SurveyDataActionId="survey")
    ended = json.loads(Path("tests/end_to_end/fixtures/eventbridge-customer-end.json").read_text(encoding="utf-8"))
    wanted = json.loads((EXAMPLES / "eventbridge/transfer-requested.json").read_text(encoding="utf-8"))
    # As the relay publishes them; and it may publish each twice.
    details = [(ended["detail-type"], ended | {"event_id": "e-1"}), (wanted["type"], wanted | {"event_id": wanted["id"]})]
    entries = [
        {"Source": "patchbay", "DetailType": kind, "Detail": json.dumps(detail), "EventBusName": "patchbay-events"}
        for kind, detail in details
    ]
    for _ in range(2):
        expect("entries that the bus refused", client.put_events(Entries=entries)["FailedEntryCount"], 0)
    until("survey", lambda: genesys.effects("survey"))
    until("transfer", lambda: genesys.transfers(CALL))
    queue = {"QueueUrl": outputs["ConversationsQueueUrl"], "AttributeNames": ["ApproximateNumberOfMessages"]}
    number = lambda: aws.client("sqs").get_queue_attributes(**queue)["Attributes"]["ApproximateNumberOfMessages"]  # noqa: E731
    until("second event in the queue", lambda: number() == "2")
    expect("surveys", genesys.effects("survey"), [{"conversationId": CALL}])
    expect("transfers", genesys.transfers(CALL), 1)


def fifo(aws, genesys, url):
    for action in ["open-ticket", "add-note", "close-ticket"]:
        genesys.declare(f"data-actions/{action}", {})
    before = len(genesys.effects("open-ticket"))
    outputs = aws.deploy("fifo", FunctionRoleName="functions")
    queue = outputs["RequestsQueueUrl"]
    messages = json.loads((EXAMPLES / "fifo/messages.json").read_text(encoding="utf-8"))
    for _ in range(2):
        sent = aws.client("sqs").send_message_batch(QueueUrl=queue, Entries=messages)
        expect("messages that the queue refused", sent.get("Failed", []), [])
    until("closed ticket", lambda: genesys.effects("close-ticket"))
    runs = genesys.world()["effects"]
    when = [runs[action]["executions"][-1]["when"] for action in ["add-note", "close-ticket"]]
    expect("order of note and closing", when, sorted(when))
    body = json.dumps({"dataActionId": "add-note", "input": {"note": "He called again."}})
    for _ in range(2):
        command = [sys.executable, EXAMPLES / "fifo/send.py", queue, CALL, "case-4711.note-2", body]
        subprocess.run(command, check=True, env=os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": url}, stdout=subprocess.DEVNULL)
    until("second note", lambda: len(genesys.effects("add-note")) == 2)
    expect("tickets opened", len(genesys.effects("open-ticket")) - before, 2)


def web_services(aws, genesys, url):
    """The door with tokens: the flow's way from the client's secret to the function."""
    outputs = aws.deploy("genesys/web-services", DomainPrefix="patchbay")
    names = {"UserPoolId": outputs["UserPoolId"], "ClientId": outputs["ClientId"]}
    client = aws.client("cognito-idp").describe_user_pool_client(**names)["UserPoolClient"]
    basic = base64.b64encode(f"{client['ClientId']}:{client['ClientSecret']}".encode()).decode()
    form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"}
    token = json.loads(http(f"{url}/oauth2/token", b"grant_type=client_credentials", headers=form))["access_token"]
    # The emulator knows its APIs by their host.
    host = outputs["ApiUrl"].partition("://")[2]

    def status(authorization):
        headers = {"Host": host, "Content-Type": "application/json", "Idempotency-Key": "call/close"} | authorization
        try:
            http(f"{url}/data-actions/close-ticket/invocations", {"ticketId": "t-1"}, headers=headers)
        except urllib.error.HTTPError as refusal:
            return refusal.code
        return 200

    before = len(genesys.effects("close-ticket"))
    expect("a request without a token", status({}), 401)
    expect("one with another's token", status({"Authorization": f"Bearer {token[:-4]}AAAA"}), 401)
    expect("one with a token, twice", [status({"Authorization": f"Bearer {token}"}) for _ in range(2)], [200, 200])
    expect("tickets closed by them", len(genesys.effects("close-ticket")) - before, 1)


def http_client(gateway, genesys):
    def call(key):
        command = [sys.executable, EXAMPLES / "http-client/call.py", f"{gateway}/data-actions/echo/invocations", key, '{"n":1}']
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | CREDENTIALS)
        return run.returncode, run.stderr.strip().partition(":")[0]

    expect("a first call", call("order-1"), (0, "200"))
    expect("its repeat", call("order-1"), (0, "200 (given before)"))
    # As often as the stack tries by itself, so that it is the client who waits.
    genesys.fault("execute-data-action", "status", status=429, retryAfter="1", times=4)
    expect("a call that had to wait", call("order-2"), (0, "200"))
    genesys.fault("execute-data-action", "effect-then-drop")
    expect("a call whose answer got lost", call("order-3"), (1, "outcome-unknown"))
    expect("its repeat", call("order-3"), (1, "outcome-unknown"))
    expect("effects of three calls", len(genesys.effects("echo")), 3)


def open_messaging(gateway):
    message = (EXAMPLES / "open-messaging/outbound-message.json").read_bytes()
    secret = b"a-secret-for-this-machine-only"
    signature = base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()
    headers = {"X-Hub-Signature-256": f"sha256={signature}"}
    answers = [json.loads(http(f"{gateway}/webhooks/genesys", message, headers=headers))["status"] for _ in range(2)]
    expect("a message, twice", answers, ["ACKNOWLEDGED", "DUPLICATE"])


def main():
    begun = time.monotonic()
    port = free_port()
    emulator = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile("w+") as banner,
        tempfile.TemporaryFile("w+") as log,
        process([BINARIES / "patchbay", "serve", "--port", "0"], banner),
        process([Path(sys.executable).parent / "ministack"], log, **emulator, TMPDIR=scratch, STATE_DIR=scratch),
    ):

        def addresses():
            banner.seek(0)
            return dict(re.findall(r"^ {2}(\w+) +(http://[\d.:]+)", banner.read(), re.MULTILINE))

        stack = until("address of the database", lambda: addresses() if "database" in addresses() else None)
        url = f"http://127.0.0.1:{port}"

        def is_up():
            with contextlib.suppress(OSError):
                return http(f"{url}/_ministack/health")

        until("emulator", is_up)
        genesys = Genesys(stack["simulator"])
        aws = Aws(url, stack["database"], stack["simulator"])
        step_functions(aws, genesys)
        event_bridge(aws, genesys)
        fifo(aws, genesys, url)
        web_services(aws, genesys, url)
        http_client(stack["gateway"], genesys)
        open_messaging(stack["gateway"])
        expect("calls that are not in the API", genesys.world()["anomalies"], [])
    print(f"examples: played in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
