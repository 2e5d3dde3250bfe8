"""The table of who may import whom: arrows point one way, and each library has one home."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SPDSIM_FLOORS = [
    {"normal"},
    {"errors", "theory", "distributions", "acceptance", "trace", "grades"},
    {"schedules", "files", "shapes", "draws"},
    {"machine", "tracefile", "analysis", "evidence"},
    {"scenario", "perfetto", "engine", "comparison"},
    {"timing", "fast", "acceptance_fit"},
    {"simulation"},
    {"evaluation", "prediction", "calibration"},
    {"methods"},
    {"sweeping", "choice"},
    {"fitting"},
    {"validation"},
    {"render"},
    {"cli"},
]
"""A module imports from floors below its own, or from its own package. The package itself imports lazily."""

EXECUTOR_FLOORS = [
    {"errors", "verify"},
    {"progress", "memory", "model", "text"},
    {"draft"},
    {"plan"},
    {"events", "transport", "machine_info"},
    {"worker", "training"},
    {"rank"},
    {"launch", "planning", "summary", "traces"},
    {"probing", "acceptance"},
    {"demo"},
    {"cli"},
]
"""The same for the executor, which stands on the whole of spdsim."""

FLOORS = {"spdsim": SPDSIM_FLOORS, "executor": EXECUTOR_FLOORS}

SPDSIM_HOMES = {
    "simpy": {"engine"},
    "rich": {"render", "cli"},
    "typer": {"cli"},
    "pydantic": {"scenario"},
    "pydantic_core": {"scenario"},
    "yaml": {"scenario"},
    "numpy": {
        "normal",
        "draws",
        "engine",
        "fast",
        "analysis",
        "render",
        "distributions",
        "acceptance",
        "scenario",
        "fitting",
        "comparison",
        "calibration",
        "evaluation",
        "choice",
        "acceptance_fit",
    },
    "joblib": {"sweeping"},
    "pyarrow": {"sweeping"},
    "matplotlib": {"render"},
}
"""The only places that may import a library; no other library is imported at all, nor does spdsim import executor."""

EXECUTOR_HOMES = {
    "spdsim": {room for rooms in EXECUTOR_FLOORS for room in rooms},
    "torch": {
        "verify",
        "memory",
        "machine_info",
        "model",
        "draft",
        "transport",
        "worker",
        "rank",
        "launch",
        "planning",
        "probing",
        "acceptance",
        "training",
        "demo",
    },
    "numpy": {"planning", "summary", "demo"},
    "pydantic": {"planning"},
    "safetensors": {"model", "draft"},
    "tokenizers": {"text"},
    "transformers": {"training", "demo"},
    "rich": {"cli"},
    "typer": {"cli"},
}
"""The same for the executor."""

HOMES = {"spdsim": SPDSIM_HOMES, "executor": EXECUTOR_HOMES}

STANDARD_LIBRARY_ONLY = {"schedules", "errors", "theory", "trace", "machine", "files", "shapes", "evidence"}


def modules(package: str) -> Iterator[tuple[str, Path, str]]:
    """Yield every module of a package and the room (package or file in it) that it belongs to."""
    for path in sorted((ROOT / package).rglob("*.py")):
        relative = path.relative_to(ROOT / package)
        room = relative.parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__"):
            yield package, path, room


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that `path` imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def floor(package: str, room: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS[package]) if room in rooms]
    assert found, f"{package}/{room} stands on no floor: add it to the table"
    return found[0]


@pytest.mark.parametrize(("package", "path", "room"), [*modules("spdsim"), *modules("executor")], ids=str)
def test_imports_point_downwards_and_libraries_stay_at_home(package: str, path: Path, room: str) -> None:
    """No module imports from its own floor or above, and none imports a library that is at home elsewhere."""
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == package:
            target = rest.split(".")[0]
            if target not in (room, "__version__"):
                assert floor(package, target) < floor(package, room), f"{path} imports {name}"
        elif top not in sys.stdlib_module_names:
            assert room in HOMES[package].get(top, ()), f"{path} imports {name}"


@pytest.mark.parametrize("room", sorted(STANDARD_LIBRARY_ONLY))
def test_what_an_executor_shares_needs_the_standard_library_only(room: str) -> None:
    """The schedule, the trace and what they stand on."""
    for _, path, home in modules("spdsim"):
        if home == room:
            outside = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"spdsim"}
            assert not outside, f"{path} imports {outside}"
