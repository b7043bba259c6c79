"""Deploys template.yaml and the packaged functions on this machine, and plays the smoke script and more.

In the place of AWS stands ministack, which runs the functions as processes, enforces their roles (but for
conditions on the keys of the table) and forgets everything at the end; in the place of Genesys Cloud and of the
CRM stand the simulator and the inbox of `patchbay serve`. Nothing listens beyond the loopback address.

Three things are done otherwise than on AWS:

* ministack's host names do not resolve on every machine: the output HttpApiUrl names a path instead.
* Alarms over an expression of several metrics are left out, because ministack refuses them.
* The template takes https addresses only, and the relay sends to public ones only. The simulator and the inbox
  are neither, so their addresses are set in the deployed functions, where no parameter could set them.
"""

import argparse
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from processes import Wrong, ask, clean_environment, free_port, ministack, patchbay, until
from translation import functions, translate

ROOT = Path(__file__).resolve().parent.parent.parent
REGION, ACCOUNT, STACK, BUCKET = "eu-west-1", "000000000000", "patchbay", "patchbay-packages"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# Nothing here may hang for longer than all of it may take.
LIMIT_SECONDS = 230

WEBHOOK_SECRET = "a-webhook-secret"
# The OAuth client that the simulator knows.
GENESYS_CREDENTIALS = {"client_id": "simulated-client", "client_secret": "simulated-secret"}
# The inbox of `patchbay serve` checks signatures with this one.
NOTICE_SECRET = "another-secret-for-this-machine-only"
ACTION, CONVERSATION = "custom_-_create-ticket", "call-of-the-check"
# These are in the simulator from the beginning.
WRAP_UP_ACTION, QUEUE, AGENT = "wrap-up", "support", "alice"
SCHEDULED = {
    "name": "Scheduled calls",
    "objectType": "call",
    "retentionPeriod": 365,
    "schedule": {"frequency": "DAILY"},
}
ORDERED = {
    "name": "Ordered chats",
    "objectType": "chat",
    "retentionPeriod": 60,
    "schedule": {"frequency": "DAILY"},
}


