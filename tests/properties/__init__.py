"""Property tests. The number of examples is 50, or ``CIAM_DJANGO_EXAMPLES`` in the nightly run.

The modules of the tests read the profile when they are imported, so the package loads the profile.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_EXAMPLES = int(os.environ.get("CIAM_DJANGO_EXAMPLES", "50"))

settings.register_profile(
    "ciam_django",
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    # Each run tries the same examples, except the nightly run.
    derandomize="CIAM_DJANGO_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("ciam_django")
