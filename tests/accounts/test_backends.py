"""``CiamBackend`` finds or creates the user of a person of CIAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from ciam_django.accounts import backends
from ciam_django.accounts.backends import (
    CiamBackend,
    attribute_failures_to,
    attributed_digest,
    find_visible_user,
    name_digest,
    record_typed_name,
    typed_name_of,
    update_names,
)
from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import Person
from tests.users import get_or_create_user

pytestmark = pytest.mark.django_db

LI = Person("https://ciam.example", "u-1")


def test_a_new_person_gets_a_new_user_without_a_password() -> None:
    user = get_or_create_user(LI)

    assert not user.has_usable_password()
    assert CiamIdentity.objects.get(user_id=user.pk).subject == "u-1"


@pytest.mark.parametrize(
    "other",
    [Person(LI.issuer, "U-1"), Person("https://ciam.example2", "u-1"), Person(LI.issuer, "u-2")],
)
def test_a_person_with_one_different_letter_gets_another_user(other: Person) -> None:
    assert get_or_create_user(LI) != get_or_create_user(other)


def test_claims_never_link_to_an_existing_user() -> None:
    existing = get_user_model().objects.create_user("li", email="li@example.com")
    claims = {"email": "li@example.com", "preferred_username": "li"}

    assert get_or_create_user(Person(LI.issuer, LI.subject, claims)) != existing


def test_an_identity_created_in_another_tab_is_found() -> None:
    first = get_or_create_user(LI)
    lookups: list[int] = []
    select_related = QuerySet.select_related

    def miss_first_lookup(queryset: QuerySet[Any], *args: str) -> object:
        # The first lookup runs before the other tab has stored the identity.
        lookups.append(1)
        return select_related(queryset.none() if len(lookups) == 1 else queryset, *args)

    with patch.object(QuerySet, "select_related", miss_first_lookup):
        second = get_or_create_user(LI)

    assert len(lookups) == 2
    assert first == second
    assert get_user_model().objects.count() == 1


def test_django_finds_the_user_through_the_backend() -> None:
    assert authenticate(None, ciam_person=LI) == get_or_create_user(LI)
    assert CiamBackend().authenticate(None) is None
    assert backends.CiamBackend().authenticate(None, username="li", password="x") is None


def test_an_inactive_user_is_not_authenticated() -> None:
    user = get_or_create_user(LI)
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)

    assert CiamBackend().authenticate(None, ciam_person=LI) is None


# --- The provider and the union id --------------------------------------------------------------


@pytest.mark.parametrize("claim", ["unionid", "unionId", "union_id"])
def test_the_union_id_of_wechat_is_stored(claim: str) -> None:
    get_or_create_user(Person(LI.issuer, LI.subject, {claim: "o6_bm"}, provider="wechat"))
    identity = CiamIdentity.objects.get()

    assert (identity.union_id, identity.provider) == ("o6_bm", "wechat")


@pytest.mark.parametrize("value", ["", 7, None, ["x"], "x" * 256, "a\nb"])
def test_an_invalid_union_id_is_not_stored(value: object) -> None:
    get_or_create_user(Person(LI.issuer, LI.subject, {"unionid": value}))

    assert CiamIdentity.objects.get().union_id == ""


def test_a_later_sign_in_adds_values_and_removes_no_value() -> None:
    get_or_create_user(LI)
    get_or_create_user(Person(LI.issuer, LI.subject, {"unionid": "o6_bm"}, provider="wechat"))
    get_or_create_user(LI)
    identity = CiamIdentity.objects.get()

    assert (identity.union_id, identity.provider) == ("o6_bm", "wechat")


def test_finding_a_user_takes_one_query(django_assert_num_queries: Callable[..., Any]) -> None:
    get_or_create_user(LI)
    with django_assert_num_queries(1):
        get_or_create_user(LI)


# --- The names that identify a person in the record of failures --------------------------------


def test_the_digest_of_a_name_never_changes(settings: Settings) -> None:
    # The database holds digests that earlier versions of this package have stored.
    settings.SECRET_KEY = "a key of a project"

    assert name_digest(" Li@Example.com ") == "ca2947978316c099952f4097074e86e9"


def test_the_names_of_the_claims_and_of_the_form_are_stored(rf: RequestFactory) -> None:
    get_or_create_user(LI)
    request = rf.post("/")
    attribute_failures_to(request, "13800000000")
    person = Person(LI.issuer, LI.subject, {"email": "li@example.com", "username": "li"})
    update_names(request, CiamIdentity.objects.get(), person)

    names = ["li@example.com", "li", "13800000000"]
    assert CiamIdentity.objects.get().names == [name_digest(name) for name in names]


def test_a_typed_name_is_recorded_in_lower_case_and_fits_the_column_of_django_axes(
    rf: RequestFactory,
) -> None:
    request = rf.post("/")
    assert (typed_name_of(request), attributed_digest(request)) == ("", "")
    record_typed_name(request, "Li" * 200)

    assert typed_name_of(request) == ("li" * 200)[:255]
    assert attributed_digest(request) == name_digest("li" * 200)


def test_only_the_eight_newest_names_are_stored(rf: RequestFactory) -> None:
    get_or_create_user(LI)
    for number in range(10):
        person = Person(LI.issuer, LI.subject, {"email": f"li{number}@example.com"})
        update_names(rf.post("/"), CiamIdentity.objects.get(), person)

    assert CiamIdentity.objects.get().names == [
        name_digest(f"li{number}@example.com") for number in range(9, 1, -1)
    ]


def test_names_that_are_already_stored_need_no_query(
    rf: RequestFactory, django_assert_num_queries: Callable[..., Any]
) -> None:
    get_or_create_user(LI)
    person = Person(LI.issuer, LI.subject, {"email": "li@example.com", "username": "li"})
    update_names(rf.post("/"), CiamIdentity.objects.get(), person)
    identity = CiamIdentity.objects.get()

    with django_assert_num_queries(0):
        update_names(rf.post("/"), identity, person)


# --- A replica that lags ----------------------------------------------------------------------


class ReplicaRouter:
    """Read users from a replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"


