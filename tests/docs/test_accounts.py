"""Run the code of docs/accounts.md, and the commands with its files."""

from __future__ import annotations

import logging
from io import StringIO
from typing import Final

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.template import engines
from django.test import RequestFactory

from ciam_django.accounts.models import CiamIdentity
from ciam_django.client.person import identity_key
from ciam_django.signals import login_failed
from ciam_django.testing import FakeCiam
from tests.browser import Browser
from tests.docs.blocks import take, take_all
from tests.docs.conftest import Project
from tests.docs.new_project import NEW_PROJECT
from tests.docs.projects import check_messages

pytestmark = pytest.mark.django_db

PAGE: Final = "accounts.md"
NEW_USER: Final = (take(PAGE, "shop/settings.py", index=1), take(PAGE, "shop/ciam.py"))
IDENTITIES: Final = take(PAGE, "templates/identities.html")
RECEIVERS: Final = take(PAGE, "shop/receivers.py")
PEOPLE_CSV, SUBJECTS_CSV = take_all(PAGE, "text")


def test_the_function_creates_the_new_user(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*NEW_PROJECT, *NEW_USER)
    Browser(fake_ciam).sign_in("li")

    user, identity = User.objects.get(), CiamIdentity.objects.get()
    assert check_messages() == []
    assert user.username == f"customer-{identity.subject}"
    assert not user.has_usable_password()


def test_the_forms_link_and_remove_an_identity(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*NEW_PROJECT)
    browser = Browser(fake_ciam)
    browser.sign_in("li")
    user = User.objects.get()

    def html() -> str:
        request = RequestFactory().get("/")
        return engines["django"].from_string(IDENTITIES.text).render({"user": user}, request)

    assert 'action="/ciam/authorize/"' in html()
    leave = browser.client.post("/ciam/authorize/", {"next": "/", "link": "1"})
    browser.open_callback(fake_ciam.authorize(leave["Location"], username="wang"))
    assert user.ciam_identities.count() == 2
    removed = user.ciam_identities.order_by("pk").last()
    assert removed
    assert f'name="identity" value="{removed.pk}"' in html()
    browser.client.post("/ciam/unlink/", {"next": "/", "identity": removed.pk})
    assert user.ciam_identities.count() == 1


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_the_files_link_and_rename_users(project: Project, fake_ciam: FakeCiam) -> None:
    project.start(*NEW_PROJECT)
    for name in ("li.na", "wang.wei"):
        User.objects.create_user(name)
    people, subjects = project.folder / "people.csv", project.folder / "subjects.csv"
    people.write_text(PEOPLE_CSV.text)
    subjects.write_text(SUBJECTS_CSV.text)

    run("ciam_link", str(people))
    assert not CiamIdentity.objects.exists()
    run("ciam_link", str(people), "--apply")
    linked = dict(CiamIdentity.objects.values_list("user__username", "subject"))
    assert linked == {"li.na": "fake-li", "wang.wei": "fake-wang"}

    CiamIdentity.objects.filter(subject="fake-wang").delete()
    old = "https://old.example"
    CiamIdentity.objects.update(issuer=old, key=identity_key(old, "fake-li"))
    rekey = ("ciam_rekey", "--from", old, "--subjects", str(subjects))
    run(*rekey)
    assert CiamIdentity.objects.get().issuer == old
    run(*rekey, "--apply")
    identity = CiamIdentity.objects.get()
    assert (identity.issuer, identity.subject) == (fake_ciam.issuer, "8a3f-li")
    with pytest.raises(CommandError, match="no identity has this issuer"):
        run(*rekey)


@pytest.mark.django_db(transaction=True)
def test_the_receivers_get_the_signals(
    project: Project, fake_ciam: FakeCiam, caplog: pytest.LogCaptureFixture
) -> None:
    project.start(*NEW_PROJECT, RECEIVERS)
    caplog.set_level(logging.INFO, "shop")
    receivers = project.module("shop.receivers")

    browser = Browser(fake_ciam)
    browser.sign_in("li")
    browser.client.post("/ciam/logout/")
    browser.sign_in("fail:Operation.Failure.User.Locked")

    words = [record.getMessage() for record in caplog.records if record.name == "shop"]
    assert words == [
        f"new customer {User.objects.get().pk}, from CIAM",
        f"customer {User.objects.get().pk} is signed out: left",
        "sign-in failed: Operation.Failure.User.Locked, shown as Operation.Failure.User.Locked",
    ]
    assert login_failed.disconnect(receivers.count_failure)
