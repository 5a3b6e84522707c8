"""The description of the package is README.md without its relative links and images.

An index of packages shows the description without the other files, so that relative links lead
nowhere. The project has no public address yet, so that the links cannot be absolute. All other
metadata is in setup.cfg.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
CODE_BLOCK = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
# The group after the text of a link is its path, which is empty for a heading of the same file.
RELATIVE_IMAGE = re.compile(r"!\[([^\]]*)\]\((?!https?:)[^)]*\)")
RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)\s#]*)[^)]*\)")


def without_relative_links(text: str) -> str:
    """The text with the alt text of each image, and with the text and the path of each link."""
    parts = CODE_BLOCK.split(text)
    for place in range(0, len(parts), 2):
        part = RELATIVE_IMAGE.sub(r"\1", parts[place])
        part = RELATIVE_LINK.sub(_text_of_link, part)
        # An image without alt text leaves an empty paragraph.
        parts[place] = re.sub(r"\n(?:[ \t]*\n){2,}", "\n\n", part)
    return "".join(parts)


def _text_of_link(link: re.Match[str]) -> str:
    words, path = link.groups()
    return words if path in words else f"{words} (`{path}`)"


setup(
    long_description=without_relative_links(README), long_description_content_type="text/markdown"
)
