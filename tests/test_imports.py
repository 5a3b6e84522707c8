"""Check the imports of all modules against a table of allowed imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[1] / "ciam_django"

# room -> the rooms that the room may import. A room is a module or package directly below
# ciam_django. No room may import an entry point (ENTRY_POINTS).
ROOMS: Final[dict[str, set[str]]] = {
    "__init__": set(),
    # the path of a failure
    "conf": set(),
    "events": set(),
    "kinds": set(),
    "privacy": {"events"},
    "errors": {"privacy"},
    "signals": set(),
    "codes": {"kinds"},
    "languages": {"conf"},
    "provider_names": {"conf"},
    "lazy_modules": set(),
    "lookup": {"codes", "conf", "kinds", "languages"},
    "answers": {"privacy", "lookup", "codes", "errors", "conf", "kinds", "languages"},
    "reporting": {"answers", "privacy", "lookup", "errors", "events", "kinds", "signals"},
    "ways_out": {"answers", "conf", "kinds"},
    "responses": {"answers", "conf", "events", "languages", "ways_out"},
    "forms": {"reporting", "answers", "errors"},
    "network": {"conf"},
    "phone_numbers": {"lazy_modules"},
    # entry points
    "middleware": {"lazy_modules", "reporting", "responses", "answers"},
    "drf": {
        "lazy_modules",
        "reporting",
        "login",
        "accounts",
        "responses",
        "answers",
        "errors",
        "conf",
        "languages",
    },
    "axes": {"reporting", "accounts", "responses", "errors"},
    "ninja": {"accounts", "coroutines"},
    "tokens": {"privacy", "accounts", "coroutines", "errors", "events"},
    "coroutines": {"privacy"},
    # calls to CIAM, sign-in
    "client": {
        "lazy_modules",
        "coroutines",
        "privacy",
        "network",
        "errors",
        "events",
        "lookup",
        "conf",
    },
    "failure_memory": {"client", "conf", "errors", "events", "lookup", "privacy"},
    "error_table": {
        "__init__",
        "answers",
        "codes",
        "conf",
        "events",
        "kinds",
        "languages",
        "lookup",
        "privacy",
    },
    "accounts": {
        "error_table",
        "failure_memory",
        "languages",
        "lookup",
        "events",
        "reporting",
        "network",
        "privacy",
        "client",
        "responses",
        "ways_out",
        "answers",
        "errors",
        "signals",
        "conf",
        "provider_names",
        "phone_numbers",
    },
    "login": {
        "events",
        "provider_names",
        "reporting",
        "privacy",
        "accounts",
        "client",
        "forms",
        "responses",
        "ways_out",
        "answers",
        "lookup",
        "errors",
        "kinds",
        "conf",
        "languages",
        "phone_numbers",
    },
    "urls": {"privacy", "login", "client"},
    "templatetags": {"login", "responses", "reporting", "answers", "languages", "errors"},
    # wiring
    "apps": {"lazy_modules", "checks", "conf", "failure_memory", "metrics"},
    "metrics": {
        "__init__",
        "client",
        "codes",
        "conf",
        "errors",
        "events",
        "kinds",
        "lookup",
        "provider_names",
    },
    "doctor": {"checks", "login", "client", "network", "privacy", "errors", "conf"},
    "management": {
        "checks",
        "doctor",
        "error_table",
        "failure_memory",
        "kinds",
        "lookup",
        "privacy",
    },
    "checks": {
        "lazy_modules",
        "metrics",
        "login",
        "accounts",
        "client",
        "network",
        "answers",
        "lookup",
        "languages",
        "codes",
        "errors",
        "privacy",
        "conf",
        "phone_numbers",
    },
    "testing": set(),
}

# The rooms for the settings and the code of projects; no room may import them.
ENTRY_POINTS: Final = {"middleware", "drf", "axes", "ninja", "tokens"}

# library -> the rooms that may import it. All rooms may import any other library.
LIBRARIES: Final[dict[str, set[str]]] = {
    "rest_framework": {"drf"},
    "drf_spectacular": {"drf"},
    "drf_standardized_errors": {"drf"},
    "werkzeug": {"testing"},
    "pytest": {"testing"},
    "authlib": {"client", "testing"},
    "joserfc": {"client", "testing"},
    "requests": {"client", "testing"},
    "urllib3": {"client", "testing"},
    "opentelemetry": {"metrics"},
    "prometheus_client": {"metrics"},
}

# Modules that may import modules of their own room inside functions. pytest imports these modules
# in each project where the package is installed, also without Django settings and werkzeug.
LAZY: Final = {"ciam_django.testing", "ciam_django.testing.fixtures"}


@dataclass(frozen=True, slots=True)
class Import:
    """An imported module or name; ``inside`` is the function around the statement."""

    name: str
    line: int
    inside: str


def find_violations(package: Path) -> list[str]:
    """The forbidden imports of the modules below ``package``, and the import cycles."""
    modules = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    violations: list[str] = []
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        room = room_of(module, package.name)
        if room not in ROOMS:
            violations.append(f"{module}: no room is named {room}")
            continue
        graph[module] = set()
        for imported in imports_of(path, module):
            target = module_of(imported.name, modules)
            if target and target != module:
                graph[module].add(target)
            violations += [
                f"{module}:{imported.line}: {reason}"
                for reason in reasons_against(imported, module, room, package.name)
            ]
    return violations + import_cycles(graph)


def reasons_against(imported: Import, module: str, room: str, package: str) -> Iterator[str]:
    """The reasons why an import is forbidden."""
    library = imported.name.partition(".")[0]
    if library != package:
        if room not in LIBRARIES.get(library, {room}):
            yield f"{room} imports {library}"
        return
    target = room_of(imported.name, package)
    if target not in ROOMS:
        yield f"imports {imported.name}, and no room is named {target}"
    elif target != room and target not in ROOMS[room]:
        yield f"{room} imports {target}"
    # Django loads models after the app configs, so ready() may import modules with models.
    is_ready = module.endswith(".apps") and imported.inside == "ready"
    is_lazy = module in LAZY and target == room
    if imported.inside and not is_ready and not is_lazy:
        yield f"imports {imported.name} inside {imported.inside}()"


def imports_of(path: Path, module: str) -> Iterator[Import]:
    """All imports of a module and its functions; relative imports have their absolute names."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    # ast.walk() is breadth-first, so an inner function overwrites the outer function.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: dict[ast.AST, str] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inside.update(dict.fromkeys(ast.walk(function), function.name))
    for node in ast.walk(tree):
        for name in names_imported(node, package):
            yield Import(name, node.lineno, inside.get(node, ""))  # type: ignore[attr-defined]  # statements have a line


