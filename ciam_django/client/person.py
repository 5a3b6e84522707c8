"""Identify the person of a token response by an issuer and a subject, which never change."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ciam_django.client.api import CiamClient
from ciam_django.errors import CiamError, Stage

if TYPE_CHECKING:
    from ciam_django.client.oauth import CiamApp

_LONGEST: Final = 255
# Scope -> the claims that it requests (OpenID Connect Core 1.0, section 5.4). One of the claims is
# enough.
_CLAIMS_OF_SCOPES: Final[Mapping[str, Set[str]]] = {
    "profile": {"name", "nickname", "preferred_username", "given_name", "family_name", "picture"},
    "email": {"email"},
    "phone": {"phone_number"},
    "address": {"address"},
}
# The claims with the audience of a token, or with the application that got the token.
APPLICATION_CLAIMS: Final = ("aud", "azp", "client_id", "clientId", "idaasAppId")
# WeChat's name of the claim, and the spellings that CIAM uses for names.
_UNION_ID_CLAIMS: Final = ("unionid", "unionId", "union_id")


@dataclass(frozen=True, slots=True)
class Person:
    """A person who has signed in: ``subject`` is unique for ``issuer``.

    ``claims`` has the other data about the person. ``provider`` is a name of
    ``login/providers.py`` if the person has signed in at a social provider through this package.

    The other members are derived: ``key`` is the key of the person's identity, see
    ``identity_key``. ``union_id`` is WeChat's id of the person in all apps of one company, or an
    empty text. ``sid_key`` is the key of the person's session at CIAM, or an empty text.
    """

    issuer: str
    subject: str
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    provider: str = ""
    key: str = field(init=False, repr=False, compare=False)
    union_id: str = field(init=False, repr=False, compare=False)
    sid_key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the keys and the id, which a sign-in needs several times."""
        claims, sid = self.claims, self.claims.get("sid")
        union_ids = (str(claims[name]) for name in _UNION_ID_CLAIMS if is_subject(claims.get(name)))
        # The usual way to set a member of a frozen dataclass.
        set_member = functools.partial(object.__setattr__, self)
        set_member("key", identity_key(self.issuer, self.subject))
        set_member("union_id", next(union_ids, ""))
        set_member("sid_key", identity_key(self.issuer, str(sid)) if is_subject(sid) else "")


def identity_key(issuer: str, subject: str) -> str:
    """Return the SHA-256 of the issuer, a NUL and the subject, in hex.

    Some databases ignore letter case in comparisons. Digests of subjects that differ only in
    letter case are different.
    """
    return hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()


def identify_person(app: CiamApp, token: Mapping[str, Any], nonce: str | None) -> Person:
    """Return the person of a token response; may call CIAM.

    Raises ``CiamError``: ``nobody_named`` if the response identifies no person, or the error of an
    invalid id_token or of a failed call.

    OIDC mode: the issuer and ``sub`` of the verified id_token; userinfo adds the missing claims.
    CIAM's own mode: the origin of the token endpoint with the client id, and ``userId`` of the
    response or else of ``user/info``. The id_token of this mode names the application and proves
    nothing, so that it is not read.
    """
    return (
        _identify_by_id_token(app, token, nonce)
        if app.is_oidc
        else _identify_by_user_info(app, token)
    )


def issuer_of(app: CiamApp) -> str:
    """Return the issuer of all persons in the current mode, from the settings alone.

    OIDC mode: the client's ``issuer``, or else the metadata's address without its well-known path
    (OpenID Connect Discovery 1.0, section 4.1). The address does not show if the issuer ends in a
    slash; the metadata does. CIAM's own mode: the origin of the token endpoint with the client id.
    """
    if app.is_oidc:
        return app.issuers[0]
    address = urlsplit(app.access_token_url)
    host = address.netloc.rpartition("@")[2]
    return f"{address.scheme}://{host}/{app.client_id}"


def load_issuer(app: CiamApp) -> str:
    """Return the issuer that a sign-in gives its persons in the current mode; may call CIAM.

    OIDC mode without the client's ``issuer``: the issuer in the metadata, whose URL does not show
    if the issuer ends in a slash. Otherwise ``issuer_of``. Raises a ``CiamError`` if the metadata
    can't be loaded.
    """
    is_exact = not app.is_oidc or len(app.issuers) == 1
    return issuer_of(app) if is_exact else str(app.load_server_metadata()["issuer"])


def _identify_by_id_token(app: CiamApp, token: Mapping[str, Any], nonce: str | None) -> Person:
    claims = app.verify_id_token(token, nonce)
    person = checked_person(app, claims["iss"], claims["sub"], claims, Stage.ID_TOKEN)
    if not (_lacks_claims(app, claims) and app.load_server_metadata().get("userinfo_endpoint")):
        return person
    userinfo = app.fetch_userinfo(token["access_token"], person.subject)
    return replace(person, claims={**userinfo, **claims})


def _identify_by_user_info(app: CiamApp, token: Mapping[str, Any]) -> Person:
    is_in_token = bool(token.get("userId"))
    user_info = token if is_in_token else CiamClient(app).user_info(token["access_token"]).data
    claims = {name: value for name, value in user_info.items() if not name.endswith("_token")}
    return checked_person(app, issuer_of(app), claims.get("userId"), claims, Stage.USERINFO)


def identify_token_holder(app: CiamApp, access_token: str) -> Person:
    """Return the person of an access token, by a call of CIAM's ``userinfo`` or ``user/info``.

    Raises ``CiamError``: ``nobody_named``, or the error of the call.
    """
    if not app.is_oidc:
        return _identify_by_user_info(app, {"access_token": access_token})
    claims = app.fetch_userinfo(access_token)
    return checked_person(app, load_issuer(app), claims.get("sub"), claims, Stage.USERINFO)


def checked_person(
    app: CiamApp, issuer: str, subject: object, claims: Mapping[str, Any], stage: Stage
) -> Person:
    """Return the person; raise ``nobody_named`` if the subject can't be a person's."""
    # If the id of the application were a subject, all users would sign in as the same person.
    applications = {app.client_id, issuer.rstrip("/").rpartition("/")[2]}
    applications |= {name for member in APPLICATION_CLAIMS for name in names_in(claims.get(member))}
    if not is_subject(subject) or subject in applications:
        raise CiamError("nobody_named", stage=stage)
    return Person(issuer=issuer, subject=str(subject), claims=claims)


def names_in(value: object) -> frozenset[object]:
    """Return the names in a claim, a text or a list; an unreadable value counts as unknown name."""
    # CIAM's documented tokens have an empty `azp`.
    listed = value if isinstance(value, list) else [value] if value not in (None, "") else []
    return frozenset(name if isinstance(name, str) else object() for name in listed)


def _lacks_claims(app: CiamApp, claims: Mapping[str, Any]) -> bool:
    """Return True if the id_token has none of the claims of one of the requested scopes."""
    requested = str(app.client_kwargs["scope"]).split()
    scopes = [scope for scope in requested if scope in _CLAIMS_OF_SCOPES]
    return any(not claims.keys() & _CLAIMS_OF_SCOPES[scope] for scope in scopes)


def is_subject(subject: object) -> bool:
    """Return True if the value can be a ``sub``: a printable text of 1 to 255 characters.

    OpenID Connect Core 1.0, section 2, limits the length.
    """
    return isinstance(subject, str) and 0 < len(subject) <= _LONGEST and subject.isprintable()
