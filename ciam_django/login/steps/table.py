"""The table of the steps of a sign-in, with each step's form, texts and submit function.

The pages and the JSON endpoints use the same table. Each ``submit`` calls CIAM and returns the end
of the flow, or the ``Flow`` of the next step. A failure raises a ``CiamError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ciam_django.login.providers import MINI_PROGRAM
from ciam_django.login.steps import credentials, forms, linking, mini_program, native, profile
from ciam_django.login.steps.flow import SubmitFunction

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

OtherButtons = Mapping[str, tuple["str | StrPromise", SubmitFunction]]


class Step(NamedTuple):
    """A row of the table: the form, the texts of the page, and the submit function.

    ``lead`` can contain ``{shown}``, the masked recipient of a code, or the identity that the user
    wants to link. ``others`` maps the name of
    each other button to its label and its submit function. ``starts_flow`` is True for a step that
    needs no flow before it. ``provider`` is then the provider that identifies the user, or empty.
    The form also has the terms if ``CIAM_CONSENT_BEFORE`` has the ``way``, or if an app has a way
    and sends ``consent``.
    """

    form: type[forms.CiamForm]
    title: str | StrPromise
    lead: str | StrPromise
    button: str | StrPromise
    submit: SubmitFunction
    others: OtherButtons = {}
    template: str = "ciam_django/step.html"
    starts_flow: bool = False
    has_consents: bool = False
    sends_code: bool = False
    provider: str = ""
    way: str = ""


NATIVE: Final = "native"

# --- The table --------------------------------------------------------------------------------

_RESEND: Final[OtherButtons] = {
    "resend": (pgettext_lazy("ciam", "Resend code"), credentials.send_code)
}
_OTHER: Final[OtherButtons] = {
    "other": (pgettext_lazy("ciam", "Try another way"), credentials.choose_another_channel)
}
_SKIP: Final[OtherButtons] = {"skip": (pgettext_lazy("ciam", "Skip for now"), profile.skip_profile)}
_CREATE: Final[OtherButtons] = {
    "create": (pgettext_lazy("ciam", "Create a new account"), profile.create_linked_account)
}
_CANCEL: Final[OtherButtons] = {"cancel": (pgettext_lazy("ciam", "Cancel"), linking.cancel_link)}
# The texts are the same with and without an account, because the user must not learn if one exists.
_SENT_IF_ACCOUNT: Final = _("If {shown} has an account, we've sent a code.")
_SENT_IF_NO_ACCOUNT: Final = _("If {shown} can be used for a new account, we've sent a code.")
_SENT: Final = pgettext_lazy("ciam", "We've sent a code to {shown}.")

# fmt: off
STEPS: Final[Mapping[str, Step]] = {
    # First steps.
    "password": Step(forms.PasswordForm, pgettext_lazy("ciam login method", "Password"), "",
        pgettext_lazy("ciam", "Sign in"),
        credentials.submit_password, starts_flow=True, has_consents=True),
    "sms": Step(forms.SmsForm, pgettext_lazy("ciam login method", "SMS"),
        _("We'll text you a code to sign in with."), pgettext_lazy("ciam", "Send code"),
        credentials.send_sms_code, starts_flow=True, has_consents=True, sends_code=True),
    "email": Step(forms.EmailForm, pgettext_lazy("ciam login method", "Email"),
        _("We'll email you a code to sign in with."), pgettext_lazy("ciam", "Send code"),
        credentials.send_email_code, starts_flow=True, has_consents=True, sends_code=True),
    "recover": Step(forms.RecipientForm, pgettext_lazy("ciam", "Reset your password"),
        _("Enter the mobile number or email address for your account."),
        pgettext_lazy("ciam", "Send code"),
        credentials.send_recovery_code, starts_flow=True, sends_code=True),
    "sign_up": Step(forms.RecipientForm, pgettext_lazy("ciam", "Create an account"),
        _("We'll send a code to confirm your mobile number or email."),
        pgettext_lazy("ciam", "Send code"),
        credentials.send_sign_up_code, starts_flow=True, has_consents=True, sends_code=True),
    # Steps that take a code.
    "code": Step(forms.CodeForm, pgettext_lazy("ciam", "Enter the code"), _SENT_IF_ACCOUNT,
        pgettext_lazy("ciam", "Sign in"),
        credentials.submit_code, _RESEND),
    "recover_code": Step(forms.CodeAndPasswordForm, pgettext_lazy("ciam", "Choose a new password"),
        _SENT_IF_ACCOUNT,
        pgettext_lazy("ciam", "Change password"), credentials.reset_password, _RESEND),
    "sign_up_code": Step(forms.SignUpForm, pgettext_lazy("ciam", "Create an account"),
        _SENT_IF_NO_ACCOUNT,
        pgettext_lazy("ciam", "Create account"), credentials.create_account, _RESEND),
    "link_code": Step(forms.CodeForm, pgettext_lazy("ciam", "Enter the code"), _SENT_IF_ACCOUNT,
        pgettext_lazy("ciam", "Link account"),
        credentials.link_account, _RESEND),
    # Steps that CIAM can ask for.
    "second_factor": Step(forms.ChannelForm, pgettext_lazy("ciam", "Verify it's you"),
        _("One more step to keep your account safe."), "",
        credentials.choose_channel, template="ciam_django/channels.html"),
    "second_factor_code": Step(forms.CodeForm, pgettext_lazy("ciam", "Verify it's you"),
        _SENT, pgettext_lazy("ciam", "Confirm"),
        credentials.submit_second_factor_code, {**_RESEND, **_OTHER}),
    "second_factor_password": Step(forms.ConfirmPasswordForm,
        pgettext_lazy("ciam", "Verify it's you"),
        pgettext_lazy("ciam", "Enter your password."), pgettext_lazy("ciam", "Confirm"),
        credentials.submit_second_factor_password, _OTHER),
    "new_password": Step(forms.NewPasswordForm, pgettext_lazy("ciam", "Choose a new password"),
        _("You need to change your password before you continue."),
        pgettext_lazy("ciam", "Continue"),
        profile.submit_new_password),
    "consent": Step(forms.ConsentForm, pgettext_lazy("ciam", "Please agree to our terms"),
        pgettext_lazy("ciam", "Review these before you continue."),
        pgettext_lazy("ciam", "Agree and continue"),
        profile.submit_consent, has_consents=True),
    "profile": Step(forms.ProfileForm, pgettext_lazy("ciam", "Complete your profile"),
        pgettext_lazy("ciam", "A few details are still missing."),
        pgettext_lazy("ciam", "Continue"),
        profile.submit_profile, _SKIP),
    "link": Step(forms.RecipientForm, pgettext_lazy("ciam", "Link your account"),
        _("This sign-in isn't linked to an account yet. If you already have an account, enter its "
          "mobile number or email."), pgettext_lazy("ciam", "Send code"),
        credentials.send_link_code, _CREATE, sends_code=True),
    # The last step before an identity is linked to the signed-in user.
    "confirm_link": Step(forms.CiamForm, pgettext_lazy("ciam", "Link this account?"),
        _("Do you want to link {shown}? You can then sign in with it, too."),
        pgettext_lazy("ciam", "Link"),
        linking.submit_link, _CANCEL, template="ciam_django/confirm_link.html"),
    # Steps that only the JSON endpoints offer.
    "mini_program": Step(forms.MiniProgramForm, pgettext_lazy("ciam", "Sign in"), "", "",
        mini_program.submit_login_code, starts_flow=True, provider=MINI_PROGRAM),
    "mini_program_phone": Step(forms.MiniProgramPhoneForm, pgettext_lazy("ciam", "Sign in"), "", "",
        mini_program.submit_wechat_phone, starts_flow=True, provider=MINI_PROGRAM,
        way="mini_program"),
    "mini_program_user_info": Step(forms.MiniProgramUserInfoForm, pgettext_lazy("ciam", "Sign in"),
        "", "",
        mini_program.submit_wechat_user_info, starts_flow=True, provider=MINI_PROGRAM,
        way="mini_program"),
    # The URL of this step names the provider: see ``api.submit_provider_code``.
    NATIVE: Step(forms.NativeCodeForm, pgettext_lazy("ciam", "Sign in"), "", "",
        native.submit_native_code, starts_flow=True, way="social"),
}
# fmt: on
