"""The modules whose rules keep a sign-in safe, and the tests of each module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "ciam_django"

# Module -> further test files that should fail after a change of the module. The test file of the
# module itself runs first, if it exists. Fast files come before slow files.
MODULES: Final[Mapping[str, Sequence[str]]] = {
    "answers": (
        "test_generic_errors.py",
        "test_for_developers.py",
        "accounts/test_rate_limits.py",
        "drf/test_permissions.py",
        "login/steps/test_credentials.py",
        "login/test_pages.py",
        "test_ways_out.py",
        "test_responses.py",
    ),
    "errors": (),
    "error_table/explanations": ("test_ciam_errors.py", "docs/test_operating.py"),
    "error_table/log_files": ("test_ciam_errors.py",),
    "failure_memory": ("test_ciam_errors.py", "accounts/test_failure_pages.py"),
    "events": (
        "test_sign_in_ids.py",
        "test_reporting.py",
        "reference/test_parts.py",
        "error_table/test_log_files.py",
    ),
    "languages": ("test_answers.py",),
    "lookup": ("test_answers.py", "test_languages.py", "checks/test_messages.py"),
    "middleware": (),
    "network": (),
    "privacy": ("test_errors.py", "test_events.py"),
    "reporting": ("test_logs.py", "test_signals.py"),
    "responses": (
        "test_htmx.py",
        "test_logs.py",
        "templatetags/test_ciam.py",
        "accounts/test_linking.py",
        "test_ways_out.py",
    ),
    "tokens": (
        "accounts/test_session_tokens.py",
        "test_privacy.py",
        "accounts/test_session_check.py",
    ),
    "ways_out": (
        "login/test_redirects.py",
        "accounts/test_linking.py",
        "accounts/test_session_check.py",
    ),
    "accounts/backends": (
        "accounts/test_login.py",
        "accounts/test_users.py",
        "test_axes.py",
        "accounts/test_transactions.py",
        "accounts/test_session_store.py",
        "accounts/test_linking.py",
    ),
    "accounts/bearer": (
        "test_privacy.py",
        "drf/test_authentication.py",
        "test_versions.py",
        "client/test_circuits.py",
        "client/test_access_tokens.py",
    ),
    "accounts/failure_pages": (),
    "accounts/fake_people": ("accounts/test_commands.py",),
    "accounts/last_failure": ("accounts/test_admin.py", "test_versions.py"),
    "accounts/linking": ("test_deployment.py",),
    "accounts/login": (
        "test_axes.py",
        "accounts/test_linking.py",
        "accounts/test_admin.py",
        "login/test_callback.py",
        "login/test_hosted.py",
        "login/test_api.py",
        "login/test_storage_failures.py",
    ),
    "accounts/middleware": ("accounts/test_session_check.py",),
    "accounts/models": ("accounts/test_session_check.py", "login/test_logout.py"),
    "accounts/rate_limits": (
        "login/steps/test_credentials.py",
        "login/test_pages.py",
        "drf/test_authentication.py",
        "login/test_callback.py",
    ),
    "accounts/session_check": ("accounts/test_admin.py", "client/test_circuits.py"),
    "accounts/session_store": (
        "test_privacy.py",
        "accounts/test_login.py",
        "accounts/test_session_tokens.py",
        "accounts/test_session_check.py",
        "login/test_logout.py",
        "login/test_api.py",
        "accounts/test_session_clearing.py",
    ),
    "accounts/token_refresh": (
        "accounts/test_session_check.py",
        "test_privacy.py",
        "client/test_circuits.py",
    ),
    "accounts/transactions": (
        "accounts/test_session_check.py",
        "accounts/test_token_refresh.py",
    ),
    "accounts/users": ("checks/test_accounts.py",),
    "client/access_tokens": (
        "drf/test_authentication.py",
        "test_privacy.py",
        "accounts/test_bearer.py",
    ),
    "client/app": ("client/test_oauth.py", "login/test_callback.py"),
    "client/cache": (
        "test_caches.py",
        "client/test_cached_documents.py",
        "accounts/test_rate_limits.py",
        "login/test_state.py",
        "login/test_callback.py",
        "login/test_hosted.py",
        "login/test_health.py",
        "test_failure_memory.py",
    ),
    "client/cached_documents": ("test_privacy.py", "client/test_oauth.py", "login/test_hosted.py"),
    "client/crypto": (
        "login/test_state.py",
        "accounts/test_session_check.py",
        "test_versions.py",
    ),
    "client/diagnosis": ("doctor/test_upstream.py", "client/test_circuits.py"),
    "client/envelope": (
        "test_request_path.py",
        "test_privacy.py",
        "client/test_results.py",
        "client/test_access_tokens.py",
        "client/test_oauth.py",
        "login/test_logout.py",
    ),
    "client/logout_tokens": ("login/test_logout.py",),
    "client/misconfiguration": ("client/test_oauth.py",),
    "client/oauth": (
        "client/test_person.py",
        "client/test_cached_documents.py",
        "accounts/test_linking.py",
        "doctor/test_upstream.py",
        "client/test_circuit_breaker.py",
        "client/test_transport.py",
    ),
    "client/person": (
        "test_privacy.py",
        "client/test_access_tokens.py",
        "drf/test_authentication.py",
    ),
    "client/private_key_jwt": ("test_privacy.py", "client/test_oauth.py"),
    "client/results": (
        "test_privacy.py",
        "client/test_api.py",
        "login/steps/test_consent_boxes.py",
        "login/test_api.py",
    ),
    "client/circuit_breaker": (
        "client/test_circuits.py",
        "doctor/test_upstream.py",
        "login/test_health.py",
    ),
    "client/transport": ("client/test_circuit_breaker.py", "client/test_calls.py"),
    "drf/authentication": ("drf/test_permissions.py",),
    "drf/handler": ("drf/test_authentication.py", "drf/test_permissions.py"),
    "drf/permissions": (),
    "drf/scopes": ("drf/test_permissions.py",),
    "drf/serializers": (),
    "drf/standardized": (),
    "login/callback": (
        "login/test_hosted.py",
        "login/test_hints.py",
        "test_urls.py",
        "login/test_popups.py",
        "login/test_known_browsers.py",
        "accounts/test_linking.py",
        "test_sign_in_ids.py",
    ),
    "login/captcha": ("login/test_pages.py", "login/test_api.py", "test_urls.py"),
    "login/cookies": (
        "client/test_crypto.py",
        "login/steps/test_credentials.py",
        "login/test_callback.py",
        "login/test_hosted.py",
        "login/test_known_browsers.py",
        "login/test_state.py",
    ),
    "login/error_responses": (
        "login/test_hosted.py",
        "login/test_callback.py",
        "login/test_hints.py",
        "accounts/test_linking.py",
        "login/test_api.py",
        "login/test_social.py",
        "login/test_storage_failures.py",
        "login/test_pages.py",
    ),
    "login/health": ("test_urls.py",),
    "login/hosted": (
        "login/test_loop_guard.py",
        "accounts/test_linking.py",
        "test_urls.py",
        "login/test_popups.py",
        "login/test_consent.py",
        "test_sign_in_ids.py",
    ),
    "login/link_views": ("accounts/test_linking.py", "test_urls.py"),
    "login/logout": ("login/test_hosted.py", "test_urls.py"),
    "login/loop_guard": ("login/test_hosted.py", "login/test_pages.py"),
    "login/popups": ("test_urls.py",),
    "login/recipients": ("test_privacy.py", "login/test_pages.py", "login/test_api.py"),
    "login/redirects": (
        "login/test_hosted.py",
        "login/test_callback.py",
        "login/test_pages.py",
        "login/test_popups.py",
        "test_htmx.py",
        "login/test_api.py",
    ),
    "login/social": (
        "login/test_providers.py",
        "test_sign_in_ids.py",
        "accounts/test_linking.py",
        "test_urls.py",
        "login/test_popups.py",
        "login/test_consent.py",
        "login/test_known_browsers.py",
    ),
    "login/state": (
        "test_privacy.py",
        "client/test_crypto.py",
        "test_versions.py",
        "login/test_hints.py",
        "login/test_callback.py",
        "login/test_hosted.py",
        "test_sign_in_ids.py",
    ),
    "login/steps/credentials": ("login/test_pages.py", "login/test_api.py", "test_axes.py"),
    "login/steps/flow": (
        "test_privacy.py",
        "login/test_pages.py",
    ),
    "login/steps/forms": (
        "login/test_pages.py",
        "login/test_api.py",
        "login/steps/test_results.py",
    ),
    "login/steps/linking": ("accounts/test_linking.py",),
    "login/steps/mini_program": ("login/test_api.py",),
    "login/names": ("login/test_names.py", "login/test_social.py"),
    "login/steps/profile": ("login/test_pages.py", "login/test_api.py"),
    "login/steps/results": ("login/test_pages.py", "login/test_api.py", "login/test_social.py"),
    "login/steps/submit": (
        "login/test_pages.py",
        "login/test_api.py",
        "accounts/test_linking.py",
        "test_sign_in_ids.py",
    ),
    "login/steps/table": ("login/test_pages.py", "login/test_api.py"),
}


def path_of(module: str) -> Path:
    """Return the path of a module, relative to the root."""
    return Path(PACKAGE, f"{module}.py")


def guards_of(module: str) -> list[str]:
    """Return the test files that should fail after a change of a module, relative to the root."""
    own_file = Path(module).with_name(f"test_{Path(module).name}.py").as_posix()
    names = [own_file, *MODULES[module]]
    return [f"tests/{name}" for name in names if (ROOT / "tests" / name).exists()]
