"""How long `spdsim --help` takes beside importing the dependencies: run `python -m benchmarks.startup`.

The figure to reach: at most 0.6 times the imports. CPU time of fresh processes, the best of several.
"""

import resource
import subprocess
import sys

REPEATS = 7
COMMANDS = {
    "python, nothing": ["-c", "pass"],
    "import simpy, numpy, pydantic, rich": ["-c", "import simpy, numpy, pydantic, rich"],
    "import spdsim": ["-c", "import spdsim"],
    "spdsim --help": ["-m", "spdsim", "--help"],
    "spdsim simulate --help": ["-m", "spdsim", "simulate", "--help"],
}


def cpu_s(arguments: list[str]) -> float:
    """Return the least CPU seconds, user and system, that a fresh interpreter takes with `arguments`."""
    return min(_once(arguments) for _ in range(REPEATS))


def _once(arguments: list[str]) -> float:
    before_s = _children_s()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return _children_s() - before_s


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print the table."""
    measured = {name: cpu_s(arguments) for name, arguments in COMMANDS.items()}
    imports_s = measured["import simpy, numpy, pydantic, rich"]
    print(f"{'command':<38}{'CPU ms':>8}{'of the imports':>16}")
    for name, seconds in measured.items():
        print(f"{name:<38}{seconds * 1e3:>8.0f}{seconds / imports_s:>16.2f}")


if __name__ == "__main__":
    main()
