"""The table of CIAM's API: name -> method, path, and whose credential it takes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


@enum.unique
class Credential(enum.StrEnum):
    """Whose access token a call carries."""

    USER = "user"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row: ``path`` is below ``PREFIX``; ``documented`` says that the vendor's pages have it."""

    method: str
    path: str
    credential: Credential
    documented: bool = True


PREFIX: Final = "/api/bff/v1.2/developer/ciam/"

ENDPOINTS: Final[dict[str, Endpoint]] = {
    # https://help.aliyun.com/en/idaas/ciam/developer-reference/user-interface
    "user_info": Endpoint("GET", "user/info", Credential.USER),
}
