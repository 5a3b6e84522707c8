"""A person of CIAM in, a user out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import authenticate, get_user_model

from ciam_django.accounts import backends
from ciam_django.accounts.backends import CiamBackend
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import Person
from tests.users import get_or_create_user

pytestmark = pytest.mark.django_db

LI = Person("https://ciam.example", "u-1")


def test_a_new_person_is_a_new_user_without_a_password() -> None:
    user = get_or_create_user(LI)

    assert not user.has_usable_password()
    assert CiamIdentity.objects.get(user_id=user.pk).subject == "u-1"


@pytest.mark.parametrize(
    "other",
    [Person(LI.issuer, "U-1"), Person("https://ciam.example2", "u-1"), Person(LI.issuer, "u-2")],
)
def test_whoever_differs_in_a_letter_is_another_user(other: Person) -> None:
    assert get_or_create_user(LI) != get_or_create_user(other)


def test_claims_never_link_to_an_existing_user() -> None:
    existing = get_user_model().objects.create_user("li", email="li@example.com")
    claims = {"email": "li@example.com", "preferred_username": "li"}

    assert get_or_create_user(Person(LI.issuer, LI.subject, claims)) != existing


def test_the_person_who_was_faster_in_another_tab_is_found() -> None:
    first = get_or_create_user(LI)
    found, real = [], CiamIdentity.objects.select_related

    def too_early(*args: str) -> object:
        # The first look comes before the other tab has stored anything.
        found.append(1)
        return CiamIdentity.objects.none() if len(found) == 1 else real(*args)

    with patch.object(type(CiamIdentity.objects), "select_related", side_effect=too_early):
        second = get_or_create_user(LI)

    assert first == second
    assert get_user_model().objects.count() == 1


def test_django_finds_the_user_through_the_backend() -> None:
    assert authenticate(None, ciam_person=LI) == get_or_create_user(LI)
    assert CiamBackend().authenticate(None) is None
    assert backends.CiamBackend().authenticate(None, username="li", password="x") is None


def test_a_user_who_is_switched_off_stays_out() -> None:
    user = get_or_create_user(LI)
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)

    assert CiamBackend().authenticate(None, ciam_person=LI) is None


# --- Whom they came from ------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["unionid", "unionId", "union_id"])
def test_wechats_union_id_is_noted(claim: str) -> None:
    get_or_create_user(Person(LI.issuer, LI.subject, {claim: "o6_bm"}, provider="wechat"))
    identity = CiamIdentity.objects.get()

    assert (identity.union_id, identity.provider) == ("o6_bm", "wechat")


@pytest.mark.parametrize("odd", ["", 7, None, ["x"], "x" * 256, "a\nb"])
def test_what_is_no_union_id_is_not_noted(odd: object) -> None:
    get_or_create_user(Person(LI.issuer, LI.subject, {"unionid": odd}))

    assert CiamIdentity.objects.get().union_id == ""


def test_a_later_sign_in_adds_what_it_tells_and_takes_nothing_away() -> None:
    get_or_create_user(LI)
    get_or_create_user(Person(LI.issuer, LI.subject, {"unionid": "o6_bm"}, provider="wechat"))
    get_or_create_user(LI)
    identity = CiamIdentity.objects.get()

    assert (identity.union_id, identity.provider) == ("o6_bm", "wechat")


def test_finding_a_user_takes_one_query(django_assert_num_queries: Callable[..., Any]) -> None:
    get_or_create_user(LI)
    with django_assert_num_queries(1):
        get_or_create_user(LI)