def names_imported(node: ast.AST, package: str) -> list[str]:
    """The absolute names that a statement imports: ``from a import b`` imports ``a.b``."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(level=0):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        case ast.ImportFrom():
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1])
            start = f"{base}.{node.module}" if node.module else base
            return [f"{start}.{alias.name}" for alias in node.names]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str, package: str) -> str:
    """The room of a module or name; names of the package itself are in ``__init__``."""
    room = [*name.split("."), ""][1]
    return room if room and not room.startswith("__") and name != package else "__init__"


def module_of(name: str, modules: dict[str, Path]) -> str:
    """The module that has the name or is the name; empty for another package."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def import_cycles(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["circle: " + " -> ".join(error.args[1])]
    return []


@pytest.mark.slow("the source code of all modules")
def test_each_room_imports_only_the_rooms_of_the_table() -> None:
    violations = find_violations(PACKAGE)

    assert not violations, "\n" + "\n".join(violations)


def test_the_tables_name_only_known_rooms_and_no_entry_point() -> None:
    named = set().union(*ROOMS.values(), *LIBRARIES.values())

    assert named <= set(ROOMS)
    assert not ENTRY_POINTS & set().union(*ROOMS.values())


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("codes.py", "from ciam_django.conf import conf", "codes imports conf"),
        ("codes.py", "import ciam_django.conf", "codes imports conf"),
        ("codes.py", "from ciam_django import conf", "codes imports conf"),
        ("codes.py", "from . import conf", "codes imports conf"),
        ("codes.py", "from .conf import conf", "codes imports conf"),
        ("login/hosted.py", "from ..drf import x", "login imports drf"),
        ("login/hosted.py", "from ..middleware import x", "login imports middleware"),
        ("client/api.py", "from .. import __version__", "client imports __init__"),
        ("codes.py", "if TYPE_CHECKING:\n    from .conf import x", "codes imports conf"),
        ("urls.py", "def f():\n    from .login import x", "imports ciam_django.login.x inside f()"),
        ("urls.py", "def f():\n    import_module('ciam_django.login')", "inside f()"),
        (
            "apps.py",
            "def f():\n    from . import checks",
            "imports ciam_django.checks inside f()",
        ),
        ("errors.py", "import authlib.oauth2", "errors imports authlib"),
        ("errors.py", "def f():\n    import requests", "errors imports requests"),
        ("login/steps/table.py", "from joserfc import jwt", "login imports joserfc"),
        ("checks/settings.py", "import rest_framework", "checks imports rest_framework"),
        ("client/api.py", "import werkzeug", "client imports werkzeug"),
        ("utils.py", "", "ciam_django.utils: no room is named utils"),
        ("codes.py", "from .utils import x", "no room is named utils"),
        ("login/pages.py", "from .social import x", "circle: "),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, source: str, expected: str) -> None:
    package = write_package(tmp_path, {"login/social.py": "from .pages import y", file: source})

    violations = find_violations(package)

    assert len(violations) == 1
    assert expected in violations[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("codes.py", "from ciam_django.kinds import Kind"),
        ("login/hosted.py", "from . import steps\nfrom ..accounts import x"),
        ("drf/handler.py", "from rest_framework import views"),
        ("accounts/apps.py", "class A:\n    def ready(self):\n        from . import signals"),
        ("client/__init__.py", "from ciam_django.client.api import CiamClient"),
        ("testing/__init__.py", "def f():\n    from .server import x"),
    ],
)
def test_an_allowed_import_is_no_violation(tmp_path: Path, file: str, source: str) -> None:
    assert find_violations(write_package(tmp_path, {file: source})) == []


