"""``python -m tests.matrix`` runs each cell as JSON and prints the table of the answers."""

from __future__ import annotations

import os
import sys

import django
from django.test.utils import setup_databases, setup_test_environment, teardown_databases


def main() -> None:
    """Run all cells and print the table for ``README.md``."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    # These modules can be imported only after django.setup().
    from ciam_django.testing import FakeCiam  # noqa: PLC0415
    from tests.matrix.cells import run_cell  # noqa: PLC0415
    from tests.matrix.faults import Fault  # noqa: PLC0415
    from tests.matrix.stages import MatrixStage  # noqa: PLC0415
    from tests.matrix.table import failure_table  # noqa: PLC0415

    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    with FakeCiam() as ciam:

        def cell_of(stage: MatrixStage, fault: Fault) -> tuple[int, str]:
            cell = run_cell(ciam, stage, fault, "json")
            return cell.response.status_code, cell.code

        sys.stdout.write(f"{failure_table(cell_of)}\n")
    teardown_databases(databases, verbosity=0)


if __name__ == "__main__":
    main()
