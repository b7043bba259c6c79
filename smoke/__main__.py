"""Tries a deployed stack from outside, with nothing but its name: `python smoke --stack-name patchbay`.

It runs after `sam deploy`, with the credentials of the AWS CLI, and needs Python 3.10 and boto3 (`pip install
boto3`). Everything else it finds in the stack's outputs. Without further options nothing in Genesys Cloud is
changed: it is asked for a data action and a call that do not exist, and for a plan of retention. With the ids of
a test data action and a test call, and an order of retention as JSON, those are played as well, each with its
repeat.

Each step prints ok, FAILED or skipped, with what it saw; under a step that failed stand what was expected, what
came, and the last lines of the function's log. Exit code 0: nothing failed. 1: a step failed. 2: the stack could
not be asked.

What it leaves behind: a few events of type patchbay.smoke (they reach the bus, so rules of yours that take every
type see them), two keys of a data action and their trails, and the trail of a call that does not exist.

The caller needs cloudformation:DescribeStacks, dynamodb:DescribeTable, lambda:ListEventSourceMappings,
lambda:GetFunctionConfiguration, lambda:InvokeFunction, scheduler:ListSchedules, secretsmanager:GetSecretValue on
the webhook secrets, execute-api:Invoke, sqs:CreateQueue, sqs:DeleteQueue, sqs:GetQueueAttributes,
sqs:SetQueueAttributes, sqs:ReceiveMessage, sqs:SendMessage, events:PutRule, events:PutTargets,
events:RemoveTargets, events:DeleteRule, and logs:FilterLogEvents.
"""

import argparse
import json
import sys
import time

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from stack import Failed, Skipped, Stack, last_lines
from steps import STEPS, Play


def main(arguments=None):
    """Plays every step; the exit code."""
    options = read(arguments)
    try:
        stack = Stack(options.stack_name, options.region, options.profile, options.token)
    except (BotoCoreError, ClientError) as error:
        print(f"smoke: the stack {options.stack_name} cannot be asked: {error}", file=sys.stderr)
        return 2
    print(f"smoke: stack {stack.name} in {stack.region}")
    play = Play(stack, options)
    words = [perform(step, play) for step in STEPS if not options.only or step.__name__ in options.only]
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("ok", "FAILED", "skipped"))
    print(f"smoke: {counts}")
    return 1 if "FAILED" in words else 0


def perform(step, play):
    """Plays a step, and tells of it: the word for how it ended."""
    started = time.monotonic()
    functions = ()
    try:
        word, lines = "ok", [step(play)]
    except Skipped as why:
        word, lines = "skipped", [str(why)]
    except Failed as failed:
        word, functions = "FAILED", failed.functions
        lines = ["", f"expected  {failed.expected}", f"came      {failed.came}"]
    except (BotoCoreError, ClientError, HTTPClientError) as error:
        word, lines = "FAILED", ["", "expected  an answer from AWS", f"came      {error}"]
    name = step.__name__.replace("_", " ")
    print(f"{word:8} {name:12} {time.monotonic() - started:5.1f} s  {lines[0]}".rstrip())
    for line in lines[1:]:
        print(f"           {line}")
    for function in functions:
        print(f"           the last lines of {function.rsplit(':', 1)[-1]}:")
        for line in last_lines(play.stack.client, function):
            print(f"             {line}")
    sys.stdout.flush()
    return word


def read(arguments):
    """The command line."""
    steps = "\n".join(
        f"  {step.__name__.replace('_', ' '):12} {step.__doc__.splitlines()[0]}" for step in STEPS
    )
    parser = argparse.ArgumentParser(
        prog="python smoke",
        description=__doc__,
        epilog=f"steps:\n{steps}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stack-name", required=True, help="the stack that was deployed")
    parser.add_argument("--region", help="its region, if it is not the profile's")
    parser.add_argument("--profile", help="a profile of the AWS CLI")
    parser.add_argument(
        "--token",
        help="a token of the issuer JwtIssuer, if the stack has one; else requests are signed with IAM",
    )
    parser.add_argument(
        "--data-action", metavar="ID", help="a data action that may be run twice, with two keys"
    )
    parser.add_argument("--input", metavar="JSON", default="{}", help="its input; {} without this")
    parser.add_argument(
        "--conversation", metavar="ID", help="a call that an agent has, and that may be transferred"
    )
    parser.add_argument(
        "--transfer-to", metavar="TYPE:ID", help="where to: queue:ID, user:ID or external:ADDRESS"
    )
    parser.add_argument(
        "--retention-order", metavar="FILE", help="an order of retention, as JSON, that may be deployed"
    )
    parser.add_argument(
        "--inbox", metavar="URL", help="a subscriber that shows its notices, as that of `patchbay serve` does"
    )
    parser.add_argument("--only", metavar="STEPS", type=_steps, help="these steps only, separated by commas")
    options = parser.parse_args(arguments)
    if bool(options.conversation) != bool(options.transfer_to):
        parser.error("--conversation and --transfer-to belong together")
    try:
        json.loads(options.input)
    except ValueError as error:
        parser.error(f"--input is not JSON: {error}")
    return options


def _steps(text):
    names = {step.__name__ for step in STEPS}
    chosen = [name.strip().replace(" ", "_") for name in text.split(",")]
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no step {', '.join(unknown)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
