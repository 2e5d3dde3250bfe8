"""The table of who may import whom: arrows point one way, and each library has one home."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "spdsim"

FLOORS = [
    {"errors", "theory", "distributions", "acceptance", "trace"},
    {"schedules", "files", "shapes"},
    {"machine", "tracefile", "analysis", "evidence"},
    {"scenario", "perfetto", "engine"},
    {"timing"},
    {"simulation"},
    {"prediction"},
    {"fitting"},
    {"validation"},
    {"render"},
    {"cli"},
]
"""A module imports from floors below its own, or from its own package. The package itself imports lazily."""

HOMES = {
    "simpy": {"engine"},
    "rich": {"render", "cli"},
    "typer": {"cli"},
    "pydantic": {"scenario"},
    "pydantic_core": {"scenario"},
    "yaml": {"scenario"},
    "numpy": {"engine", "analysis", "render", "distributions", "acceptance", "scenario", "fitting"},
}
"""The only places that may import a library; no other library is imported at all."""

STANDARD_LIBRARY_ONLY = {"schedules", "errors", "theory", "trace", "machine", "files", "shapes", "evidence"}


def modules() -> Iterator[tuple[Path, str]]:
    """Yield every module and the room (package or file of `spdsim`) that it belongs to."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__"):
            yield path, room


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that `path` imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def floor(room: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"spdsim/{room} stands on no floor: add it to the table"
    return found[0]


@pytest.mark.parametrize(("path", "room"), list(modules()), ids=str)
def test_imports_point_downwards_and_libraries_stay_at_home(path: Path, room: str) -> None:
    """No module imports from its own floor or above, and none imports a library that is at home elsewhere."""
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "spdsim":
            target = rest.split(".")[0]
            if target not in (room, "__version__"):
                assert floor(target) < floor(room), f"{path} imports {name}"
        elif top not in sys.stdlib_module_names:
            assert room in HOMES.get(top, ()), f"{path} imports {name}"


@pytest.mark.parametrize("room", sorted(STANDARD_LIBRARY_ONLY))
def test_what_an_executor_shares_needs_the_standard_library_only(room: str) -> None:
    """The schedule, the trace and what they stand on."""
    for path, home in modules():
        if home == room:
            outside = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"spdsim"}
            assert not outside, f"{path} imports {outside}"
