"""CIAM's API: each call returns its data or raises a ``CiamError``."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from ciam_django.client.bodies import data_of
from ciam_django.client.endpoints import ENDPOINTS, PREFIX
from ciam_django.client.oauth import CiamApp, ciam_app
from ciam_django.errors import CiamError, leaving_no_values, raising_ciam_errors


class CiamClient:
    """The API at ``api_base_url`` of ``AUTHLIB_OAUTH_CLIENTS["ciam"]``."""

    def __init__(self, app: CiamApp | None = None) -> None:
        self.app = app or ciam_app()

    @leaving_no_values
    def user_info(self, access_token: str) -> dict[str, Any]:
        """The person whom the access token is of: ``userId``, ``username`` and so on.

        Raises a ``CiamError`` of stage ``api``.
        """
        return self._called("user_info", access_token)

    def _called(self, name: str, access_token: str) -> dict[str, Any]:
        endpoint = ENDPOINTS[name]
        if not self.app.api_base_url:
            raise CiamError(
                "bad_configuration", stage="api", upstream_text="there is no api_base_url"
            )
        url = urljoin(self.app.api_base_url, PREFIX + endpoint.path)
        with raising_ciam_errors("api"), self.app.session() as session:
            return data_of(
                session.request(
                    endpoint.method,
                    url,
                    withhold_token=True,
                    headers={"Authorization": f"Bearer {access_token}"},
                )
            )
