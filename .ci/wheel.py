"""Check that the installed package has all files of the tree and answers in Chinese.

The script runs from another directory, without REST framework and the other extras.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import entry_points, metadata
from importlib.util import find_spec
from pathlib import Path

import django
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import translation

import ciam_django

# The wheel must have these files, even if they are missing in the tree.
PATTERNS = (
    "py.typed",
    "locale/zh_Hans/LC_MESSAGES/django.mo",
    "locale/zh_Hans/LC_MESSAGES/django.po",
    "locale/zh_Hant/LC_MESSAGES/django.mo",
    "locale/zh_Hant/LC_MESSAGES/django.po",
    "templates/ciam_django/*.html",
    "static/ciam_django/*",
    "accounts/migrations/0001_*.py",
)
MESSAGE = "This account is locked"
CHINESE = re.compile("[\u4e00-\u9fff]{4}")
PLUGIN = "ciam_django.testing.fixtures"
# The address of a link or an image in Markdown, in a reference definition, or in HTML.
ADDRESS = re.compile(
    r"""\]\(\s*<?([^)>\s]*)|^ {0,3}\[[^\]]+\]:\s*(\S+)|(?:src|srcset|href)=["']?([^"'>\s]+)""",
    re.MULTILINE,
)
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def main(root: Path) -> None:
    installed = Path(ciam_django.__file__).parent
    assert root / "ciam_django" != installed, f"{installed} is the tree, not the installed package"
    assert find_spec("rest_framework") is None, "the package should need none of its extras"

    compare(files_of(root / "ciam_django"), files_of(installed))
    for pattern in PATTERNS:
        assert any(installed.glob(pattern)), f"the wheel has no {pattern}"
    check_metadata()
    check_chinese_answer()


def check_metadata() -> None:
    """Check the description, as an index of packages shows it, and the plugin of pytest."""
    described = metadata("ciam_django")
    text = described["Description"]
    assert text.startswith("# ciam_django"), text[:100]
    assert len(text) > 4000, "the description should be the text of the README"
    assert described["Description-Content-Type"] == "text/markdown"
    found = relative_addresses("[a](b.md) ![](c.png) <img src='d'>\n[e]: f")
    assert found == ["b.md", "c.png", "d", "f"], found
    assert not relative_addresses(text), "setup.py should remove these links and images"
    assert [plugin.value for plugin in entry_points(group="pytest11", name=PLUGIN)] == [PLUGIN]


def relative_addresses(text: str) -> list[str]:
    addresses = ("".join(match.groups("")) for match in ADDRESS.finditer(CODE.sub("", text)))
    return [address for address in addresses if not address.startswith(("https:", "http:"))]


def compare(tree: set[str], wheel: set[str]) -> None:
    assert not tree - wheel, f"not in the wheel (see setup.cfg): {sorted(tree - wheel)}"
    # setuptools does not delete old files in build/.
    assert not wheel - tree, f"only in the wheel (remove build/): {sorted(wheel - tree)}"


def files_of(package: Path) -> set[str]:
    files = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    return {
        file.as_posix()
        for file in files
        if not any(part == "__pycache__" or part.startswith(".") for part in file.parts)
    }


def check_chinese_answer() -> None:
    """Answer an error in a minimal project: no database, no sessions, no extras."""
    settings.configure(INSTALLED_APPS=["ciam_django"], DATABASES={}, LOGGING_CONFIG=None)
    django.setup()
    # These imports need the settings.
    from ciam_django.errors import CiamError  # noqa: PLC0415
    from ciam_django.middleware import CiamErrorMiddleware  # noqa: PLC0415

    middleware = CiamErrorMiddleware(lambda _request: HttpResponse())
    for accept in ("application/json", "text/html"):
        request = RequestFactory().get("/", headers={"accept": accept})
        error = CiamError("Operation.Failure.User.Locked")
        with translation.override("zh-hans"):
            response = middleware.process_exception(request, error)
        assert isinstance(response, HttpResponse)
        # JsonResponse escapes all but ASCII; HTML has Chinese texts as they are.
        text = response.content.decode()
        text = json.loads(text)["detail"] if accept == "application/json" else text
        assert response.headers["Content-Type"].startswith(accept), response.headers
        assert CHINESE.search(text), text
        assert MESSAGE not in text, text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
