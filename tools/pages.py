"""The pages of the documentation as programs: run every code block, and put the true output in its place.

What a block does is said by its language (CONTRIBUTING.md describes it for authors):

    console   `$ command` lines are run; what follows each must be its output; a line `...` stands for any lines
    sh        every line is run and must succeed; a `make` line must name a target
    python    is run; the blocks of a page share their names
    output    must be what the last python block printed
    yaml      a profile; a scenario; or a fragment of one, whose sections replace those of scenarios/tutorial.yaml;
              a first line `# name.yaml` writes the block to that file for the blocks that follow
    json      must be strict JSON
    text      is left alone

The blocks of a page run in order, in a directory that holds a copy of scenarios/ and nothing else.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from spdsim import load_scenario
from spdsim.scenario.profile_file import load_profile
from spdsim.scenario.source import parse_yaml, read_yaml

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 80

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# (\S+\.yaml)\n")
_PRINTED = "__printed__"


def all_pages() -> list[Path]:
    """Return every page whose blocks must run."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def refreshed(text: str) -> str:
    """Run every block of a page and return the page with the outputs that its commands gave.

    Raises RuntimeError, which names the block, when one fails.
    """
    names: dict[str, Any] = {"__name__": "__docs__"}
    with TemporaryDirectory() as directory, chdir(directory):
        shutil.copytree(ROOT / "scenarios", "scenarios")
        return _BLOCK.sub(lambda match: _run(match[1], match[2], names), text)


def _run(language: str, body: str, names: dict[str, Any]) -> str:
    try:
        match language:
            case "console":
                body = "".join(_session(body))
            case "sh":
                for line in body.splitlines():
                    _command(line)
            case "python":
                with redirect_stdout(StringIO()) as printed:
                    exec(compile(body, "<documentation>", "exec"), names)
                names[_PRINTED] = printed.getvalue()
            case "output":
                body = names[_PRINTED]
            case "yaml":
                _scenario(body)
            case "json":
                json.loads(body, parse_constant=_refuse_constant)
            case "text":
                pass
            case _:
                raise ValueError(f"language {language} is none that a test can run")
    except Exception as error:
        raise RuntimeError(f"{error}\nin this block:\n{body}") from error
    return f"```{language}\n{body}```"


def _session(body: str) -> Iterator[str]:
    """The commands of a console block, each followed by its output."""
    for part in re.split(r"^(?=\$ )", body, flags=re.MULTILINE):
        if not part:
            continue
        command, _, expected = part.partition("\n")
        output = _command(command.removeprefix("$ "))
        yield f"{command}\n{expected if _matches(expected, output) else output}"


def _matches(expected: str, output: str) -> bool:
    """Whether `output` is `expected`, where a line `...` stands for any lines."""
    pattern = "".join("(?:.*\n)*?" if line == "...\n" else re.escape(line) for line in expected.splitlines(True))
    return re.fullmatch(pattern, output) is not None


def _command(line: str) -> str:
    """Run a command line and return what it prints, spaces at line ends cut off; a blank line is nothing."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return ""
    if words[0] == "make":
        _check_targets(words[1:])
        return ""
    done = subprocess.run(
        ["bash", "-c", line],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    # A page may show how an error looks: 2 is the code of an error with its one line.
    if done.returncode not in (0, 2) or "Traceback" in done.stdout:
        raise ValueError(f"exit code {done.returncode}: {done.stdout}")
    return re.sub(r" +$", "", done.stdout, flags=re.MULTILINE)


def environment() -> dict[str, str]:
    """Return the environment of the commands: this interpreter's programs, 80 columns, no colour."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": programs, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "PYTHONUTF8": "1"}


def _check_targets(targets: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE):
            raise ValueError(f"make has no target {target}")


def _scenario(body: str) -> None:
    """Load a block as a profile or a scenario, or its sections in place of those of the tutorial scenario."""
    named = _FILE_NAME.match(body)
    path = Path(named[1] if named else "fragment.yaml")
    sections = parse_yaml(body, str(path)).data
    if sections.get("format") == "spd-profile":
        path.write_text(body)
        load_profile(path)
        return
    if not named and not {"model", "devices", "partition"} <= sections.keys():
        sections = read_yaml("scenarios/tutorial.yaml").data | sections
        body = yaml.safe_dump(sections, sort_keys=False)
    path.write_text(body)
    load_scenario(path)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
