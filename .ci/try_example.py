"""Run the README's first command as a user does: wait for the address, open it, press Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

ADDRESS = re.compile(r"http://[\w.-]+:\d+/?")
TIMEOUT = 300.0


def main(command: str) -> str:
    """Run the command, and return an error message, or an empty text if all went well."""
    # bash starts background processes with SIGINT ignored, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    example = subprocess.Popen(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert example.stdout is not None
    timer = threading.Timer(TIMEOUT, os.killpg, (example.pid, signal.SIGKILL))
    timer.start()
    output = status = ""
    try:
        for line in example.stdout:
            print(line, end="", flush=True)
            output += line
            if address := ADDRESS.search(line):
                status = wait_for_status(address[0])
                print(f"{address[0]} answers: {status}", flush=True)
                break
    finally:
        if example.poll() is None:
            os.killpg(example.pid, signal.SIGINT)
        rest = example.communicate()[0]
        timer.cancel()
    print(rest, end="", flush=True)
    if status != "200":
        return f"the example's address should answer 200: {status or 'it printed none'}"
    # After any Ctrl-C tox prints "SKIP" and "evaluation failed", and exits with 1. It prints "FAIL"
    # if the example itself failed. A negative exit status means that a signal ended the process.
    if "Traceback" in output + rest or "FAIL" in rest or example.returncode < 0:
        return "Ctrl-C did not stop the example cleanly"
    return ""


def wait_for_status(address: str) -> str:
    """Return the HTTP status of a page, or the last error if the page is not up in 10 seconds."""
    opener = build_opener(ProxyHandler({}))
    last_error = ""
    for _attempt in range(20):
        try:
            with opener.open(address, timeout=10) as page:
                return str(page.status)
        except URLError as error:
            last_error = str(error)
            time.sleep(0.5)
    return last_error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) or 0)
