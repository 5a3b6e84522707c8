"""Run the example with one command: the database, the fake CIAM and the site."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.signals import setting_changed
from django.core.wsgi import get_wsgi_application

from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.app import ciam_app
from ciam_django.client.person import issuer_of
from ciam_django.testing import FakeCiam
from example import tenant

HOST: Final = "127.0.0.1"
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Command(BaseCommand):
    """Run the example until Ctrl-C."""

    help = "Run the example site, with a fake CIAM unless the environment names a real tenant."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options for the ports and for the mode of the fake."""
        parser.add_argument("--port", type=int, default=8000, help="the site's port")
        parser.add_argument(
            "--fake-port", type=int, default=tenant.FAKE_PORT, help="the fake CIAM's port"
        )
        parser.add_argument(
            "--mode",
            choices=["oidc", "ciam"],
            default="oidc",
            help="against the fake: OpenID Connect, or CIAM's own OAuth",
        )

    def handle(self, *args: Any, port: int, fake_port: int, mode: str, **options: Any) -> None:
        """Serve until SIGINT or SIGTERM."""
        call_command("migrate", verbosity=0, interactive=False)
        for number in _STOP_SIGNALS:
            signal.signal(number, _stop)
        with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
            if tenant.USES_FAKE:
                fake = stack.enter_context(FakeCiam(port=_free_port(fake_port)))
                fake.consents = tenant.TERMS
                change_setting("AUTHLIB_OAUTH_CLIENTS", {"ciam": fake.client(mode)})
                change_setting("CIAM_SOCIAL_PROVIDERS", tenant.social_providers(fake.url))
                # The fake's issuer differs by port and mode. Identities of another issuer match no
                # account of this run.
                CiamIdentity.objects.exclude(issuer=issuer_of(ciam_app())).delete()
            server = stack.enter_context(_site_server(_free_port(port)))
            self._write_line(
                f"The example runs at http://{HOST}:{server.server_port}/  (Ctrl-C stops it)"
            )
            self._write_line(
                f"Its fake CIAM runs at {_origin_of(settings.AUTHLIB_OAUTH_CLIENTS['ciam'])}"
            )
            server.serve_forever()
        self._write_line("Stopped.")

    def _write_line(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def change_setting(setting: str, value: dict[str, Any]) -> None:
    """Set a setting of the running process, and send ``setting_changed``."""
    setattr(settings, setting, value)
    setting_changed.send(sender=Command, setting=setting, value=value, enter=True)


@contextlib.contextmanager
def _site_server(port: int) -> Iterator[ThreadedWSGIServer]:
    server = ThreadedWSGIServer((HOST, port), WSGIRequestHandler)
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    try:
        yield server
    finally:
        server.server_close()


def _free_port(wanted: int) -> int:
    """Return the wanted port, or another free port where the wanted port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _origin_of(client: dict[str, Any]) -> str:
    url = urlsplit(client.get("server_metadata_url") or client.get("authorize_url") or "")
    return f"{url.scheme}://{url.netloc}/"


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # A second signal must not interrupt the shutdown.
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, signal.SIG_IGN)
    raise KeyboardInterrupt
