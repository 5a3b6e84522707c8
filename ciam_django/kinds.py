"""Define the kinds of failures, the actions of users, and the defaults of each kind."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# In a row, this status stands for the value of CIAM_UPSTREAM_STATUS.
DEFAULT_UPSTREAM_STATUS: Final = 503


@enum.unique
class Action(enum.StrEnum):
    """The next step of the user: all values of ``action`` in the JSON body."""

    NONE = "none"
    RETRY = "retry"
    WAIT = "wait"
    LOGIN = "login"
    RESTART = "restart"
    RESEND_CODE = "resend_code"
    CHANGE_INPUT = "change_input"
    RESET_PASSWORD = "reset_password"  # noqa: S105  (an action's name, not a password)
    USE_ANOTHER_METHOD = "use_another_method"
    COMPLETE_PROFILE = "complete_profile"
    BIND_ACCOUNT = "bind_account"
    GIVE_CONSENT = "give_consent"
    SOLVE_CAPTCHA = "solve_captcha"
    CONTACT_SUPPORT = "contact_support"


# The text of the page's button if the project has a URL for the action.
ACTION_LABELS: Final[dict[str, str | StrPromise]] = {
    "none": _("Try again"),
    "retry": _("Try again"),
    "wait": _("Try again"),
    "login": _("Sign in"),
    "restart": _("Start again"),
    "resend_code": _("Send a new code"),
    "change_input": _("Try again"),
    "reset_password": _("Reset your password"),
    "use_another_method": _("Use another way to sign in"),
    "complete_profile": _("Complete your information"),
    "bind_account": _("Link your account"),
    "give_consent": _("Agree and continue"),
    "solve_captcha": _("Reload and try again"),
    "contact_support": _("Contact support"),
}


@enum.unique
class Audience(enum.StrEnum):
    """The reader of the reason. Users read a general text in place of a reason for developers."""

    USER = "user"
    DEVELOPER = "developer"


@enum.unique
class Kind(enum.StrEnum):
    """The classes of failures; each has a row in ``KINDS``."""

    CREDENTIALS = "credentials"
    TOKEN = "token"  # noqa: S105  (a kind's name, not a token)
    VERIFICATION = "verification"
    CAPTCHA = "captcha"
    MFA = "mfa"
    CONSENT = "consent"
    VALIDATION = "validation"
    FLOW = "flow"
    PERMISSION = "permission"
    ACCOUNT_STATE = "account_state"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    RATE_LIMIT = "rate_limit"
    SOCIAL = "social"
    CONFIGURATION = "configuration"
    UPSTREAM = "upstream"
    SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class KindDefaults:
    """The values of a kind. The row of a code may replace them for the code."""

    status: int
    title: str | StrPromise
    action: Action
    audience: Audience = Audience.USER
    log_level: int = logging.INFO


KINDS: Final[dict[Kind, KindDefaults]] = {
    Kind.CREDENTIALS: KindDefaults(401, _("Sign-in details not accepted"), Action.CHANGE_INPUT),
    Kind.TOKEN: KindDefaults(401, _("Sign-in needed"), Action.LOGIN),
    Kind.VERIFICATION: KindDefaults(400, _("Verification code not accepted"), Action.CHANGE_INPUT),
    Kind.CAPTCHA: KindDefaults(400, _("CAPTCHA not solved"), Action.SOLVE_CAPTCHA),
    Kind.MFA: KindDefaults(400, _("Second step not completed"), Action.USE_ANOTHER_METHOD),
    Kind.CONSENT: KindDefaults(400, _("Agreement needed"), Action.GIVE_CONSENT),
    Kind.VALIDATION: KindDefaults(400, _("Check the information"), Action.CHANGE_INPUT),
    Kind.FLOW: KindDefaults(400, _("Sign-in interrupted"), Action.RESTART),
    Kind.PERMISSION: KindDefaults(403, _("No access"), Action.CONTACT_SUPPORT),
    Kind.ACCOUNT_STATE: KindDefaults(403, _("Account not available"), Action.CONTACT_SUPPORT),
    Kind.NOT_FOUND: KindDefaults(404, _("Not found"), Action.NONE),
    Kind.CONFLICT: KindDefaults(409, _("Not possible as it stands"), Action.CHANGE_INPUT),
    Kind.RATE_LIMIT: KindDefaults(429, _("Too many attempts"), Action.WAIT),
    Kind.SOCIAL: KindDefaults(400, _("Third-party sign-in not completed"), Action.LOGIN),
    # A misconfiguration is never a 401, which would ask the user to authenticate.
    Kind.CONFIGURATION: KindDefaults(
        500, _("Sign-in not available"), Action.CONTACT_SUPPORT, Audience.DEVELOPER, logging.ERROR
    ),
    # The default is 503 because proxies replace the bodies of 502 and 504.
    Kind.UPSTREAM: KindDefaults(
        DEFAULT_UPSTREAM_STATUS,
        _("Service temporarily unavailable"),
        Action.RETRY,
        Audience.DEVELOPER,
        logging.WARNING,
    ),
    Kind.SUCCESS: KindDefaults(200, _("Done"), Action.NONE, Audience.DEVELOPER),
}
