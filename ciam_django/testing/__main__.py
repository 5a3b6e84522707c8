"""``python -m ciam_django.testing`` runs the fake CIAM until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence

from ciam_django.testing.accounts import CODE, PASSWORD
from ciam_django.testing.server import FakeCiam


def main(arguments: Sequence[str] | None = None, stopped: threading.Event | None = None) -> int:
    """Run the fake CIAM and print the value for AUTHLIB_OAUTH_CLIENTS; return 0 after Ctrl-C.

    ``arguments`` replaces ``sys.argv[1:]``. The fake also stops when ``stopped`` is set.
    """
    parser = argparse.ArgumentParser(prog="python -m ciam_django.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=8400, help="0 takes any that is free")
    parser.add_argument("--https", action="store_true", help="with a certificate of its own")
    parser.add_argument("--mode", choices=("oidc", "ciam"), default="oidc")
    options = parser.parse_args(arguments)
    fake = FakeCiam(https=options.https, port=options.port)
    try:
        fake.start()
    except OSError as error:
        parser.error(f"port {options.port}: {error.strerror}")
    try:
        client = json.dumps(fake.client(options.mode), indent=4)
        sys.stdout.write(
            f"The fake CIAM runs at {fake.url} (Ctrl-C stops it).\n"
            f'AUTHLIB_OAUTH_CLIENTS["ciam"] = {client}\n'
            f"Every account's password is {PASSWORD}, every code {CODE}.\n"
        )
        sys.stdout.flush()
        (stopped or threading.Event()).wait()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    finally:
        fake.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
