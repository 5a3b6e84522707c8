"""Several processes with one cache, as a deployment has them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import override_settings

from ciam_django.client.oauth import ciam_app
from ciam_django.login import state
from ciam_django.testing import FakeCiam

PROCESSES = 4


@pytest.fixture
def processes(redis: Path, fake_ciam: FakeCiam) -> Iterator[Pool]:
    """A deployment, whose processes are up and know nothing yet."""
    configured = {
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"unix://{redis}",
            }
        },
        "AUTHLIB_OAUTH_CLIENTS": {"ciam": fake_ciam.client("oidc")},
    }
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(PROCESSES, _begin, (configured,)) as pool:
        pool.map(_at, [(time.time() + 0.1, time.time)] * PROCESSES, chunksize=1)
        yield pool


def _begin(configured: dict[str, Any]) -> None:
    django.setup()
    # For as long as the process lives.
    override_settings(**configured).enable()


def _at(task: tuple[float, Callable[[], Any]]) -> Any:
    moment, function = task
    time.sleep(max(0, moment - time.time()))
    return function()


def all_at_once(processes: Pool, function: Callable[[], Any]) -> list[Any]:
    return processes.map(_at, [(time.time() + 0.3, function)] * PROCESSES, chunksize=1)


def _key_id() -> object:
    return ciam_app()._keys().current().content.keys[0].kid


def _newer_key_id() -> object:
    keys = ciam_app()._keys()
    return keys.newer(keys.current()).content.keys[0].kid


def test_one_process_fetches_for_all(processes: Pool, fake_ciam: FakeCiam) -> None:
    assert set(all_at_once(processes, _key_id)) == {fake_ciam.key.kid}
    assert sorted(request.stage for request in fake_ciam.requests) == ["discovery", "jwks"]


def test_rotated_keys_are_fetched_by_one(processes: Pool, fake_ciam: FakeCiam) -> None:
    all_at_once(processes, _key_id)
    fake_ciam.rotate_keys()

    assert set(all_at_once(processes, _newer_key_id)) == {fake_ciam.key.kid}
    # And no second time in the same minute.
    assert set(all_at_once(processes, _newer_key_id)) == {fake_ciam.key.kid}
    assert sorted(request.stage for request in fake_ciam.requests) == ["discovery", "jwks", "jwks"]


def _spend(sign_in: state.SignIn) -> bool:
    return state.spend(sign_in)


def test_a_state_is_spent_once(processes: Pool) -> None:
    sign_in = state.begun(next_url="/")

    assert sorted(processes.map(_spend, [sign_in] * 20, chunksize=1)) == [False] * 19 + [True]
