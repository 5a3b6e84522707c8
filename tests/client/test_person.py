"""The person of a token response."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from ciam_django.client.app import ciam_app
from ciam_django.client.person import Person, checked_person, identify_person, issuer_of, names_in
from ciam_django.errors import CiamError, Stage
from ciam_django.testing import FakeCiam
from tests.client.test_oauth import NONCE, fetch_token
from tests.rows import for_each_row


def test_a_person_has_the_same_issuer_and_subject_at_each_login(ciam: FakeCiam) -> None:
    app = ciam_app()
    first = identify_person(app, fetch_token(ciam, app), NONCE)
    second = identify_person(app, fetch_token(ciam, app), NONCE)

    assert (first.issuer, first.subject) == (second.issuer, second.subject)
    assert first.issuer.startswith(ciam.url)


@pytest.mark.parametrize("claim", ["unionid", "unionId", "union_id"])
def test_a_person_has_the_union_id_of_wechat_in_each_spelling(claim: str) -> None:
    assert Person("https://ciam.example", "u-1", {claim: "o6_bm"}).union_id == "o6_bm"
    assert Person("https://ciam.example", "u-1", {claim: ["o6_bm"]}).union_id == ""


def test_the_representation_of_a_person_has_no_claims() -> None:
    assert "138" not in repr(Person("https://ciam", "u1", {"phoneNumber": "138"}))


@for_each_row(
    "issuer, claims",
    [
        ("https://ciam.example/u-1", {}),
        ("https://ciam.example/u-1/", {}),
        ("https://ciam.example", {"azp": ["u-1"]}),
        ("https://ciam.example", {"aud": ["another", "u-1"]}),
        ("https://ciam.example", {"clientId": "u-1"}),
        ("https://ciam.example", {"idaasAppId": "u-1"}),
        ("https://ciam.example", {"azp": "u-1"}),
        ("https://ciam.example", {"client_id": "u-1"}),
    ],
)
def test_a_subject_that_is_an_id_of_the_application_is_refused(
    issuer: str, claims: dict[str, str], ciam: FakeCiam
) -> None:
    """The application's id is at the end of CIAM's issuer, or in ``azp`` or ``client_id``."""
    app = ciam_app()
    with pytest.raises(CiamError) as raised:
        checked_person(app, issuer, "u-1", claims, Stage.USERINFO)

    assert (raised.value.code, raised.value.stage) == ("nobody_named", "userinfo")
    assert checked_person(app, issuer, "u-2", claims, Stage.USERINFO).subject == "u-2"


@for_each_row(
    "value, is_empty",
    [(None, True), ("", True), ([], True), ("u-1", False), (["u-1"], False), (7, False)],
)
def test_an_unreadable_name_is_a_name_and_an_empty_text_is_none(
    value: object, is_empty: bool
) -> None:
    names = names_in(value)

    assert (not names) is is_empty
    # A name that is not a text is no allowed name.
    assert all(name == "u-1" or not isinstance(name, str) for name in names)


class TestOidc:
    """In OIDC mode the verified id_token names the person."""

    @pytest.fixture
    def mode(self) -> str:
        return "oidc"

    def test_the_id_of_the_application_is_refused_as_a_person(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        ciam.id_token_claims.update(sub=app.client_id)
        with pytest.raises(CiamError) as raised:
            identify_person(app, fetch_token(ciam, app), NONCE)

        assert (raised.value.code, raised.value.stage) == ("nobody_named", "id_token")

    @pytest.mark.parametrize(
        ("scope", "claims", "calls"),
        [
            ("openid", {}, 0),
            ("openid profile email", {}, 0),
            ("openid profile email", {"name": None, "preferred_username": None}, 1),
            ("openid profile email", {"email": None}, 1),
            ("openid", {"name": None, "email": None}, 0),
            ("openid phone", {}, 1),
            *(
                ("openid profile", {"name": None, "preferred_username": None, claim: "Li"}, 0)
                for claim in ("nickname", "given_name", "family_name", "picture")
            ),
        ],
    )
    def test_userinfo_is_called_only_for_claims_that_the_id_token_lacks(
        self,
        ciam: FakeCiam,
        settings: Settings,
        scope: str,
        claims: dict[str, str | None],
        calls: int,
    ) -> None:
        client = {**ciam.client("oidc"), "client_kwargs": {"scope": scope}}
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        app = ciam_app()
        ciam.id_token_claims.update(claims)
        person = identify_person(app, fetch_token(ciam, app), NONCE)

        assert [request.stage for request in ciam.requests].count("userinfo") == calls
        assert bool(person.claims.get("name")) is (calls == 1 or "name" not in claims)

    def test_the_id_token_is_enough_without_a_userinfo_endpoint(
        self, ciam: FakeCiam, settings: Settings
    ) -> None:
        ciam.metadata = {"userinfo_endpoint": None}
        client = {**ciam.client("oidc"), "client_kwargs": {"scope": "openid phone"}}
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}
        app = ciam_app()

        assert identify_person(app, fetch_token(ciam, app), NONCE).subject


class TestCiam:
    """In CIAM's own mode ``userId`` names the person, and the id_token is not read."""

    @pytest.fixture
    def mode(self) -> str:
        return "ciam"

    def test_the_issuer_is_the_origin_with_the_client_id(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        person = identify_person(
            app, {"access_token": "a", "userId": "u1", "id_token": "junk"}, NONCE
        )

        assert person == Person(f"{ciam.url}/{app.client_id}", "u1", person.claims)
        assert set(person.claims) == {"userId"}

    def test_a_password_in_the_address_is_no_part_of_the_issuer(
        self, ciam: FakeCiam, settings: Settings
    ) -> None:
        client = ciam.client("ciam")
        client["access_token_url"] = client["access_token_url"].replace("//", "//li:secret@")
        settings.AUTHLIB_OAUTH_CLIENTS = {"ciam": client}

        assert issuer_of(ciam_app()) == f"{ciam.url}/{client['client_id']}"

    def test_user_info_is_called_if_the_token_response_has_no_user_id(self, ciam: FakeCiam) -> None:
        app = ciam_app()
        token = fetch_token(ciam, app)
        user_id = token.pop("userId")

        assert identify_person(app, token, NONCE).subject == user_id

    @pytest.mark.parametrize("user_id", [7, ["u1"], {"a": 1}, "u" * 256, "u\0", "u\r\n"])
    def test_an_invalid_user_id_is_refused_as_a_person(
        self, ciam: FakeCiam, user_id: object
    ) -> None:
        with pytest.raises(CiamError) as raised:
            identify_person(ciam_app(), {"access_token": "a", "userId": user_id}, NONCE)

        assert (raised.value.code, raised.value.stage) == ("nobody_named", "userinfo")