def write_package(directory: Path, files: dict[str, str]) -> Path:
    """Write a package ``ciam_django`` with these files, and return its directory."""
    package = directory / "ciam_django"
    for name, source in {"client/api.py": "", "__init__.py": "", **files}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source, encoding="utf-8")
    return package


# Django, and the apps that ``ciam_django.accounts`` needs.
_DJANGO_APPS: Final = ("auth", "contenttypes", "sessions")
_ACCOUNTS: Final = (
    *(f"django.contrib.{name}" for name in _DJANGO_APPS), "ciam_django", "ciam_django.accounts",
)  # fmt: skip
_SHARED_CACHE: Final = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://127.0.0.1:1",
    }
}
_LIBRARIES: Final = ("authlib", "babel", "joserfc", "phonenumbers", "requests", "urllib3")
# The start of a project -> its settings, the modules that it imports, and the modules that must not
# be loaded. CONTRIBUTING.md says how a module is loaded later.
STARTS: Final[dict[str, tuple[dict[str, object], str, tuple[str, ...]]]] = {
    "the entry points": (
        {"INSTALLED_APPS": ["ciam_django"]},
        "ciam_django.middleware, ciam_django.drf",
        (*_LIBRARIES, "cryptography", "ciam_django.checks.settings", "ciam_django.answers"),
    ),
    "the entry points, with a cache that remembers the failures": (
        {"INSTALLED_APPS": ["ciam_django"], "CACHES": _SHARED_CACHE},
        "ciam_django.middleware, ciam_django.drf",
        (*_LIBRARIES, "ciam_django.checks.login", "ciam_django.client.api"),
    ),
    "the URLs and the accounts": (
        {"INSTALLED_APPS": _ACCOUNTS, "ROOT_URLCONF": "ciam_django.urls"},
        "ciam_django.middleware, ciam_django.accounts.middleware, ciam_django.urls",
        (
            *_LIBRARIES,
            "ciam_django.accounts.admin",
            "ciam_django.checks.messages",
            "ciam_django.client.oauth",
            "ciam_django.client.transport",
        ),
    ),
    "the URLs without the accounts": (
        {"INSTALLED_APPS": ["ciam_django"], "ROOT_URLCONF": "ciam_django.urls"},
        "ciam_django.urls",
        (*_LIBRARIES, "cryptography", "ciam_django.client", "ciam_django.login"),
    ),
}


