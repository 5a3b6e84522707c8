"""Configure Sphinx; ``tox run -e docs`` builds the documentation."""

from __future__ import annotations

import ciam_django

project = "ciam_django"
author = "the authors of ciam_django"
version = release = ciam_django.__version__
language = "en"

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# The anchors of headings are those of a code host, so that a link works there and here.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

html_theme = "furo"
html_title = f"ciam_django {release}"
html_copy_source = False
