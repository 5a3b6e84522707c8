"""Write the reference of the documentation from the tables of ``ciam_django``.

``extension.py`` is the Sphinx extension. The other modules make Markdown and need no Sphinx.
"""

from __future__ import annotations
