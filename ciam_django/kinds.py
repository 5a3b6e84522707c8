"""Define the kinds of failures, the actions of users, and the defaults of each kind."""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# The default of CIAM_UPSTREAM_STATUS. Where a kind or a code has this status, the value of the
# setting is used.
DEFAULT_UPSTREAM_STATUS: Final = 503


@enum.unique
class Action(enum.StrEnum):
    """A step that the user can take next: the values of ``action`` in the JSON body."""

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


@enum.unique
class Place(enum.StrEnum):
    """A page to which the page of an answer can lead if the project has no URL for the action."""

    # The failing address again, if a second request can succeed.
    SAME_PAGE = "same_page"
    # The page of this site on which the user has followed a link or submitted a form.
    REFERRING_PAGE = "referring_page"
    LOGIN_PAGE = "login_page"
    HOME = "home"


class ActionDefaults(NamedTuple):
    """The label of an action's link, and the fallbacks if the project has no URL for the action.

    A fallback is a place and the label of the link to this place. ``ways_out.way_out_of`` chooses
    the first place that can help.
    """

    label: str | StrPromise
    fallbacks: tuple[tuple[Place, str | StrPromise], ...]


HOME_LABEL: Final = pgettext_lazy("ciam", "Go to the home page")
_TRY_AGAIN: Final = pgettext_lazy("ciam", "Try again")
_TO_SITE: Final = (
    (Place.LOGIN_PAGE, pgettext_lazy("ciam", "Back to sign in")),
    (Place.HOME, HOME_LABEL),
)
_BACK: Final = ((Place.REFERRING_PAGE, pgettext_lazy("ciam", "Back")), *_TO_SITE)
_BACK_AND_AGAIN: Final = (
    (Place.REFERRING_PAGE, pgettext_lazy("ciam", "Go back and try again")),
    *_TO_SITE,
)
_AGAIN: Final = ((Place.SAME_PAGE, _TRY_AGAIN), *_BACK_AND_AGAIN)

ACTIONS: Final[dict[Action, ActionDefaults]] = {
    Action.NONE: ActionDefaults(_TRY_AGAIN, _BACK),
    Action.RETRY: ActionDefaults(_TRY_AGAIN, _AGAIN),
    Action.WAIT: ActionDefaults(_TRY_AGAIN, _AGAIN),
    Action.LOGIN: ActionDefaults(pgettext_lazy("ciam", "Sign in"), _BACK),
    Action.RESTART: ActionDefaults(pgettext_lazy("ciam", "Start again"), _AGAIN),
    Action.RESEND_CODE: ActionDefaults(pgettext_lazy("ciam", "Send a new code"), _BACK),
    Action.CHANGE_INPUT: ActionDefaults(_TRY_AGAIN, _BACK_AND_AGAIN),
    Action.RESET_PASSWORD: ActionDefaults(pgettext_lazy("ciam", "Reset your password"), _BACK),
    Action.USE_ANOTHER_METHOD: ActionDefaults(
        pgettext_lazy("ciam", "Use another way to sign in"), _BACK
    ),
    Action.COMPLETE_PROFILE: ActionDefaults(pgettext_lazy("ciam", "Complete your profile"), _BACK),
    Action.BIND_ACCOUNT: ActionDefaults(pgettext_lazy("ciam", "Link your account"), _BACK),
    Action.GIVE_CONSENT: ActionDefaults(pgettext_lazy("ciam", "Agree and continue"), _BACK),
    Action.SOLVE_CAPTCHA: ActionDefaults(pgettext_lazy("ciam", "Try a new image"), _BACK_AND_AGAIN),
    Action.CONTACT_SUPPORT: ActionDefaults(pgettext_lazy("ciam", "Contact support"), _BACK),
}


@enum.unique
class Audience(enum.StrEnum):
    """The intended reader of the reason for a failure.

    If the reader is a developer, users read a general text instead of the reason.
    """

    USER = "user"
    DEVELOPER = "developer"


@enum.unique
class Kind(enum.StrEnum):
    """The kind of a result from CIAM. ``KINDS`` has the defaults of each kind."""

    CREDENTIALS = "credentials"
    TOKEN = "token"  # noqa: S105  (a kind's name, not a token)
    VERIFICATION = "verification"
    CAPTCHA = "captcha"
    MFA = "mfa"
    CONSENT = "consent"
    VALIDATION = "validation"
    # The sign-in can't continue, for example because its flow or its state has expired.
    FLOW = "flow"
    PERMISSION = "permission"
    ACCOUNT_STATE = "account_state"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    RATE_LIMIT = "rate_limit"
    # A social provider, such as WeChat, has not identified the user.
    SOCIAL = "social"
    CONFIGURATION = "configuration"
    # CIAM can't be reached, fails, or sends a response that can't be read.
    UPSTREAM = "upstream"
    SUCCESS = "success"


