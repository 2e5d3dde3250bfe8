"""Runs `spdsim` and `spdsim-exec` as people do: in a process of its own for each command.

Most of a short command's time goes into imports.
So commands are forked from a process that has imported the package and done nothing else, one for each package.
What a fork could hide (start-up, encodings, hash seeds) is tried with `spdsim_alone`, an interpreter of its own.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = str(ROOT / "scenarios" / "tutorial.yaml")

Done = subprocess.CompletedProcess[str]


def environment(**changes: str) -> dict[str, str]:
    """Return an environment without a terminal's settings, and with `changes`."""
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    return {**kept, "PYTHONUTF8": "1", **changes}


def spdsim(*words: str | Path, cwd: Path | None = None, **changes: str) -> Done:
    """Run one command and return its exit code and output; `changes` go into its environment."""
    return forked("spdsim", list(map(str, words)), environment(**changes), cwd)


def spdsim_exec(*words: str | Path, cwd: Path | None = None, **changes: str) -> Done:
    """Run one command of the executor, as `spdsim` does."""
    return forked("executor", list(map(str, words)), environment(PYTHONPATH=str(ROOT), **changes), cwd)


def spdsim_alone(*words: str | Path, cwd: Path | None = None, **changes: str) -> Done:
    """Run one command in an interpreter of its own, which takes longer."""
    command = [sys.executable, "-m", "spdsim", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(**changes), capture_output=True, text=True, check=False)


def told_to_stop(
    package: str, words: Sequence[str], wish: signal.Signals, cwd: Path, after_s: float, until: Path | None = None,
    **changes: str,
) -> Done:  # fmt: skip
    """Run a command until it has reserved its files in `cwd`, an empty directory, and some time longer; then stop it.

    until: a file to wait for, if not for any.

    A shell that runs something in the background lets it ignore Ctrl-C, and so all that it starts: not here.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", package, *words], cwd=cwd, env=environment(PYTHONPATH=str(ROOT), **changes),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no threads yet
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60.0
        while not (list(cwd.iterdir()) if until is None else until.exists()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(after_s)
        if wish is signal.SIGINT:
            # To all that it has started, as a terminal does.
            os.killpg(process.pid, wish)
        else:
            process.send_signal(wish)
        _, stderr = process.communicate(timeout=60.0)
        return Done([package, *words], process.returncode, "", stderr)
    finally:
        process.kill()
        process.wait()


def is_alive(words: str) -> bool:
    """Whether a process runs that has `words` in its command line."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in file.read_text(errors="replace"):
                return True
        except OSError:
            continue
    return False


def forked(
    package: str, words: Sequence[str], env: dict[str, str], cwd: Path | None = None, *, is_one_stream: bool = False
) -> Done:
    """Run the command of `package` in a fork of a process that has imported it.

    is_one_stream: stderr goes where stdout goes.
    """
    server = _server(package)
    assert server.stdin is not None and server.stdout is not None
    with TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        err = out if is_one_stream else Path(directory) / "err"
        server.stdin.write(json.dumps([list(words), env, str(cwd or Path.cwd()), str(out), str(err)]) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        stdout, stderr = (path.read_bytes().decode("utf-8") for path in (out, err))
    return Done([package, *words], code, stdout, "" if is_one_stream else stderr)


@cache
def _server(package: str) -> subprocess.Popen[str]:
    """Start the process from which commands are forked; it ends with this one."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.commands", package],
        cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.communicate)
    return server


def _serve(package: str) -> None:
    """Fork a process for each request on stdin, and print its exit code; in the fork, be the command."""
    for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()
    while request := sys.stdin.readline():
        words, env, cwd, out, err = json.loads(request)
        child = os.fork()
        if child == 0:
            _become(package, words, env, cwd, out, err)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(package: str, words: list[str], env: dict[str, str], cwd: str, out: str, err: str) -> None:
    """Run the command as `python -m` would; how it ends is how this process ends."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.argv = [package, *words]
    importlib.import_module(f"{package}.cli").main()


if __name__ == "__main__":
    _serve(sys.argv[1])
