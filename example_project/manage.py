#!/usr/bin/env python
"""Run the example's management commands; the command ``example`` starts the whole example."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    # Import ciam_django from this checkout, even if the package is installed.
    sys.path[:1] = [str(here), str(here.parent)]
    # `manage.py test` searches the current directory, and the checkout's tests are pytest's.
    os.chdir(here)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")
    execute_from_command_line(sys.argv)
