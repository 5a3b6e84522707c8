"""The table of all that a person submits on the way in: name -> its form, and what comes of it.

A page and the JSON endpoints are two doors to it. Each ``submit`` asks CIAM, and returns the end of
the sign-in, or the ``Flow`` that says which step is next; what fails is a ``CiamError``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

from ciam_django.login.providers import MINI_PROGRAM
from ciam_django.login.steps import credentials, forms, mini_program, profile
from ciam_django.login.steps.results import Submit

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

Others = Mapping[str, tuple["str | StrPromise", Submit]]


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A row: the form, the page's words, and what comes of it.

    ``lead`` may have ``{shown}`` in it, where a code went. ``others`` are the further buttons of
    the page: what they are called, and what they do. ``begins`` where no flow is needed;
    ``provider`` is who then says who the person is.
    """

    form: type[forms.CiamForm]
    title: str | StrPromise
    lead: str | StrPromise
    button: str | StrPromise
    submit: Submit
    others: Others = dataclasses.field(default_factory=dict)
    template: str = "ciam_django/step.html"
    begins: bool = False
    has_consents: bool = False
    sends: bool = False
    provider: str = ""


# --- The table --------------------------------------------------------------------------------

_RESEND: Final[Others] = {"resend": (_("Send a new code"), credentials.sent)}
_OTHER: Final[Others] = {"other": (_("Use another way"), credentials.other_channel)}
_SKIP: Final[Others] = {"skip": (_("Skip for now"), profile.without_profile)}
_CREATE: Final[Others] = {"create": (_("Create a new account"), profile.with_new_account)}
# To a stranger it is the same whether there is one.
_SENT_IF_ANY: Final = _("If there is an account for {shown}, a code has been sent there.")
_SENT: Final = _("A code has been sent to {shown}.")

# fmt: off
STEPS: Final[Mapping[str, Step]] = {
    # To begin with.
    "password": Step(forms.PasswordForm, _("Password"), "", _("Sign in"),
        credentials.by_password, begins=True, has_consents=True),
    "sms": Step(forms.SmsForm, _("SMS"),
        _("We'll text you a code to sign in with."), _("Send code"),
        credentials.by_sms, begins=True, has_consents=True, sends=True),
    "email": Step(forms.EmailForm, _("Email"),
        _("We'll email you a code to sign in with."), _("Send code"),
        credentials.by_email, begins=True, has_consents=True, sends=True),
    "recover": Step(forms.ReceiverForm, _("Reset your password"),
        _("Tell us the mobile number or email address of your account."), _("Send code"),
        credentials.recovery, begins=True, sends=True),
    "sign_up": Step(forms.ReceiverForm, _("Create an account"),
        _("We'll send you a code to make sure that it's yours."), _("Send code"),
        credentials.sign_up, begins=True, has_consents=True, sends=True),
    # After a code was sent.
    "code": Step(forms.CodeForm, _("Enter the code"), _SENT_IF_ANY, _("Sign in"),
        credentials.by_code, _RESEND),
    "recover_code": Step(forms.CodeAndPasswordForm, _("Choose a new password"), _SENT_IF_ANY,
        _("Change password"), credentials.recovered, _RESEND),
    "sign_up_code": Step(forms.CodeAndPasswordForm, _("Create an account"), _SENT,
        _("Create account"), credentials.signed_up, _RESEND),
    "link_code": Step(forms.CodeForm, _("Enter the code"), _SENT_IF_ANY, _("Link account"),
        credentials.linked, _RESEND),
    # What CIAM may ask for next.
    "second_factor": Step(forms.ChannelForm, _("Confirm that it's you"),
        _("One more step keeps your account safe."), "",
        credentials.by_channel, template="ciam_django/channels.html"),
    "second_factor_code": Step(forms.CodeForm, _("Confirm that it's you"), _SENT, _("Confirm"),
        credentials.by_second_code, {**_RESEND, **_OTHER}),
    "second_factor_password": Step(forms.ProvePasswordForm, _("Confirm that it's you"),
        _("Enter your password."), _("Confirm"),
        credentials.by_second_password, _OTHER),
    "new_password": Step(forms.NewPasswordForm, _("Choose a new password"),
        _("Your password has to be changed before you go on."), _("Continue"),
        profile.with_new_password),
    "consent": Step(forms.ConsentForm, _("Please agree to our terms"),
        _("They apply to your account."), _("Agree and continue"),
        profile.with_consent, has_consents=True),
    "profile": Step(forms.ProfileForm, _("Complete your information"),
        _("A few details are still missing."), _("Continue"),
        profile.with_profile, _SKIP),
    "link": Step(forms.ReceiverForm, _("Link your account"),
        _("This sign-in isn't linked to an account yet. If you have one, tell us its mobile "
          "number or email address."), _("Send code"),
        credentials.linked_to, _CREATE, sends=True),
    # As JSON alone.
    "mini_program": Step(forms.MiniProgramForm, _("Sign in"), "", "",
        mini_program.silently, begins=True, provider=MINI_PROGRAM),
    "mini_program_phone": Step(forms.MiniProgramPhoneForm, _("Sign in"), "", "",
        mini_program.by_phone_of_wechat, begins=True, provider=MINI_PROGRAM),
    "mini_program_user_info": Step(forms.MiniProgramUserInfoForm, _("Sign in"), "", "",
        mini_program.by_user_info, begins=True, provider=MINI_PROGRAM),
}
# fmt: on
