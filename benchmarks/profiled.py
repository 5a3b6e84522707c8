"""Profile one case by function: ``python -m benchmarks.profiled answers answer``."""

from __future__ import annotations

import cProfile
import io
import pstats
import re
import sys
from typing import Final

from benchmarks import cases, imports
from benchmarks.ask import load_cases

_LINES: Final = 12
_SECONDS: Final = 0.5


def profile_case(suite: str, name: str) -> str:
    """Return a table of the functions in which a case spends the most time, with their shares."""
    case = load_cases(suite)[name]
    if suite == "imports":
        return imports.profile_imports(name)
    # The first five loops warm up the process. The profile runs as many loops as fit into _SECONDS.
    loops = max(5, int(_SECONDS / max(case(5).cpu / 5, 1e-6)))
    cases.active_profile = cProfile.Profile()
    case(loops)
    out = io.StringIO()
    stats = pstats.Stats(cases.active_profile, stream=out).sort_stats("tottime")
    stats.print_stats(_LINES)
    whole: float = stats.total_tt  # type: ignore[attr-defined]
    lines = [f"{'share':>6}  {'calls a loop':>12}  function"]
    for line in out.getvalue().splitlines():
        if match := re.match(r"\s*(\d+)(?:/\d+)?\s+([\d.]+)\s+\S+\s+\S+\s+\S+\s+(.+)", line):
            calls, seconds, function = int(match[1]), float(match[2]), match[3]
            # The report names no path and no memory address of the machine.
            function = re.sub(r"\S*/(?:site-packages|lib/python[\d.]+)/", "", function)
            function = re.sub(r" at 0x\w+", "", function)
            function = re.sub(r"\S*/(ciam_django|benchmarks)/", r"\1/", function)
            lines.append(f"{seconds / whole:6.1%}  {calls / loops:12.1f}  {function}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(profile_case(sys.argv[1], sys.argv[2]))
