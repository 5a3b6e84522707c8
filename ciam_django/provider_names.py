"""The names of the social providers in the user's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.utils.translation import pgettext_lazy

from ciam_django.conf import conf

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

PROVIDER_NAMES: Final[Mapping[str, StrPromise]] = {
    "wechat": pgettext_lazy("ciam", "WeChat"),
    "qq": pgettext_lazy("ciam", "QQ"),
    "weibo": pgettext_lazy("ciam", "Weibo"),
    "alipay": pgettext_lazy("ciam", "Alipay"),
    "dingtalk": pgettext_lazy("ciam", "DingTalk"),
    "feishu": pgettext_lazy("ciam", "Feishu"),
    "apple": pgettext_lazy("ciam", "Apple"),
    "google": pgettext_lazy("ciam", "Google"),
}


def provider_name(slug: str) -> str:
    """Return the name of the provider that an identity has stored, such as ``wechat-website``.

    The name is the ``label`` of the entry in ``CIAM_SOCIAL_PROVIDERS``, or the name of the table.
    Without both, it is the slug itself.
    """
    row, label = _row_and_label(slug)
    return str(label or PROVIDER_NAMES.get(row, slug))


def provider_row(slug: str) -> str:
    """Return the name in ``PROVIDER_NAMES`` for a slug such as ``wechat-website``: ``wechat``.

    An entry of ``CIAM_SOCIAL_PROVIDERS`` can name the row. If the project and the table do not know
    the slug, the result is the beginning of the slug.
    """
    return _row_and_label(slug)[0]


def _row_and_label(slug: str) -> tuple[str, object]:
    name, _, part = slug.partition("-")
    entries = conf.CIAM_SOCIAL_PROVIDERS
    group = entries.get(name)
    entry = entries.get(slug) or (group.get(part) if isinstance(group, Mapping) else None)
    if not isinstance(entry, Mapping):
        entry = {}
    return str(entry.get("provider") or name).partition(".")[0], entry.get("label")