def test_a_user_whom_the_replica_lacks_is_read_from_the_database_that_writes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.create_user("another")
    user = get_or_create_user(LI)
    # The replica has no user yet.
    monkeypatch.setattr(ModelBackend, "get_user", lambda backend, user_id: None)
    assert CiamBackend().get_user(user.pk) is None
    settings.DATABASE_ROUTERS = [f"{__name__}.ReplicaRouter"]
    assert CiamBackend().get_user(user.pk) == user
    assert CiamBackend().get_user(user.pk + 1) is None
    User.objects.using("default").update(is_active=False)
    assert CiamBackend().get_user(user.pk) is None


def test_the_visible_user_of_a_person_is_not_the_user_of_another_person() -> None:
    wang, li = get_or_create_user(Person(LI.issuer, "u-2")), get_or_create_user(LI)

    assert find_visible_user(LI) == li
    assert find_visible_user(Person(LI.issuer, "u-2")) == wang
    assert find_visible_user(Person(LI.issuer, "u-3")) is None


def test_a_new_provider_or_name_of_a_person_changes_no_other_identity() -> None:
    wang = Person(LI.issuer, "u-2", {"unionid": "wang", "email": "wang@example.com"}, "qq")
    get_or_create_user(wang)
    get_or_create_user(LI)
    before = CiamIdentity.objects.values().get(subject="u-2")
    get_or_create_user(Person(LI.issuer, LI.subject, {"unionid": "li"}, "weibo"))
    identity = CiamIdentity.objects.get(subject=LI.subject)
    request = RequestFactory().get("/")
    update_names(request, identity, Person(LI.issuer, LI.subject, {"email": "li@example.com"}))

    identity.refresh_from_db()
    assert (identity.provider, identity.union_id) == ("weibo", "li")
    assert identity.names == [name_digest("li@example.com")]
    assert CiamIdentity.objects.values().get(subject="u-2") == before
