"""From a failed sign-in to one sentence, in the order in which it happens.

A failure becomes a ``CiamError``      errors.py      (around every call to CIAM: client/)
    it passes through a door           middleware.py  drf/
    its code finds its row             lookup.py      codes.py  kinds.py
    the row becomes an answer          answers.py     localized, and logged, once
    the answer becomes a response      responses.py   HTML or JSON

No step looks back. Signing in itself is in ``login/`` (urls.py), who signed in in ``accounts/``,
the settings in ``conf.py``, their checks in ``checks/settings.py``, and a CIAM to fail against in
``testing/``.

Projects import ``forms.py`` and ``tokens.py``, and name ``axes.py`` and ``ninja.py`` where they use
django-axes or django-ninja. The documentation names only places of ``tests/test_public_places.py``.
"""

from __future__ import annotations

__version__ = "0.1.0"