@pytest.mark.slow("processes of bare projects")
@pytest.mark.parametrize("start", STARTS)
def test_the_start_of_a_project_loads_no_module_that_only_later_work_needs(start: str) -> None:
    settings, modules, unloaded = STARTS[start]
    # None in sys.modules makes an import fail. REST framework itself tries to import requests, so
    # the loaded modules would not show which package has imported requests.
    program = f"""
import sys
sys.modules.update(dict.fromkeys({unloaded}))
import django
from django.conf import settings
settings.configure(DATABASES={{}}, SECRET_KEY="s", **{settings})
django.setup()
import {modules}
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr


@pytest.mark.slow("the source code of all modules")
def test_a_lazy_module_is_the_module_that_the_type_checker_imports() -> None:
    wrong = [
        f"{module_name(path, PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        for name in wrong_lazy_modules(path.read_text(encoding="utf-8"))
    ]

    assert not wrong


@pytest.mark.parametrize(
    ("imported", "lazy", "wrong"),
    [
        ("import requests", 'requests = LazyModule("requests")', []),
        ("from joserfc import jwt", 'jwt = LazyModule("joserfc.jwt")', []),
        ("from joserfc import errors as e", 'e = LazyModule("joserfc.errors")', []),
        ("from joserfc import jwt", 'jwt = LazyModule("joserfc.jws")', ["jwt"]),
        ("from joserfc import jwt, jws", 'jwt = LazyModule("joserfc.jwt")', []),
        ("pass", 'jwt = LazyModule("joserfc.jwt")', ["jwt"]),
    ],
)
def test_a_wrong_lazy_module_is_found(imported: str, lazy: str, wrong: list[str]) -> None:
    assert wrong_lazy_modules(f"if TYPE_CHECKING:\n    {imported}\nelse:\n    {lazy}") == wrong


def wrong_lazy_modules(source: str) -> list[str]:
    """The lazy modules that ``if TYPE_CHECKING`` does not import under the same name."""
    wrong: list[str] = []
    for statement in ast.parse(source).body:
        match statement:
            case ast.If(test=ast.Name("TYPE_CHECKING"), body=body, orelse=[_, *_] as orelse):
                typed = dict(pair for node in body for pair in bound_modules(node))
                lazy = dict(pair for node in orelse for pair in bound_modules(node))
                wrong += [name for name, module in lazy.items() if typed.get(name) != module]
    return wrong


def bound_modules(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names that a statement binds, each with the module that it names."""
    match node:
        case ast.Import(names=names):
            yield from ((alias.asname or alias.name, alias.name) for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield from ((each.asname or each.name, f"{module}.{each.name}") for each in names)
        case ast.Assign(
            targets=[ast.Name(name)],
            value=ast.Call(func=ast.Name("LazyModule"), args=[ast.Constant(str(module))]),
        ):
            yield name, module
