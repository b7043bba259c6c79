#!/usr/bin/env python3
"""Runs a data action over HTTP, once, however often it has to be asked for.

    python3 call.py ROUTE_URL KEY BODY

ROUTE_URL is …/data-actions/{dataActionId}/invocations or …/transfers. The request is signed with the credentials and the
region of the AWS CLI, and repeated with the same key and body for as long as a repeat can help: the problem document says
so, and Retry-After says when. Needs botocore, and execute-api:Invoke on the route.
"""

import json
import sys
import time
import urllib.error
import urllib.request

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

# A little more than the 28 s after which the function answers at the latest.
TIMEOUT_SECONDS = 35


class Refused(Exception):
    """A problem that no repeat helps with. Its slug says which."""

    def __init__(self, problem):
        self.slug = problem["type"].rpartition(":")[2]
        super().__init__(f"{self.slug}: {problem['detail']}")


def call(url, key, body, patience_seconds=300):
    """The answer's status, body, and whether it was given before. Refused, or TimeoutError when patience is at its end."""
    ends_at = time.monotonic() + patience_seconds
    while True:
        status, headers, text = send(url, key, body)
        wait = patience_for(status, headers, text)
        if wait is None:
            return status, text, headers.get("Idempotent-Replayed") == "true"
        if time.monotonic() + wait > ends_at:
            raise TimeoutError(f"no answer after {patience_seconds} s; the key is {key}")
        time.sleep(wait)


def patience_for(status, headers, text):
    """How long to wait before the next attempt, in seconds, or None if this is the answer."""
    if status is None:
        # Nobody knows whether the request arrived. The key makes it safe to ask again.
        return 2
    if headers.get("Content-Type") == "application/problem+json":
        problem = json.loads(text)
        if not problem.get("type", "").startswith("urn:patchbay:problem:"):
            # A data action may answer with a problem document of its own.
            return None
        if problem["retryable"]:
            return int(headers.get("Retry-After", "5"))
        raise Refused(problem)
    if "Idempotency-Key" not in headers and (status == 429 or status >= 500):
        # API Gateway's own: it is throttled, or the function did not answer in time.
        return 5
    return None


def send(url, key, body):
    # Prefer lets a repeat wait for the first attempt's answer instead of being told that it is in progress.
    headers = {"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": "wait=20"}
    request = AWSRequest("POST", url, data=body.encode(), headers=headers)
    session = botocore.session.get_session()
    # Signed anew each time: a signature is good for five minutes.
    SigV4Auth(session.get_credentials(), "execute-api", session.get_config_variable("region")).add_auth(request)
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, request.data, dict(request.headers), method="POST"), timeout=TIMEOUT_SECONDS
        ) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read().decode()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None, {}, ""


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        status, text, replayed = call(*sys.argv[1:])
    except (Refused, TimeoutError) as reason:
        sys.exit(str(reason))
    print(f"{status}{' (given before)' if replayed else ''}", file=sys.stderr)
    print(text)
