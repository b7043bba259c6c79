"""The steps of the smoke script, in the order in which they are played.

Each is a function of the play; it returns what it saw, or raises `Failed` or `Skipped`. What it does to the
account and to Genesys Cloud is its text, and `--help` shows it.
"""

import json
import time
import uuid

from stack import OUTPUTS, Failed, Skipped, fetch, hub_signature, listening, until

# A rule of EventBridge takes a while to be in force, so events are delivered until one arrives.
LISTEN_SECONDS = 90
DELIVER_AGAIN_SECONDS = 15
# A queue's message, and a notice, are there within seconds; more than this is not a delay any more.
PATIENCE_SECONDS = 60


class Play:
    """One run of the script: the stack, what it may do, and what later steps need of earlier ones."""

    def __init__(self, stack, options):
        self.stack = stack
        self.options = options
        # In every id and key, so that two plays never meet.
        self.run = uuid.uuid4().hex[:12]
        # What the notices must tell of, if they can be looked at.
        self.conversations = []
        self.policies = []

    def id(self, name):
        """An id or a key of this play."""
        return f"patchbay-smoke-{self.run}-{name}"


def expect(expected, came, holds, *functions):
    """Fails the step unless it holds."""
    if not holds:
        raise Failed(expected, came, functions)


def outputs(play):
    """Reads the stack: it is deployed, and has every output."""
    stack = play.stack
    is_deployed = stack.status.endswith("_COMPLETE") and not stack.status.startswith(("ROLLBACK", "DELETE"))
    expect("a stack that is deployed", stack.status, is_deployed)
    missing = [name for name in OUTPUTS if not stack.outputs.get(name)]
    expect("every output", f"none of {', '.join(missing)}", not missing)
    return stack.status


def stream(play):
    """Reads what the table's stream is mapped to: the relay, and it is on."""
    stack = play.stack
    source = (
        stack.client("dynamodb").describe_table(TableName=stack["TableName"])["Table"].get("LatestStreamArn")
    )
    expect("a table with a stream", "a table without one", source)
    mappings = stack.client("lambda").list_event_source_mappings(EventSourceArn=source)["EventSourceMappings"]
    expect("a mapping from the table's stream to the relay", "none", mappings)
    states = ", ".join(mapping["State"] for mapping in mappings)
    expect("one mapping, Enabled", states, states == "Enabled")
    function = mappings[0]["FunctionArn"]
    expect("it to invoke the relay", function, function == stack["RelayFunctionArn"])
    return "mapped to the relay"


def schedules(play):
    """Reads the schedules: the relay's sweep and retention's resume are on."""
    stack = play.stack
    pages = stack.client("scheduler").get_paginator("list_schedules").paginate()
    targets = [it["Target"]["Arn"] for page in pages for it in page["Schedules"] if it["State"] == "ENABLED"]
    for what, function in (
        ("the relay's sweep", stack["RelayFunctionArn"]),
        ("retention's resume", stack["RetentionFunctionArn"]),
    ):
        expect(f"an enabled schedule for {what}", f"none among {len(targets)}", function in targets)
    return "the relay's sweep and retention's resume are on"


def webhook(play):
    """Delivers events, which stay in the table for EventTtlSeconds: one is recorded once, a stranger's never."""
    stack, function = play.stack, play.stack["WebhookIntakeFunctionArn"]
    settings = stack.settings(function)
    secret = stack.secret(settings["WEBHOOK_SECRETS_SECRET_ID"]).split(",")[0].strip()
    play.deliver = lambda event_id, secret=secret: _deliver(stack, event_id, secret, settings["WEBHOOK_AUTH"])

    first = play.deliver(play.id("event"))
    expect("200 ACKNOWLEDGED", first, _is(first, 200, "ACKNOWLEDGED"), function)
    repeated = play.deliver(play.id("event"))
    expect("200 DUPLICATE", repeated, _is(repeated, 200, "DUPLICATE"), function)
    refused = play.deliver(play.id("stranger"), "the-secret-of-a-stranger")
    expect("401 for a stranger's signature", refused, refused.status == 401, function)
    return "ACKNOWLEDGED, then DUPLICATE; a stranger's signature 401"


