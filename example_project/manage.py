#!/usr/bin/env python
"""The example's manage.py; ``python example_project/manage.py example`` starts all of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    # ciam_django of this checkout, installed or not.
    sys.path[:1] = [str(here), str(here.parent)]
    # Where `test` looks for tests: those of the checkout are pytest's.
    os.chdir(here)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")
    execute_from_command_line(sys.argv)