class Check:
    """One deployment, and what is asked of it."""

    def __init__(self, options, directory, aws, simulator, inbox):
        self.options, self.directory = options, directory
        self.aws, self.simulator, self.inbox = aws, simulator, inbox
        self.source = options.template.read_text(encoding="utf-8")
        self.clients = {}
        self.started = time.monotonic()

    def client(self, service):
        """boto3's client of a service of the engine."""
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service,
                endpoint_url=self.aws,
                region_name=REGION,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=Config(proxies={}, retries={"total_max_attempts": 1}),
            )
        return self.clients[service]

    def say(self, text):
        """Tells how far it is."""
        print(f"deployment: {time.monotonic() - self.started:5.1f} s  {text}", flush=True)

    def upload(self):
        """Puts the packages where `sam deploy` puts them."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        places = {}
        for name, binary in functions(self.source).items():
            package = self.options.packages / f"{binary}.zip"
            if not package.exists():
                raise Wrong(f"expected {package}; it is not there: .ci/package makes it")
            s3.upload_file(str(package), BUCKET, package.name)
            places[name] = f"s3://{BUCKET}/{package.name}"
        self.say(f"{len(places)} packages uploaded")
        return places

    def parameters(self):
        """The template's parameters that have no default, and those that switch on what is checked."""
        secrets = self.client("secretsmanager")

        def secret(name, value):
            return secrets.create_secret(Name=name, SecretString=value)["ARN"]

        return {
            "Architecture": "x86_64",
            "WebhookSecretsSecretArn": secret("webhooks", f"{WEBHOOK_SECRET}, an-older-webhook-secret"),
            "GenesysCredentialsSecretArn": secret("genesys", json.dumps(GENESYS_CREDENTIALS)),
            "NoticeSigningSecretsSecretArn": secret("notices", NOTICE_SECRET),
            "AuditPiiKeySecretArn": secret("audit", "a-key-for-commitments"),
            "GenesysRegion": "mypurecloud.ie",
            "ConversationEndedDataActionId": WRAP_UP_ACTION,
            "RetentionPolicies": json.dumps([SCHEDULED]),
            "RetentionSchedule": "rate(1 minute)",
        }

    def deploy(self):
        """Deploys the translated template."""
        places = self.upload()
        template = translate(self.source, places, self.aws)
        text = json.dumps(template, indent=1)
        (self.directory / "deployed.json").write_text(text, encoding="utf-8")
        self.client("s3").put_object(Bucket=BUCKET, Key="template.json", Body=text.encode())
        values = {name: value for name, value in self.parameters().items() if name in template["Parameters"]}
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=STACK,
            TemplateURL=f"{self.aws}/{BUCKET}/template.json",
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
            Capabilities=["CAPABILITY_IAM"],
        )

        def is_deployed():
            status = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
            if status == "CREATE_IN_PROGRESS" or status == "CREATE_COMPLETE":
                return status == "CREATE_COMPLETE", status
            events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
            whys = [
                f"{it['LogicalResourceId']}: {it.get('ResourceStatusReason')}"
                for it in events
                if "FAILED" in it["ResourceStatus"]
            ]
            raise Wrong(f"expected the stack to be created; came {status}\n" + "\n".join(whys))

        until("the stack to be created", is_deployed, 60)
        self.say(f"{len(template['Resources'])} resources deployed")

    def aim(self):
        """Aims the functions at the simulator and the inbox, which no parameter of the template can do."""
        aimed = {
            "GENESYS_API_URL": self.simulator,
            "GENESYS_LOGIN_URL": self.simulator,
            "CRM_WEBHOOK_URL": self.inbox,
            "AUDIT_WEBHOOK_URL": self.inbox,
            "NOTICE_ALLOW_PRIVATE": "true",
        }
        wanted = {
            "DataActionsFunction": ("GENESYS_API_URL", "GENESYS_LOGIN_URL"),
            "TransfersFunction": ("GENESYS_API_URL", "GENESYS_LOGIN_URL", "CRM_WEBHOOK_URL"),
            "RetentionFunction": ("GENESYS_API_URL", "GENESYS_LOGIN_URL", "AUDIT_WEBHOOK_URL"),
            "RelayFunction": ("NOTICE_ALLOW_PRIVATE",),
        }
        functions_of = self.client("lambda")
        for resource, names in wanted.items():
            name = self.physical(resource)
            variables = functions_of.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            variables |= {it: aimed[it] for it in names}
            functions_of.update_function_configuration(
                FunctionName=name, Environment={"Variables": variables}
            )
        self.say("functions aimed at the simulator and the inbox")

    def physical(self, resource):
        """What a resource of the template is called in the stack."""
        described = self.client("cloudformation").describe_stack_resource(
            StackName=STACK, LogicalResourceId=resource
        )
        return described["StackResourceDetail"]["PhysicalResourceId"]

    def populate(self):
        """Declares in the simulator what the smoke script may use."""
        panel = f"{self.simulator}/_simulator"
        ask(f"{panel}/data-actions/{ACTION}", {"body": {"ticket": 4711}}, "PUT")
        ask(f"{panel}/conversations/{CONVERSATION}", {"agent": AGENT}, "PUT")

    def smoke(self, *arguments):
        """Plays the smoke script as its users do, but for the endpoint."""
        environment = clean_environment(
            **CREDENTIALS, AWS_ENDPOINT_URL=self.aws, AWS_EC2_METADATA_DISABLED="true", PYTHONUNBUFFERED="1"
        )
        command = [sys.executable, str(ROOT / "smoke"), "--stack-name", STACK, "--region", REGION, *arguments]
        code = subprocess.run(command, env=environment, timeout=150, check=False).returncode
        if code:
            raise Wrong(f"expected the smoke script to pass; it ended with {code}, and says above why")

    def harmless_smoke(self):
        """The smoke script as it is without further options: nothing changes in Genesys Cloud."""
        self.smoke()
        seen = ask(f"{self.simulator}/_simulator")
        ran = [action for action, effects in seen["effects"].items() if effects["count"]]
        # The schedule is at work meanwhile.
        written = [it for it in seen["retention"]["writes"] if SCHEDULED["name"] not in json.dumps(it)]
        changes = ran + seen["transfers"] + written
        self.expect("nothing to have changed in Genesys Cloud", changes, [])
        self.say("the smoke script passed without touching anything")

    def whole_smoke(self):
        """All of the smoke script, with everything it may do to a test organisation."""
        order = self.directory / "order.json"
        order.write_text(json.dumps({"licenseTier": "STANDARD", "policies": [ORDERED]}), encoding="utf-8")
        self.smoke(
            *("--data-action", ACTION, "--input", '{"customer": "c-9"}'),
            *("--conversation", CONVERSATION, "--transfer-to", f"queue:{QUEUE}"),
            *("--retention-order", str(order), "--inbox", self.inbox),
        )
        self.say("the smoke script passed")

    def effects(self):
        """What has happened in Genesys Cloud, and how often."""
        seen = ask(f"{self.simulator}/_simulator")
        # One over HTTP and one from the queue, each with its repeat.
        self.expect("the data action to have run twice", seen["effects"].get(ACTION, {}).get("count"), 2)
        moved = [it for it in seen["transfers"] if CONVERSATION in json.dumps(it)]
        self.expect("the call to have been transferred once", len(moved), 1)
        written = [it for it in seen["retention"]["policies"] if it["name"] == ORDERED["name"]]
        self.expect("one policy to have been ordered", len(written), 1)
        self.say("in Genesys Cloud everything happened as often as it was asked for")

    def rule(self):
        """A caller hangs up: recorded, published, and taken by the template's rule, which runs a data action."""
        notification = {
            "topicName": "v2.detail.events.conversation.c-1.customer.end",
            "version": "2",
            "eventBody": {
                "eventTime": 1763800000500,
                "conversationId": "c-1",
                "participantId": "p-1",
                "mediaType": "VOICE",
            },
            "metadata": {"CorrelationId": "x-1"},
        }
        envelope = {
            "version": "0",
            "id": "0f5a-envelope",
            "source": "aws.partner/genesys.com/cloud/org/1",
            "detail-type": "v2.detail.events.conversation.{id}.customer.end",
            "account": ACCOUNT,
            "time": "2025-11-22T08:26:40Z",
            "region": REGION,
            "resources": [],
            "detail": notification,
        }
        function = self.physical("WebhookIntakeFunction")
        for expected in ("ACKNOWLEDGED", "DUPLICATE"):
            answered = self.client("lambda").invoke(
                FunctionName=function, Payload=json.dumps(envelope).encode()
            )
            text = answered["Payload"].read().decode()
            self.expect(
                f"{expected} for an event of EventBridge",
                json.loads(text).get("status", text),
                expected,
                function,
            )

        def has_run():
            seen = ask(f"{self.simulator}/_simulator")["effects"].get(WRAP_UP_ACTION, {}).get("count")
            return seen == 1, f"{seen} runs"

        self.within(
            "the rule to run the data action once", has_run, 45, "RelayFunction", "DataActionsFunction"
        )
        self.say("an event of EventBridge was recorded and published, and the rule ran a data action once")

    def stream_alone(self):
        """With the sweep switched off, what reaches the bus has come by the stream."""
        self.sweep("DISABLED")
        self.smoke("--only", "outputs,stream,webhook,bus")
        self.sweep("ENABLED")
        self.say("without the sweep, the stream alone brought an event to the bus")

    def sweep(self, state):
        """Switches the relay's schedule on or off."""
        scheduler = self.client("scheduler")
        relay = self.client("lambda").get_function(FunctionName=self.physical("RelayFunction"))[
            "Configuration"
        ]["FunctionArn"]
        known = [it for it in scheduler.list_schedules()["Schedules"] if it["Target"]["Arn"] == relay]
        self.expect("one schedule of the relay", len(known), 1)
        schedule = scheduler.get_schedule(Name=known[0]["Name"], GroupName=known[0]["GroupName"])
        kept = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")
        scheduler.update_schedule(State=state, **{it: schedule[it] for it in kept})

    def schedule(self):
        """Retention's own schedule deploys the policies that are a parameter of the template."""

        def is_there():
            policies = ask(f"{self.simulator}/_simulator")["retention"]["policies"]
            named = [it for it in policies if it["name"] == SCHEDULED["name"]]
            return len(named) == 1, f"{len(named)} of {len(policies)} policies"

        self.within("the scheduled policy to be deployed", is_there, 100, "RetentionFunction")
        self.say("the schedule deployed the retention policy of the parameters")

    def nothing_strange(self):
        """No call that is not in Genesys Cloud's API, and nothing in the queues of what failed."""
        seen = ask(f"{self.simulator}/_simulator")["anomalies"]
        self.expect("no call that is not in the API", seen, [])
        sqs = self.client("sqs")
        for url in sqs.list_queues().get("QueueUrls", []):
            if "Failures" in url or "DeadLetters" in url:
                names = ["ApproximateNumberOfMessages"]
                count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]]
                body = (
                    sqs.receive_message(QueueUrl=url).get("Messages", [{}])[0].get("Body")
                    if int(count)
                    else ""
                )
                self.expect(f"nothing in {url.rsplit('/', 1)[-1]}", f"{count} {body}".strip(), "0")
        self.say("nothing was asked of Genesys Cloud that it does not know, and nothing failed")

    def expect(self, what, seen, expected, *functions_of):
        """Stops the check unless the two are the same."""
        if seen != expected:
            raise Wrong(f"expected {what} ({expected}); came {seen}" + self.logs(functions_of))

    def within(self, what, holds, seconds, *resources):
        """Waits for something, and shows the logs of those who should have done it."""
        try:
            until(what, holds, seconds)
        except Wrong as wrong:
            raise Wrong(str(wrong) + self.logs([self.physical(it) for it in resources])) from None

    def logs(self, names):
        """The last lines of functions' logs."""
        sys.path.append(str(ROOT / "smoke"))
        from stack import last_lines

        shown = ""
        for name in names:
            lines = "\n".join(f"  {line}" for line in last_lines(self.client, name))
            shown += f"\nthe last lines of {name}:\n{lines}"
        return shown


