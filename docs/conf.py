"""Configure Sphinx; ``tox run -e docs`` builds the documentation."""

from __future__ import annotations

import sys
from pathlib import Path

# The extension is not installed. Another version of the package may be installed.
sys.path.insert(0, str(Path(__file__).parent / "_ext"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from ciam_reference.site import set_up_django

import ciam_django

# The modules of the extension import models.
set_up_django()

project = "ciam_django"
author = "the authors of ciam_django"
version = release = ciam_django.__version__
language = "en"
# Options such as --apply keep their two hyphens.
smartquotes = False

extensions = ["myst_parser", "ciam_reference.extension"]
exclude_patterns = ["_build", "_ext"]
# The anchors of headings are those of a code host, so that a link works there and here.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

html_theme = "furo"
html_title = f"ciam_django {release}"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_copy_source = False
html_show_copyright = False
