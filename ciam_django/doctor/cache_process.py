"""One of the processes of ``ciam_doctor`` that add the same keys to the cache.

``python -m ciam_django.doctor.cache_process`` reads its task, a line of JSON: the settings of the
cache, the prefix and the number of the keys. The process writes ``READY``, and waits for another
line. Then it adds the keys, and writes a list of the results as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from django.conf import settings
from django.core.cache import caches

# The settings that a cache depends on.
SETTINGS: Final = ("CACHES", "DATABASES", "DATABASE_ROUTERS", "USE_TZ", "TIME_ZONE")
READY: Final = "ready\n"
# Seconds for which the cache stores a key.
_KEY_LIFETIME: Final = 60


def main() -> None:
    """Add the keys, and write the results."""
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    settings.configure(**task["settings"])
    cache = caches["default"]
    # The first call opens the connection.
    cache.get(task["prefix"])
    sys.stdout.write(READY)
    sys.stdout.flush()
    sys.stdin.readline()
    keys = [f"{task['prefix']}.{number}" for number in range(task["keys"])]
    results = [cache.add(key, 1, timeout=_KEY_LIFETIME) is True for key in keys]
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
