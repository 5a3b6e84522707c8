"""Run JavaScript of the documentation in node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


def run_node(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    """Run the file ``scenario.mjs`` of the files, and return the JSON that it prints."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    completed = subprocess.run(
        ["node", "scenario.mjs"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert completed.returncode == 0, completed.stderr
    told: dict[str, Any] = json.loads(completed.stdout)
    return told