STEPS = (
    "deploy",
    "aim",
    "populate",
    "stream_alone",
    "harmless_smoke",
    "whole_smoke",
    "effects",
    "rule",
    "schedule",
    "nothing_strange",
)


def main():
    """The exit code of the whole check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--packages", type=Path, required=True, help="where the five zip files lie")
    parser.add_argument("--patchbay", type=Path, required=True, help="the program")
    parser.add_argument("--directory", type=Path, required=True, help="for logs; emptied first")
    options = parser.parse_args()
    shutil.rmtree(options.directory, ignore_errors=True)
    options.directory.mkdir(parents=True)
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGTERM, _ended)
    signal.alarm(LIMIT_SECONDS)
    step = "start"
    with contextlib.ExitStack() as started:
        try:
            aws = started.enter_context(
                ministack(options.directory, free_port(), REGION, ACCOUNT, CREDENTIALS)
            )
            simulator, inbox = started.enter_context(patchbay(options.patchbay, options.directory))
            check = Check(options, options.directory, aws, simulator, inbox)
            for step in STEPS:
                getattr(check, step)()
        except (Wrong, BotoCoreError, ClientError, OSError, subprocess.TimeoutExpired) as error:
            print(f"deployment: FAILED in the step {step}: {error}", file=sys.stderr)
            print(f"deployment: what everybody logged is in {options.directory}", file=sys.stderr)
            return 1
    print("deployment: passed, and everything is stopped")
    return 0


def _too_long(*_):
    raise Wrong(f"expected all of it within {LIMIT_SECONDS} s; it takes longer")


def _ended(*_):
    raise Wrong("expected to end by itself; was told to stop")


if __name__ == "__main__":
    sys.exit(main())