def _deliver(stack, event_id, secret, auth):
    event = {"id": event_id, "type": "patchbay.smoke", "createdTime": 1763800000000, "data": {}}
    body = json.dumps(event)
    token = {"authorization": f"Bearer {secret}"}
    headers = token if auth == "token" else {"x-hub-signature-256": hub_signature(secret, body)}
    return stack.post("/webhooks/genesys", body, headers)


def _is(answer, status, word):
    return answer.status == status and isinstance(answer.body, dict) and answer.body.get("status") == word


def bus(play):
    """Makes a queue and a rule on the bus, and removes them: a recorded event gets there through the relay."""
    expect("a webhook that works", "the step before failed", hasattr(play, "deliver"))
    with listening(play.stack, play.run, play.id("bus")) as heard:
        sent = {}
        give_up = time.monotonic() + LISTEN_SECONDS
        while time.monotonic() < give_up:
            event_id = play.id(f"bus-{len(sent)}")
            sent[event_id] = time.monotonic()
            answer = play.deliver(event_id)
            expect(
                "200 ACKNOWLEDGED",
                answer,
                _is(answer, 200, "ACKNOWLEDGED"),
                play.stack["WebhookIntakeFunctionArn"],
            )
            arrived = heard(DELIVER_AGAIN_SECONDS)
            for event in arrived:
                event_id = event["detail"]["event_id"]
                expect("an event of this play", event_id, event_id in sent)
                expect(
                    "its type as detail-type", event["detail-type"], event["detail-type"] == "patchbay.smoke"
                )
                return f"on the bus {time.monotonic() - sent[event_id]:.1f} s after it was recorded"
    came = f"none of {len(sent)}"
    raise Failed(f"an event on the bus within {LISTEN_SECONDS} s", came, [play.stack["RelayFunctionArn"]])


def data_action(play):
    """Runs --data-action once over HTTP, and has it replayed. Without one, asks for one that does not exist."""
    stack, function = play.stack, play.stack["DataActionsFunctionArn"]
    action, text = _action(play)
    path, headers = f"/data-actions/{action}/invocations", {"idempotency-key": play.id("http")}
    first = stack.post(path, text, headers, signed=True)
    if play.options.data_action:
        expect("2xx, not replayed", first, 200 <= first.status < 300 and not first.is_replayed, function)
    else:
        # Whichever it is: Genesys Cloud has taken our token, and says that there is no such action.
        expect("Genesys Cloud's 400 or 404", first, first.status in (400, 404) and not first.slug, function)
    again = stack.post(path, text, headers, signed=True)
    is_same = (again.status, again.text) == (first.status, first.text)
    expect(f"the same once more, replayed: {first}", again, is_same and again.is_replayed, function)
    unsigned = stack.post(path, text, {"idempotency-key": play.id("unsigned")})
    expect("401 or 403 for a stranger", unsigned, unsigned.status in (401, 403))
    return f"{first.status}, then replayed; for a stranger {unsigned.status}"


def queued(play):
    """The same by a message in the queue, with another key; a direct invocation is told that it has run."""
    stack, function = play.stack, play.stack["DataActionsFunctionArn"]
    sqs, url = stack.client("sqs"), stack["DataActionsQueueUrl"]
    action, text = _action(play)
    request = {"dataActionId": action, "input": json.loads(text), "idempotencyKey": play.id("queue")}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(request))

    def is_empty():
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return not any(int(count) for count in counts.values())

    # The counts are approximate: they are believed when they say the same twice.
    was_taken = until(lambda: is_empty() and (time.sleep(2) or is_empty()), PATIENCE_SECONDS)
    expect(f"the message to be taken within {PATIENCE_SECONDS} s", "it is still there", was_taken, function)
    answer = stack.invoke(function, request)
    expect(
        "replayed: true, as the message has run it",
        json.dumps(answer),
        answer.get("replayed") is True,
        function,
    )
    return f"a message was taken, and its answer is replayed: {answer['statusCode']}"


def _action(play):
    if play.options.data_action:
        return play.options.data_action, play.options.input
    return play.id("no-such-action"), "{}"


