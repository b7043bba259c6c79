"""What Schemathesis cannot know of these routes: what is there to be asked for, how a webhook is signed, and what tells
an answer of a data action from a problem.

Whatever is chosen here follows from the request itself, so that the same request is always treated the same.
"""

import atexit
import base64
import collections
import hashlib
import hmac
import json
import os
import time
import urllib.request

import schemathesis
from schemathesis.core.failures import Failure

SIMULATOR = os.environ["SIMULATOR"]
# The secret of every stack on one machine.
SECRET = b"a-secret-for-this-machine-only"

# Data actions that answer as actions may: their own statuses, other content types, nothing at all.
ACTIONS = {
    "echo": None,
    "created": {"status": 201, "body": {"made": True}},
    "nothing": {"status": 204, "contentType": "text/plain"},
    "page": {"status": 200, "contentType": "text/html; charset=utf-8", "body": "<p>ok</p>"},
    "bad": {"status": 400, "contentType": "text/plain", "body": "no"},
    "missing": {"status": 404, "body": {"code": "not.found"}},
    "conflict": {"status": 409, "body": {"code": "conflict"}},
    "teapot": {"status": 418, "contentType": "text/plain", "body": "short and stout"},
    "unprocessable": {"status": 422, "body": {"code": "unprocessable"}},
}
QUEUES = ["support", "night-shift"]
USERS = ["bob", "carol"]


def declare(what, value):
    """Tells the stand-in for Genesys Cloud what there is."""
    request = urllib.request.Request(f"{SIMULATOR}/_simulator/{what}", json.dumps(value).encode(), method="PUT")
    urllib.request.urlopen(request).close()


for name, behaviour in ACTIONS.items():
    if behaviour is not None:
        declare(f"data-actions/{name}", behaviour)


def chance(*parts):
    """A number that looks drawn, and is the same for the same parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Says what the document can only say in words: on the guides' surface an action's input may be any JSON value."""
    if os.environ["SURFACE"] == "guide":
        route = raw_schema["paths"]["/data-actions/{dataActionId}/invocations"]["post"]
        route["requestBody"]["content"]["application/json"]["schema"] = {}


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    if path == "/webhooks/genesys":
        kwargs["auth"] = sign
    elif path == "/transfers":
        give_something_to_transfer(case)
    else:
        name_an_action(case)


def name_an_action(case):
    """Three of four requests name an action that there is, unless the id is what is wrong with the request."""
    drawn = chance(case.path_parameters, case.body)
    if is_meant_to_be_valid(case) and drawn % 4:
        case.path_parameters = {"dataActionId": sorted(ACTIONS)[drawn % len(ACTIONS)]}


def give_something_to_transfer(case):
    """Three of four valid orders are about a call that there is, and as many to somewhere that there is. An order is
    never changed itself: Schemathesis makes others from it."""
    order = case.body
    if not is_meant_to_be_valid(case) or not isinstance(order, dict):
        return
    drawn = chance(order, case.headers)
    there_is = {"queue": QUEUES, "user": USERS}.get(order["destination"]["type"])
    if drawn % 4:
        declare(f"conversations/call-{drawn}", {"agent": "alice"})
        order = {**order, "conversationId": f"call-{drawn}"}
    if there_is and drawn % 16 > 3:
        order = {**order, "destination": {**order["destination"], "id": there_is[drawn // 16 % 2]}}
    case.body = order


def is_meant_to_be_valid(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


def sign(request):
    """Of eight deliveries two are signed in base64, one in hex, three as Standard Webhooks has it; one is signed with
    another secret, and one bears what Schemathesis made up."""
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    drawn = chance(body) % 8
    request.is_signed = drawn < 6
    if drawn < 3:
        mac = hmac.digest(SECRET, body, "sha256")
        request.headers["X-Hub-Signature-256"] = "sha256=" + (mac.hex() if drawn == 2 else text(mac))
    elif drawn < 6:
        identity, sent_at = "msg_1", str(int(time.time()))
        mac = hmac.digest(SECRET, f"{identity}.{sent_at}.".encode() + body, "sha256")
        request.headers["webhook-id"] = identity
        request.headers["webhook-timestamp"] = sent_at
        request.headers["webhook-signature"] = "v1," + text(mac)
    elif drawn == 6:
        request.headers["X-Hub-Signature-256"] = "sha256=" + text(hmac.digest(b"another", body, "sha256"))
    return request


def text(mac):
    return base64.b64encode(mac).decode()


@schemathesis.check
def a_signature_decides(context, response, case):
    """A delivery is turned away if and only if it was not signed with a secret of ours."""
    is_signed = getattr(response.request, "is_signed", None)
    if is_signed is not None and is_signed == (response.status_code == 401):
        raise Failure(
            operation=case.operation.label,
            title="Signature and answer disagree",
            message=f"signed: {is_signed}, answered: {response.status_code}",
        )


@schemathesis.check
def a_valid_request_is_not_called_invalid(context, response, case):
    """A data action may answer 400 itself, so its status alone does not tell whether we understood the request."""
    if is_meant_to_be_valid(case) and b"urn:patchbay:problem:invalid-request" in response.content:
        raise Failure(
            operation=case.operation.label,
            title="A valid request was called invalid",
            message=response.content.decode(),
        )


@schemathesis.check
def an_answer_bears_its_key_or_is_a_problem(context, response, case):
    """What a data action may answer with is anything, so this is what the document says of it beside the schema."""
    if case.operation.path == "/webhooks/genesys":
        return
    is_problem = response.headers.get("content-type") == ["application/problem+json"]
    bears_key = "idempotency-key" in response.headers
    can_be_an_answer = response.status_code // 100 in (2, 4) and response.status_code not in (401, 403, 408, 429)
    if bears_key != (not is_problem) or (bears_key and not can_be_an_answer):
        raise Failure(
            operation=case.operation.label,
            title="Neither an answer with its key nor a problem",
            message=f"status: {response.status_code}, headers: {response.headers}",
        )


seen = collections.Counter()


@schemathesis.hook
def after_call(context, case, response):
    slug = response.content.partition(b"urn:patchbay:problem:")[2].partition(b'"')[0].decode()
    seen[case.operation.path, response.status_code, slug or "-"] += 1


@atexit.register
def tell():
    """What was met, so that nobody takes a run that was turned away at every door for one that found nothing."""
    for (path, status, slug), times in sorted(seen.items()):
        print(f"{times:6} {path:42} {status} {slug}")
