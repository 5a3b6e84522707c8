"""Bearer tokens of CIAM in django-ninja: ``NinjaAPI(auth=user_and_bearer)``.

This module does not import django-ninja, which accepts any function of a request as ``auth``.
"""

from __future__ import annotations

from ciam_django.accounts.bearer import user_and_bearer

__all__ = ["user_and_bearer"]
