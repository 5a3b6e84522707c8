"""``AsyncCiamClient`` has the methods of ``CiamClient`` as coroutines."""

from __future__ import annotations

import inspect

import pytest
from asgiref.sync import async_to_sync

from ciam_django.client import AsyncCiamClient, CiamClient
from ciam_django.client.app import ciam_app
from ciam_django.client.results import SignedIn
from ciam_django.errors import CiamError, Stage
from ciam_django.testing import FakeCiam

pytestmark = pytest.mark.parametrize("mode", ["ciam"])


def public_methods(cls: type) -> set[str]:
    return {
        name
        for name, method in vars(cls).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def test_each_method_has_a_twin_with_its_parameters_and_its_description(mode: str) -> None:
    assert public_methods(AsyncCiamClient) == public_methods(CiamClient)
    for name in public_methods(CiamClient):
        method, twin = getattr(CiamClient, name), getattr(AsyncCiamClient, name)
        assert inspect.iscoroutinefunction(twin), name
        assert inspect.signature(twin) == inspect.signature(method), name
        assert twin.__doc__ == method.__doc__, name


def test_a_coroutine_calls_ciam_and_gets_the_values_and_errors_of_the_client(
    ciam: FakeCiam,
) -> None:
    async def call(client: AsyncCiamClient) -> str:
        signed_in = await client.password_login("li", "fake-password")
        assert isinstance(signed_in, SignedIn)
        return (await client.user_info(signed_in.access_token)).display_name

    assert async_to_sync(call)(AsyncCiamClient()) == "Li"
    assert async_to_sync(call)(AsyncCiamClient(ciam_app())) == "Li"
    with pytest.raises(CiamError) as raised:
        async_to_sync(AsyncCiamClient().user_info)("wrong")
    assert raised.value.stage == Stage.API
