"""``next_flow`` turns the step that CIAM asks for into a flow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ciam_django.client.results import NextStep
from ciam_django.conf import conf
from ciam_django.errors import CiamError, code_in
from ciam_django.login.steps.flow import Flow
from ciam_django.login.steps.forms import PROFILE_FIELDS
from ciam_django.login.tenant_config import load_login_page
from ciam_django.privacy import own_text, redacted_text

# CIAM's name of a step -> our name of the step. CIAM documents the first two names; the other names
# are unverified, and CIAM_FLOW_TYPES can replace all of them.
FLOW_TYPES: Final[Mapping[str, str]] = {
    "NEED_TWO_FACTOR": "second_factor",
    "USER_UPDATE_PWD": "new_password",
    "NEED_CONSENT": "consent",
    "NEED_COMPLETE": "profile",
    "NEED_BIND": "link",
}


def next_flow(ciam_step: NextStep, flow: Flow) -> Flow:
    """Return the flow with the step that CIAM asks for.

    Loads the tenant's login page for a second factor, which may call CIAM. Raises ``CiamError``:
    ``unsupported_step`` if the step is unknown.
    """
    name = {**FLOW_TYPES, **conf.CIAM_FLOW_TYPES}.get(ciam_step.flow_type, "")
    if name not in _DATA_OF_STEPS:
        # The redaction would remove a long name, which the operators need for the setting.
        name_of_type = code_in(ciam_step.flow_type) or redacted_text(ciam_step.flow_type)
        raise CiamError(
            "unsupported_step",
            upstream_text=own_text(f"the flowType is {name_of_type}"),
        )
    return Flow(
        name,
        ciam_step.flow_id,
        next=flow.next,
        counted_name=flow.counted_name,
        id=flow.id,
        provider=flow.provider,
        link_to_user=flow.link_to_user,
        has_new_password=flow.has_new_password or flow.step == "new_password",
        method=flow.method,
        told_name=flow.told_name,
        sign_in=flow.sign_in,
        step_data=_DATA_OF_STEPS[name](ciam_step),
    )


# --- The data of CIAM's steps -----------------------------------------------------------------

# Name of a factor in CIAM's login page configuration -> name of the channel in CIAM's API.
_CHANNELS_OF_FACTORS: Final = {"sms": "SMS", "email": "EMAIL", "pwd": "PWD"}
# A mask is upstream text, so it is shown only if it looks like a masked number or address.
# The visible characters of an account's masked recipients, for example 7 of ``138****1234``.
_MIN_VISIBLE: Final = 6
_MASKED_RECIPIENT: Final = re.compile(r"[0-9+* -]{4,24}|[\w.+*-]{1,64}@[\w.*-]{3,64}")

# An option is upstream text, so it is shown only if it is a short text without markup.
_OPTION: Final = re.compile(r"\w[\w .,'’()（）·/-]{0,63}")
# The options of a flow are in its cookie. The encrypted text has a third more bytes.
_MAX_OPTION_BYTES: Final = 1200


def _second_factor_data(ciam_step: NextStep) -> dict[str, Any]:
    masks = {"SMS": "phoneNumber", "EMAIL": "email"}
    factors = load_login_page().second_factors or tuple(_CHANNELS_OF_FACTORS)
    channels = [_CHANNELS_OF_FACTORS[name] for name in factors if name in _CHANNELS_OF_FACTORS]
    return {
        "channels": {c: _safe_mask(ciam_step.additional.get(masks.get(c, ""))) for c in channels},
        "account": _account_of(ciam_step),
    }


def _account_of(ciam_step: NextStep) -> str:
    """Return a text that is the same at each sign-in of an account, or an empty text.

    CIAM does not name the account before the sign-in has ended, so the text has the masked
    recipients. Masks with few visible characters are left out: they fit too many accounts.
    """
    masks = [_safe_mask(ciam_step.additional.get(name)) for name in ("phoneNumber", "email")]
    # The domain of an email address does not tell accounts apart.
    visible = "".join(mask.partition("@")[0] for mask in masks)
    is_unique = sum(map(str.isalnum, visible)) >= _MIN_VISIBLE
    return " ".join(masks) if is_unique else ""


def _safe_mask(value: object) -> str:
    return value if isinstance(value, str) and _MASKED_RECIPIENT.fullmatch(value) else ""


def _profile_data(ciam_step: NextStep) -> dict[str, Any]:
    """Return the names of the asked members, and the options of the members that have a list.

    CIAM documents neither. A member is a name, or an object with a name and its ``options``.
    """
    fields = ciam_step.additional.get("fields")
    listed: dict[str, list[list[str]]] = {}
    for field in fields if isinstance(fields, list) else []:
        name = field.get("name") if isinstance(field, dict) else field
        if isinstance(name, str) and name in PROFILE_FIELDS:
            listed[name] = _safe_options(field.get("options")) if isinstance(field, dict) else []
    options = {name: pairs for name, pairs in listed.items() if pairs}
    # A browser does not keep a larger cookie. The user then types the values of long lists.
    while len(json.dumps(options, ensure_ascii=False).encode()) > _MAX_OPTION_BYTES:
        del options[max(options, key=lambda name: len(options[name]))]
    data = {"asked": list(listed) or ["displayName"]}
    return {**data, "options": options} if options else data


def _safe_options(options: object) -> list[list[str]]:
    """Return the value and the label of each option; an empty list if a value is not plain text.

    An option is a text, or an object with ``value`` and ``name``.
    """
    pairs: list[list[str]] = []
    for option in options if isinstance(options, list) else []:
        value, label = (
            (option.get("value"), option.get("name")) if isinstance(option, dict) else (option,) * 2
        )
        if not (isinstance(value, str) and _OPTION.fullmatch(value)):
            return []
        if isinstance(label, str) and label != value and _OPTION.fullmatch(label):
            pairs.append([value, label])
        else:
            pairs.append([value])
    return pairs


def _no_data(ciam_step: NextStep) -> dict[str, Any]:
    return {}


_DATA_OF_STEPS: Final[Mapping[str, Callable[[NextStep], dict[str, Any]]]] = {
    "second_factor": _second_factor_data,
    "new_password": _no_data,
    "consent": _no_data,
    "profile": _profile_data,
    "link": _no_data,
}