class KindDefaults(NamedTuple):
    """The default HTTP status, title, action, sentence, audience and log level of a kind.

    The row of a code can override them, but not the title. The sentence is general: users read it
    if the reason for a failure is for developers.

    ``has_reference`` is false for the failures that users correct themselves: their pages have no
    reference for the support, unless the row of the code is for developers.
    """

    status: int
    title: str | StrPromise
    action: Action
    sentence: str | StrPromise
    audience: Audience = Audience.USER
    log_level: int = logging.INFO
    has_reference: bool = True


KINDS: Final[dict[Kind, KindDefaults]] = {
    Kind.CREDENTIALS: KindDefaults(
        401,
        pgettext_lazy("ciam", "Couldn't sign you in"),
        Action.CHANGE_INPUT,
        _("The username or password is incorrect. Check them and try again."),
        has_reference=False,
    ),
    Kind.TOKEN: KindDefaults(
        401,
        pgettext_lazy("ciam", "Please sign in"),
        Action.LOGIN,
        pgettext_lazy("ciam", "Your session has expired. Sign in again."),
        has_reference=False,
    ),
    Kind.VERIFICATION: KindDefaults(
        400,
        pgettext_lazy("ciam", "Check the code"),
        Action.CHANGE_INPUT,
        _("The verification code is incorrect. Check it and enter it again."),
        has_reference=False,
    ),
    Kind.CAPTCHA: KindDefaults(
        400,
        pgettext_lazy("ciam", "Check the characters"),
        Action.SOLVE_CAPTCHA,
        pgettext_lazy("ciam", "Enter the characters in the image."),
        has_reference=False,
    ),
    Kind.MFA: KindDefaults(
        400,
        pgettext_lazy("ciam", "Verification not completed"),
        Action.USE_ANOTHER_METHOD,
        _("This verification method isn't supported. Try another one."),
        has_reference=False,
    ),
    Kind.CONSENT: KindDefaults(
        400,
        pgettext_lazy("ciam", "Please agree to continue"),
        Action.GIVE_CONSENT,
        pgettext_lazy("ciam", "Agree to the required terms to continue."),
        has_reference=False,
    ),
    Kind.VALIDATION: KindDefaults(
        400,
        pgettext_lazy("ciam", "Check your details"),
        Action.CHANGE_INPUT,
        _("Some of the information isn't right. Check it and try again."),
        has_reference=False,
    ),
    Kind.FLOW: KindDefaults(
        400,
        pgettext_lazy("ciam", "Sign-in interrupted"),
        Action.RESTART,
        pgettext_lazy("ciam", "We can't continue this sign-in. Start again."),
    ),
    Kind.PERMISSION: KindDefaults(
        403,
        pgettext_lazy("ciam", "No access"),
        Action.CONTACT_SUPPORT,
        _("You don't have permission to do this. Contact support if you need it."),
    ),
    Kind.ACCOUNT_STATE: KindDefaults(
        403,
        pgettext_lazy("ciam", "Account unavailable"),
        Action.CONTACT_SUPPORT,
        _("This account can't be used right now. Contact support for help."),
    ),
    Kind.NOT_FOUND: KindDefaults(
        404,
        pgettext_lazy("ciam", "Not found"),
        Action.NONE,
        _("We couldn't find this. Go back and try again."),
    ),
    Kind.CONFLICT: KindDefaults(
        409,
        pgettext_lazy("ciam", "Can't complete this"),
        Action.CHANGE_INPUT,
        _("This is already in use. Try a different one."),
    ),
    Kind.RATE_LIMIT: KindDefaults(
        429,
        pgettext_lazy("ciam", "Please wait a moment"),
        Action.WAIT,
        _("Too many attempts. Wait a while before trying again."),
    ),
    Kind.SOCIAL: KindDefaults(
        400,
        pgettext_lazy("ciam", "That didn't work"),
        Action.LOGIN,
        _("Sign-in with that account didn't complete. Try again."),
    ),
    # A misconfiguration is never a 401, which would ask the user to authenticate.
    Kind.CONFIGURATION: KindDefaults(
        500,
        pgettext_lazy("ciam", "Something went wrong"),
        Action.CONTACT_SUPPORT,
        _(
            "Sign-in isn't available right now. Try again later, or contact support if this keeps "
            "happening."
        ),
        Audience.DEVELOPER,
        logging.ERROR,
    ),
    # The default is 503 because proxies replace the bodies of 502 and 504.
    Kind.UPSTREAM: KindDefaults(
        DEFAULT_UPSTREAM_STATUS,
        pgettext_lazy("ciam", "Service temporarily unavailable"),
        Action.RETRY,
        _("Something went wrong on our side. Try again in a moment."),
        Audience.DEVELOPER,
        logging.WARNING,
    ),
    Kind.SUCCESS: KindDefaults(
        200,
        pgettext_lazy("ciam", "Done"),
        Action.NONE,
        pgettext_lazy("ciam", "Done."),
        Audience.DEVELOPER,
    ),
}