def transfer(play):
    """Transfers --conversation once, and has it replayed. Without one, asks for a call that does not exist."""
    stack, function = play.stack, play.stack["TransfersFunctionArn"]
    options, headers = play.options, {"idempotency-key": play.id("transfer")}
    if options.conversation:
        kind, _, target = options.transfer_to.partition(":")
        request = {
            "conversationId": options.conversation,
            "transferType": "blind",
            "destination": {"type": kind, "id": target},
        }
        first = stack.post("/transfers", json.dumps(request), headers, signed=True)
        expect(
            "200 or 202, not replayed", first, first.status in (200, 202) and not first.is_replayed, function
        )
        again = stack.post("/transfers", json.dumps(request), headers, signed=True)
        is_same = (again.status, again.text) == (first.status, first.text)
        expect(f"the same once more, replayed: {first}", again, is_same and again.is_replayed, function)
        play.conversations.append(options.conversation)
        return f"{first.status} {first.body['status']}, then replayed"
    if stack.settings(function).get("CRM_WEBHOOK_URL"):
        raise Skipped(
            "the CRM would hear of a call that does not exist; --conversation and --transfer-to play it"
        )
    request = {
        "conversationId": str(uuid.uuid4()),
        "transferType": "blind",
        "destination": {"type": "queue", "id": str(uuid.uuid4())},
    }
    refused = stack.post("/transfers", json.dumps(request), headers, signed=True)
    expect("404 conversation-not-found", refused, refused.slug == "conversation-not-found", function)
    return "a call that does not exist: conversation-not-found"


def retention(play):
    """Plans a policy, which changes nothing; deploys --retention-order once, and has its report repeated."""
    stack, function = play.stack, play.stack["RetentionFunctionArn"]
    policy = {
        "name": play.id("policy"),
        "objectType": "call",
        "retentionPeriod": 3650,
        "schedule": {"frequency": "DAILY"},
    }
    plan = stack.invoke(function, {"run": "plan", "licenseTier": "STANDARD", "policies": [policy]})
    planned = {it["name"]: it for it in plan.get("policies", [])}.get(policy["name"], {})
    came = json.dumps(planned or plan)[:400]
    # Another policy may be close enough for a merge or a review; "fail" is what a refused client gets.
    is_planned = planned.get("action") in ("create", "merge", "review")
    expect("a plan to create, merge or review the policy", came, is_planned, function)
    if not play.options.retention_order:
        return f"a plan: {planned['action']}; nothing was deployed"
    with open(play.options.retention_order, encoding="utf-8") as file:
        order = {**json.load(file), "run": "run", "runId": play.id("retention")}
    report = stack.invoke(function, order)
    statuses = [policy["status"] for policy in report["policies"]]
    is_deployed = bool(statuses) and set(statuses) <= {"created", "updated", "unchanged", "merged"}
    expect(
        "every policy created, updated, unchanged or merged", json.dumps(report)[:800], is_deployed, function
    )
    again = stack.invoke(function, order)
    expect("the same report for the same runId", json.dumps(again)[:400], again == report, function)
    play.policies += [it["name"] for it in report["policies"] if it["status"] != "unchanged"]
    return f"a plan: {planned['action']}; a run: {', '.join(statuses)}; repeated: the same report"


def notices(play):
    """Looks at --inbox, a subscriber that shows what it has taken: each notice is there once, and signed."""
    if not play.options.inbox:
        raise Skipped("no --inbox to look at; the CRM and whoever audits know what they have heard")
    wanted = [("conversation", it) for it in play.conversations] + [("policy", it) for it in play.policies]
    if not wanted:
        raise Skipped("nothing was done that anybody is told of")

    def arrived():
        told = {}
        for notice in fetch(play.options.inbox).body:
            body = notice["body"]
            name = body["payload"]["name"] if "payload" in body else body["conversation"]
            kind = "policy" if "payload" in body else "conversation"
            # A subscriber may hear a notice twice, and knows it by its id.
            if not notice["repeated"]:
                told.setdefault((kind, name), []).append(notice["verified"])
        return told if all(it in told for it in wanted) else None

    told = until(arrived, PATIENCE_SECONDS) or {}
    relay = play.stack["RelayFunctionArn"]
    missing = [name for kind, name in wanted if (kind, name) not in told]
    expect(
        f"a notice of each within {PATIENCE_SECONDS} s", f"none of {', '.join(missing)}", not missing, relay
    )
    for it in wanted:
        expect(f"one notice of {it[1]}, signed", f"signed: {told[it]}", told[it] == [True], relay)
    return f"{len(wanted)} arrived, each once and signed"


STEPS = (outputs, stream, schedules, webhook, bus, data_action, queued, transfer, retention, notices)
