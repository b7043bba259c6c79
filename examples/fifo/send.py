#!/usr/bin/env python3
"""Asks for a data action or a transfer, in the order of its conversation.

    python3 send.py QUEUE_URL CONVERSATION KEY BODY

BODY is that of a direct invocation, without the key. Needs boto3, and sqs:SendMessage on the queue. Sent twice, it is run
once: within five minutes SQS drops the second message, and after that the key does.
"""

import json
import sys

import boto3


def send(queue_url, conversation, key, body):
    message = {**body, "idempotencyKey": key}
    # SQS takes up to 128 letters, digits and punctuation for either name.
    return boto3.client("sqs").send_message(
        QueueUrl=queue_url,
        MessageGroupId=conversation,
        MessageDeduplicationId=key,
        MessageBody=json.dumps(message),
    )["MessageId"]


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    print(send(*sys.argv[1:4], json.loads(sys.argv[4])))
