"""Call CIAM's API from coroutines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ciam_django.client.api import CiamClient
from ciam_django.coroutines import async_twin

if TYPE_CHECKING:
    from ciam_django.client.oauth import CiamApp

P = ParamSpec("P")
T = TypeVar("T")


def _twin(
    method: Callable[Concatenate[CiamClient, P], T],
) -> Callable[Concatenate[AsyncCiamClient, P], Coroutine[Any, Any, T]]:
    @functools.wraps(method)
    def call(client: AsyncCiamClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(CiamClient(client.app), *args, **kwargs)

    return async_twin(call)


class AsyncCiamClient:
    """``CiamClient`` for coroutines: each method has the same arguments, result and errors.

    A call runs in the thread of the request, see ``async_twin``. The calls of one request run one
    after the other.
    """

    def __init__(self, app: CiamApp | None = None) -> None:
        self.app = app

    # --- Signing in, with the application's token -------------------------------------------

    login_page = _twin(CiamClient.login_page)
    auth_sources = _twin(CiamClient.auth_sources)
    adapter_info = _twin(CiamClient.adapter_info)
    consents = _twin(CiamClient.consents)
    captcha = _twin(CiamClient.captcha)
    password_login = _twin(CiamClient.password_login)
    obtain_code = _twin(CiamClient.obtain_code)
    verify_code = _twin(CiamClient.verify_code)
    social_login = _twin(CiamClient.social_login)
    prepare_second_factor = _twin(CiamClient.prepare_second_factor)
    verify_second_factor = _twin(CiamClient.verify_second_factor)
    register_obtain_code = _twin(CiamClient.register_obtain_code)
    register_submit = _twin(CiamClient.register_submit)

    # --- Next steps and other login methods (unverified: see endpoints.py) -------------------

    set_new_password = _twin(CiamClient.set_new_password)
    give_consent = _twin(CiamClient.give_consent)
    complete_profile = _twin(CiamClient.complete_profile)
    link_obtain_code = _twin(CiamClient.link_obtain_code)
    link_account = _twin(CiamClient.link_account)
    create_linked = _twin(CiamClient.create_linked)
    recover_obtain_code = _twin(CiamClient.recover_obtain_code)
    recover_submit = _twin(CiamClient.recover_submit)
    mini_program_login = _twin(CiamClient.mini_program_login)
    mini_program_phone = _twin(CiamClient.mini_program_phone)
    mini_program_user_info = _twin(CiamClient.mini_program_user_info)

    # --- Self-service, with the user's access token ------------------------------------------

    user_check = _twin(CiamClient.user_check)
    operate_check = _twin(CiamClient.operate_check)
    user_info = _twin(CiamClient.user_info)
    change_user_info = _twin(CiamClient.change_user_info)
    login_history = _twin(CiamClient.login_history)
    agreements = _twin(CiamClient.agreements)
    recall_agreement = _twin(CiamClient.recall_agreement)
    user_logout = _twin(CiamClient.user_logout)
    change_password = _twin(CiamClient.change_password)
    change_phone = _twin(CiamClient.change_phone)
    change_email = _twin(CiamClient.change_email)
    close_account = _twin(CiamClient.close_account)

    # --- User management, with the application's token ---------------------------------------

    find_user = _twin(CiamClient.find_user)
    create_user = _twin(CiamClient.create_user)
    enable_user = _twin(CiamClient.enable_user)
    disable_user = _twin(CiamClient.disable_user)
    unlock_user = _twin(CiamClient.unlock_user)
