"""What stands in for AWS, Genesys Cloud and the CRM: programs that are started, and stopped for certain."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

# Loopback is reached past any proxy of the machine.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Wrong(Exception):
    """The check did not go as it must; the message says what was expected and what came."""


def ask(url, value=None, method=None):
    """What a GET answers, or a PUT or POST of a JSON value: JSON, or None."""
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(
        url, data=data, method=method, headers={"content-type": "application/json"}
    )
    with _direct.open(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def until(what, holds, seconds):
    """Asks twice a second until it holds; if it never does, says what was waited for, and what came."""
    give_up = time.monotonic() + seconds
    while True:
        does_hold, seen = holds()
        if does_hold:
            return seen
        if time.monotonic() > give_up:
            raise Wrong(f"expected {what} within {seconds} s; came {seen}")
        # Others do their part meanwhile, and none of them tells when it is done.
        time.sleep(0.5)


def free_port():
    """A port of the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def program(arguments, log, environment):
    """Runs a program with a process group of its own, and ends all of the group."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number, patience in ((signal.SIGINT, 5), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            if not _group_lives(process.pid):
                break


def _group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def clean_environment(**variables):
    """What a program needs of this machine, and nothing that would reach a real account or a proxy."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ
    }
    return kept | variables


@contextlib.contextmanager
def ministack(directory, port, region, account, credentials):
    """AWS on this machine; its address. The functions' roles are enforced."""
    address = f"http://127.0.0.1:{port}"
    scratch = directory / "scratch"
    scratch.mkdir()
    environment = clean_environment(
        **credentials,
        AWS_DEFAULT_REGION=region,
        # Where the functions find it, too.
        AWS_ENDPOINT_URL=address,
        BIND_HOST="127.0.0.1",
        MINISTACK_HOST="127.0.0.1",
        MINISTACK_REGION=region,
        MINISTACK_ACCOUNT_ID=account,
        GATEWAY_PORT=str(port),
        AUTH="true",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        TMPDIR=str(scratch),
        PYTHONUNBUFFERED="1",
    )
    log = directory / "ministack.log"
    with program([sys.executable, "-m", "ministack"], log, environment) as process:

        def is_up():
            if process.poll() is not None:
                raise Wrong(f"expected ministack to start; it ended with {process.returncode}:\n{tail(log)}")
            try:
                return True, ask(f"{address}/_ministack/health")
            except OSError as error:
                return False, error

        until("ministack to answer", is_up, 30)
        yield address


@contextlib.contextmanager
def patchbay(program_path, directory):
    """Patchbay on this machine, for its simulator and its inbox; their addresses."""
    log = directory / "patchbay.log"
    arguments = [str(program_path), "serve", "--port", "0"]
    with program(arguments, log, clean_environment()) as process:

        def is_up():
            text = log.read_text(encoding="utf-8", errors="replace")
            if process.poll() is not None:
                raise Wrong(f"expected patchbay to start; it ended with {process.returncode}:\n{text}")
            found = dict(re.findall(r"^ +(simulator|inbox) +(http://\S+)", text, re.MULTILINE))
            return len(found) == 2, found

        found = until("patchbay to say its addresses", is_up, 30)
        yield found["simulator"], found["inbox"]


def tail(path, count=30):
    """The last lines of a file."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-count:])
