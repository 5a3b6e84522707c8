"""The Sphinx extension: pages and sections of the reference, links to them, and the search."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from ciam_reference.codes import code_pages
from ciam_reference.parts import PARTS
from ciam_reference.targets import targets

_SEARCH_SCRIPT: Final = "search-names.js"
_SEARCH_INDEX: Final = "search-names-index.js"


class PartDirective(SphinxDirective):
    """``{ciam-reference} NAME`` inserts a part of the reference, made from the package."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the part."""
        name = self.arguments[0]
        if name not in PARTS:
            raise self.error(f"ciam-reference has no {name!r}. Allowed: {', '.join(PARTS)}.")
        return self.parse_text_to_nodes(PARTS[name](), allow_section_headings=True)


class LinkNames(SphinxPostTransform):
    """Link each code span that is exactly the name of a target to the target's place."""

    default_priority = 500
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Replace the code spans of the document."""
        for span in list(self.document.findall(nodes.literal)):
            target = targets().get(span.astext())
            if target is None or target.page == self.env.docname or _is_in_link_or_title(span):
                continue
            uri = self.app.builder.get_relative_uri(self.env.docname, target.page)
            uri += f"#{target.anchor}" if target.anchor else ""
            link = nodes.reference("", "", internal=True, refuri=uri, classes=["ciam-name"])
            span.replace_self(link)
            link += span


class UnlinkOtherFiles(SphinxPostTransform):
    """Replace each link to a file of the repository outside of ``docs`` by its text.

    The link works on the page of a code host, and the built documentation does not have the file.
    """

    # MyST warns of these links with the priority 9.
    default_priority = 8

    def run(self, **kwargs: Any) -> None:
        """Replace the links of the document."""
        for link in list(self.document.findall(addnodes.pending_xref)):
            if link["reftype"] == "myst" and self._is_outside(link["reftarget"]):
                link.replace_self(link.children)

    def _is_outside(self, target: str) -> bool:
        folder = Path(self.app.srcdir, self.env.docname).parent
        path = (folder / target.partition("#")[0]).resolve()
        # MyST removes the suffix of Markdown.
        exists = path.exists() or path.with_name(f"{path.name}.md").exists()
        return exists and not path.is_relative_to(self.app.srcdir)


def _is_in_link_or_title(span: nodes.Node) -> bool:
    parent = span.parent
    while parent is not None:
        if isinstance(parent, nodes.reference | nodes.title):
            return True
        parent = parent.parent
    return False


def write_code_pages(app: Sphinx) -> None:
    """Write a page for each code, and delete the pages of codes that no longer exist."""
    folder = Path(app.srcdir, "codes")
    pages = {folder / f"{name}.md": text for name, text in code_pages().items()}
    for path in set(folder.glob("*.md")) - {folder / "index.md", *pages}:
        path.unlink(missing_ok=True)
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            # Another build can run at the same time, and must not read a part of the page.
            new = path.with_suffix(f".{os.getpid()}")
            new.write_text(text, encoding="utf-8")
            new.replace(path)


def write_search_index(app: Sphinx, exception: Exception | None) -> None:
    """Write the names that the search page finds, as a script that needs no request."""
    if exception or app.builder.format != "html":
        return
    names = {}
    for name, target in targets().items():
        if not Path(app.srcdir, f"{target.page}.md").exists():
            raise ExtensionError(f"{name} has no page: {target.page}.md does not exist.")
        uri = app.builder.get_target_uri(target.page)
        names[name.lower()] = [name, f"{uri}#{target.anchor}" if target.anchor else uri]
    text = json.dumps(names, ensure_ascii=True, separators=(",", ":"))
    index = Path(app.outdir, "_static", _SEARCH_INDEX)
    index.write_text(f"window.searchNames = {text};\n", encoding="utf-8")


def add_search_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Add the scripts to the search page only."""
    if pagename == "search":
        app.add_js_file(_SEARCH_INDEX)
        app.add_js_file(_SEARCH_SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the parts of the extension."""
    app.add_directive("ciam-reference", PartDirective)
    app.add_post_transform(UnlinkOtherFiles)
    app.add_post_transform(LinkNames)
    app.connect("builder-inited", write_code_pages)
    app.connect("build-finished", write_search_index)
    app.connect("html-page-context", add_search_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
