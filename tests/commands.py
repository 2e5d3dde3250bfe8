"""Runs `spdsim` as people do: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = str(ROOT / "scenarios" / "tutorial.yaml")


def environment(**changes: str) -> dict[str, str]:
    """Return an environment without a terminal's settings, and with `changes`."""
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    return {**kept, "PYTHONUTF8": "1", **changes}


def spdsim(*words: str | Path, cwd: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run one command and return its exit code and output; `changes` go into its environment."""
    command = [sys.executable, "-m", "spdsim", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(**changes), capture_output=True, text=True, check=False)
