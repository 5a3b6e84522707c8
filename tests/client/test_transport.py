"""HTTP requests to CIAM: one pool, one deadline, limited body size."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3.util.connection
from django.core.cache import cache
from pytest_django.fixtures import Settings
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import InsecureRequestWarning

from ciam_django.client import CiamClient, circuit_breaker, transport
from ciam_django.client.app import ciam_app
from ciam_django.client.endpoints import ENDPOINTS, OAUTH_ENDPOINTS
from ciam_django.client.transport import LARGEST_BODY, HttpSession
from ciam_django.errors import CiamError, raising_ciam_errors
from ciam_django.testing import FakeCiam
from tests.browser import query_of
from tests.rows import for_each_row


@pytest.fixture
def mode() -> str:
    return "oidc"


def discovery_of(ciam: FakeCiam) -> str:
    return str(ciam.client("oidc")["server_metadata_url"])


def fetch_discovery(ciam: FakeCiam, **kwargs: object) -> requests.Response:
    with raising_ciam_errors("api"), HttpSession(**kwargs) as session:
        return session.request("GET", discovery_of(ciam), withhold_token=True)


def code_of(ciam: FakeCiam, **kwargs: object) -> str:
    with pytest.raises(CiamError) as raised:
        fetch_discovery(ciam, **kwargs)
    close_circuits()
    return raised.value.code


def close_circuits() -> None:
    """Let the next call begin, although this call has failed."""
    circuit_breaker.forget_circuits()
    cache.clear()


def test_calls_share_a_connection(ciam: FakeCiam) -> None:
    transport._discard_connections()
    before = ciam.connections
    for _ in range(5):
        assert fetch_discovery(ciam).json()["issuer"]

    assert ciam.connections == before + 1


def test_no_cookie_is_stored_or_sent(ciam: FakeCiam) -> None:
    with HttpSession() as session:
        first = session.request("GET", discovery_of(ciam), withhold_token=True)
        session.request("GET", discovery_of(ciam), withhold_token=True)

    assert "Set-Cookie" in first.headers
    assert not session.cookies
    assert all("cookie" not in {n.lower() for n in r.headers} for r in ciam.requests)


@pytest.mark.parametrize("behaviour", ["redirect", "redirect_307"])
def test_a_redirect_is_not_followed(ciam: FakeCiam, behaviour: str) -> None:
    ciam.misbehave("discovery", behaviour)
    response = fetch_discovery(ciam)

    assert response.is_redirect
    assert [r.stage for r in ciam.requests] == ["discovery"]


@pytest.mark.slow("waits for deadlines")
@pytest.mark.parametrize(
    "behaviour", ["slow", "silent", "drip_status", "drip_headers", "drip_body"]
)
def test_the_timeout_limits_the_whole_call(
    ciam: FakeCiam, behaviour: str, settings: Settings
) -> None:
    settings.CIAM_TIMEOUT = 0.4
    ciam.misbehave("discovery", behaviour)
    began = time.monotonic()

    assert code_of(ciam) == "timeout"
    # The fake would take 30 seconds. The limit of 10 seconds leaves time for a busy machine.
    assert 0.4 <= time.monotonic() - began < 10
    # A busy fake may not have received the call yet.
    assert len(ciam.requests) <= 1


@pytest.mark.parametrize("behaviour", ["enormous", "gzip_bomb", "truncated"])
def test_a_body_that_is_too_large_or_truncated_is_unreadable(
    ciam: FakeCiam, behaviour: str
) -> None:
    ciam.misbehave("discovery", behaviour)

    assert code_of(ciam) == "unreadable_answer"
    assert fetch_discovery(ciam).ok
    assert LARGEST_BODY == 1024 * 1024


def test_a_reset_means_no_connection(ciam: FakeCiam) -> None:
    ciam.misbehave("discovery", "reset")

    assert code_of(ciam) == "no_connection"


def test_urllib3_does_not_log_the_urls_of_our_calls(
    ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    transport._discard_connections()
    url = f"{discovery_of(ciam)}?code=S3cret"
    with caplog.at_level(logging.DEBUG), HttpSession() as session:
        session.request("GET", url, withhold_token=True)
        logged_by_our_call = [r for r in caplog.records if r.name.startswith("urllib3")]
        requests.get(url, timeout=5)

    assert logged_by_our_call == []
    # Each logger of urllib3 that can log a URL or a header has the filter.
    for name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
        assert transport._is_outside_our_calls in logging.getLogger(f"urllib3.{name}").filters
    # The calls of the project are logged.
    assert "code=S3cret" in caplog.text


def test_a_closed_port_and_an_unknown_host_mean_no_connection(settings: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for address in (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", "http://no.invalid/"):
        with (
            pytest.raises(CiamError) as raised,
            raising_ciam_errors("api"),
            HttpSession() as session,
        ):
            session.request("GET", address, withhold_token=True)
        assert raised.value.code == "no_connection"


@for_each_row(
    "addresses, tried",
    [
        (["127.0.0.2", "127.0.0.1"], ["127.0.0.2", "127.0.0.1"]),
        (["127.0.0.2", "127.0.0.1", "127.0.0.3"], ["127.0.0.2", "127.0.0.1"]),
        (["127.0.0.2", "127.0.0.3"], ["127.0.0.2", "127.0.0.3"]),
    ],
)
def test_each_address_of_a_host_is_tried_once_until_one_answers(
    ciam: FakeCiam, addresses: list[str], tried: list[str]
) -> None:
    transport._discard_connections()
    real, connect = socket.getaddrinfo, urllib3.util.connection.create_connection
    attempts: list[tuple[str, float]] = []

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        # urllib3 itself looks up an address of the list.
        if host != "ciam.test":
            return real(host, *args, **kwargs)
        return [row for address in addresses for row in real(address, *args, **kwargs)]

    def connect_to(address: tuple[str, int], timeout: float, *args: Any, **kwargs: Any) -> Any:
        attempts.append((address[0], timeout))
        return connect(address, timeout, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        patch.setattr(urllib3.util.connection, "create_connection", connect_to)
        url = discovery_of(ciam).replace("127.0.0.1", "ciam.test")
        with contextlib.suppress(CiamError), raising_ciam_errors("api"), HttpSession() as session:
            assert session.request("GET", url, withhold_token=True).ok
            # The name of the host is also the name that a certificate must have.
            assert ciam.requests[-1].headers["Host"].startswith("ciam.test:")
    close_circuits()

    assert [address for address, _ in attempts] == tried
    # All attempts have one deadline.
    timeouts = [timeout for _, timeout in attempts]
    assert timeouts == sorted(set(timeouts), reverse=True)
    assert timeouts[0] < 30


def test_netrc_is_not_read(ciam: FakeCiam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    # The session looks at the environment because of the proxy, which is not for this host.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "*")
    with HttpSession() as session:
        for _ in range(2):
            session.request("GET", discovery_of(ciam), withhold_token=True)

    assert len(ciam.requests) == 2
    for request in ciam.requests:
        assert "authorization" not in {name.lower() for name in request.headers}


def test_proxies_of_the_environment_are_used_unless_trust_env_is_false(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert code_of(ciam) == "no_connection"
    assert fetch_discovery(ciam, trust_env=False).ok


def test_a_proxy_is_found_in_a_variable_in_upper_case_and_in_the_settings_of_the_system(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake CIAM is also the proxy, and answers for a host that does not exist."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    address = discovery_of(ciam).replace(ciam.url, "http://ciam.invalid")

    def fetch() -> requests.Response:
        with HttpSession() as session:
            return session.request("GET", address, withhold_token=True)

    with monkeypatch.context() as variables:
        variables.setenv("HTTP_PROXY", ciam.url)
        assert fetch().ok
    # On macOS and Windows, Python's function also reads the settings of the system.
    for module in (transport, requests.utils):
        monkeypatch.setattr(module, "getproxies", lambda: {"http": ciam.url})
    assert fetch().ok


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_process_makes_its_own_connections(ciam: FakeCiam) -> None:
    fetch_discovery(ciam)
    ours, context = transport._adapter(), transport._tls_context(False, None)
    child = os.fork()
    if child == 0:
        status = 2
        with contextlib.suppress(BaseException):
            is_shared = (
                transport._adapter() is ours or transport._tls_context(False, None) is context
            )
            status = int(is_shared)
        os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert transport._adapter() is ours
    assert fetch_discovery(ciam).ok


@pytest.mark.slow("waits for deadlines")
def test_a_call_through_a_proxy_ends_at_the_deadline(
    ciam: FakeCiam, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake CIAM is also the proxy, and answers for a host that does not exist."""
    monkeypatch.setenv("http_proxy", ciam.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    address = discovery_of(ciam).replace(ciam.url, "http://ciam.invalid")

    def fetch() -> requests.Response:
        with raising_ciam_errors("api"), HttpSession() as session:
            return session.request("GET", address, withhold_token=True)

    assert fetch().ok
    settings.CIAM_TIMEOUT = 0.4
    for behaviour in ("silent", "drip_headers", "drip_body"):
        ciam.misbehave("discovery", behaviour)
        began = time.monotonic()
        with pytest.raises(CiamError) as raised:
            fetch()
        close_circuits()
        assert raised.value.code == "timeout"
        assert 0.4 <= time.monotonic() - began < 10


@pytest.fixture
def silent_connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected socket with a timeout of 30 seconds, and a peer that sends and reads nothing."""
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def short_deadline() -> Iterator[None]:
    token = transport._deadline.set(time.monotonic() + 0.3)
    yield
    transport._deadline.reset(token)


SOCKET_OPERATIONS: dict[str, Callable[[socket.socket], object]] = {
    "send": lambda sock: sock.sendall(b"x" * 64 * 1024 * 1024),
    "receive": lambda sock: sock.recv_into(bytearray(1)),
    "shake hands": lambda sock: transport._tls_context(False, None).wrap_socket(sock),
}


def test_a_socket_that_is_connected_after_the_deadline_is_closed() -> None:
    ours, theirs = socket.socketpair()
    token = transport._deadline.set(time.monotonic() - 1)
    with pytest.raises(TimeoutError, match="CIAM_TIMEOUT"):
        transport._wrap_socket(ours)
    transport._deadline.reset(token)
    theirs.settimeout(5)

    with theirs:
        assert theirs.recv(1) == b""


@pytest.mark.slow("waits for deadlines")
@pytest.mark.usefixtures("short_deadline")
@pytest.mark.parametrize("operation", SOCKET_OPERATIONS)
def test_each_operation_of_a_socket_ends_at_the_deadline(
    silent_connection: tuple[socket.socket, socket.socket], operation: str
) -> None:
    timed_socket = transport._TimedSocket(fileno=silent_connection[0].detach())
    timed_socket.settimeout(30)
    began = time.monotonic()
    with timed_socket, pytest.raises(TimeoutError):
        SOCKET_OPERATIONS[operation](timed_socket)

    assert time.monotonic() - began < 10


def test_the_last_second_before_the_deadline_is_used() -> None:
    token = transport._deadline.set(time.monotonic() + 0.9)
    seconds = transport._remaining_seconds()
    transport._deadline.reset(token)

    assert 0 < seconds <= 0.9


def test_a_time_limit_below_a_second_is_used(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.95

    # A busy machine can take longer.
    for _ in range(10):
        with contextlib.suppress(CiamError):
            assert fetch_discovery(ciam).ok
            return
        close_circuits()
    pytest.fail("no call was made in less than a second")


def test_a_call_after_a_timeout_makes_a_new_connection(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_out(*args: object, **kwargs: object) -> requests.Response:
        raise requests.Timeout

    fetch_discovery(ciam)
    before = ciam.connections
    fetch_discovery(ciam)
    assert ciam.connections == before
    with monkeypatch.context() as patch:
        patch.setattr(HttpSession, "_send_before", time_out)
        assert code_of(ciam) == "timeout"
    fetch_discovery(ciam)

    assert ciam.connections == before + 1


def response_with(body: bytes) -> requests.Response:
    """A response whose body is not read yet."""
    response = requests.Response()
    response.status_code = 200
    response.raw = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
    return response


def test_the_largest_body_is_read_completely_and_one_more_byte_is_refused() -> None:
    body = bytes(range(256)) * (LARGEST_BODY // 256)
    assert transport._read_body(response_with(body)) == body
    with pytest.raises(CiamError, match="unreadable_answer") as raised:
        transport._read_body(response_with(body + b"x"))

    assert raised.value.upstream_status == 200


def test_a_session_has_the_adapter_of_the_process_for_http_and_none_for_other_urls() -> None:
    with HttpSession() as session:
        for url in ("http://a.test/", "HTTPS://A.TEST/"):
            assert session.get_adapter(url) is transport._adapter()
        for url in ("ftp://a.test/", "a.test/"):
            with pytest.raises(requests.exceptions.InvalidSchema):
                session.get_adapter(url)


def test_a_call_without_remaining_time_does_not_begin(ciam: FakeCiam, settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 1e-9
    transport._discard_connections()

    assert code_of(ciam) == "timeout"


@raising_ciam_errors("api")
def send_large_body(url: str) -> None:
    with HttpSession() as session:
        session.request("POST", url, data=b"x" * 50_000_000, withhold_token=True)


@pytest.mark.slow("waits for deadlines")
def test_the_time_of_sending_counts(settings: Settings) -> None:
    settings.CIAM_TIMEOUT = 0.4
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(CiamError, match="timeout"):
            send_large_body(url)


def test_the_time_of_the_name_server_counts(
    ciam: FakeCiam, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CIAM_TIMEOUT = 0.1
    transport._discard_connections()
    real = socket.getaddrinfo

    def look_up_slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.15)
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)

    assert code_of(ciam) == "timeout"


class TestHttps:
    """Calls over TLS, with a certificate that only ``verify`` trusts."""

    @pytest.fixture
    def secure(self) -> FakeCiam:
        return FakeCiam(https=True)

    def test_verify_of_the_project_is_used(
        self, secure: FakeCiam, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with secure:
            assert fetch_discovery(secure, verify=str(secure.ca_file)).ok
            with pytest.warns(InsecureRequestWarning):
                assert fetch_discovery(secure, verify=False).ok
            assert code_of(secure) == "no_connection"

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    @pytest.mark.parametrize("no_proxy", ["", "*"])
    def test_the_ca_bundle_of_the_environment_is_used(
        self, secure: FakeCiam, monkeypatch: pytest.MonkeyPatch, variable: str, no_proxy: str
    ) -> None:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        with secure:
            monkeypatch.setenv(variable, str(secure.ca_file))
            assert fetch_discovery(secure).ok
            # The project's ``verify`` takes precedence over the environment.
            assert code_of(secure, verify=DEFAULT_CA_BUNDLE_PATH) == "no_connection"

    @pytest.mark.parametrize("option", ["verify", "cert"])
    def test_a_missing_or_wrong_file_is_a_misconfiguration_that_names_the_file(
        self, secure: FakeCiam, tmp_path: Path, option: str
    ) -> None:
        wrong = tmp_path / "wrong.pem"
        wrong.write_text("no certificate", encoding="ascii")
        with secure:
            for path in (tmp_path / "missing.pem", wrong):
                options = {"verify": str(secure.ca_file), option: str(path)}
                with pytest.raises(CiamError) as raised:
                    fetch_discovery(secure, **options)
                assert raised.value.code == "bad_configuration"
                assert str(path) in raised.value.upstream_text
                assert repr(option) in raised.value.upstream_text

    @pytest.mark.parametrize("option", ["verify", "cert"])
    def test_a_key_in_place_of_a_file_is_not_logged(self, secure: FakeCiam, option: str) -> None:
        # The operating system refuses to look for such a long name.
        key = "-----BEGIN PRIVATE KEY-----\n" + "S3cret" * 1000
        with secure, pytest.raises(CiamError, match="bad_configuration") as raised:
            fetch_discovery(secure, **{"verify": str(secure.ca_file), option: key})

        assert "<6028 characters>" in raised.value.upstream_text
        assert "S3cret" not in raised.value.upstream_text

    def test_a_missing_file_of_the_environment_is_a_misconfiguration(
        self, secure: FakeCiam, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/missing/ca.pem")
        with secure, pytest.raises(CiamError, match="bad_configuration") as raised:
            fetch_discovery(secure)

        assert "'/missing/ca.pem'" in raised.value.upstream_text
        assert "REQUESTS_CA_BUNDLE" in raised.value.upstream_text

    def test_verify_can_be_a_folder_of_certificates(self, secure: FakeCiam, tmp_path: Path) -> None:
        with secure:
            assert code_of(secure, verify=str(tmp_path)) == "no_connection"

    @pytest.mark.slow("waits for deadlines")
    def test_the_deadline_holds_over_tls(self, secure: FakeCiam, settings: Settings) -> None:
        settings.CIAM_TIMEOUT = 0.4
        with secure:
            for behaviour in ("silent", "drip_headers", "drip_body"):
                secure.misbehave("discovery", behaviour)
                began = time.monotonic()
                assert code_of(secure, verify=str(secure.ca_file)) == "timeout"
                assert 0.4 <= time.monotonic() - began < 10

    def test_a_client_certificate_can_be_one_file_or_two(
        self, secure: FakeCiam, tmp_path: Path
    ) -> None:
        with secure:
            both = str(secure.ca_file)
            assert fetch_discovery(secure, verify=both, cert=both).ok
            assert fetch_discovery(secure, verify=both, cert=[both, both]).ok

    def test_the_ca_bundle_is_read_once(self, secure: FakeCiam) -> None:
        with secure:
            transport._discard_connections()
            for _ in range(4):
                fetch_discovery(secure, verify=str(secure.ca_file))

        assert transport._tls_context.cache_info().misses == 1
        context = transport._tls_context(str(secure.ca_file), None)
        assert context.verify_mode == ssl.CERT_REQUIRED


@for_each_row("verify, mode", [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_NONE)])
def test_certificates_are_verified_with_the_bundle_of_requests_unless_verify_is_false(
    verify: bool, mode: ssl.VerifyMode
) -> None:
    context = transport._tls_context(verify, None)

    assert context.verify_mode is mode
    assert context.check_hostname is verify
    assert (context.cert_store_stats()["x509_ca"] > 10) is verify


class NamingSession(HttpSession):
    """A session that keeps the names of the endpoints that it calls."""

    names: list[str]

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self.names.append(self.endpoint)
        return super().send(request, **kwargs)


def test_the_session_of_each_call_has_the_name_of_its_endpoint(
    ciam: FakeCiam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NamingSession, "names", [], raising=False)
    app = ciam_app()
    app.client_cls = NamingSession
    urls = {"redirect_uri": "http://testserver/ciam/callback/", "code_verifier": "v" * 43}
    proofs: dict[str, Any] = {"state": "s" * 32, "nonce": "n" * 32, **urls}
    address = app.authorization_url(**proofs)
    code = query_of(ciam.authorize(address, username="li"))["code"]
    token = app.exchange_code(code=code, **urls)
    app.verify_id_token(token, "n" * 32)
    app.fetch_userinfo(token["access_token"])
    app.refresh_tokens(token["refresh_token"])
    CiamClient(app).captcha()
    app.get(app.load_server_metadata()["userinfo_endpoint"], token=token)

    assert NamingSession.names == [
        "metadata",
        "token",
        "keys",
        "userinfo",
        "refresh",
        "application_token",
        "captcha",
        "other",
    ]
    assert set(NamingSession.names) <= {*ENDPOINTS, *OAUTH_ENDPOINTS}
