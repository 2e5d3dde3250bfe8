"""Write what the documentation takes from the code: reference pages, the picture, and the outputs of commands.

Run as `make docs`; a test says when it is needed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from typer.models import CommandInfo

from spdsim.cli.app import app
from spdsim.render.hardware import HEADS, readable
from spdsim.scenario import scenario_schema
from spdsim.scenario.catalogue import Section, aliases, entries
from tools.executor_page import executor_page
from tools.pages import ROOT, all_pages, environment, refreshed

HELP_COLUMNS = "100"


def generated() -> dict[Path, str]:
    """Return the text of every file that is generated whole."""
    makers: dict[str, Callable[[], str]] = {
        "docs/reference/cli.md": cli_page,
        "docs/reference/executor.md": executor_page,
        "docs/reference/scenario.md": scenario_page,
        "docs/reference/hardware.md": hardware_page,
        "docs/images/timeline.svg": timeline_picture,
        "scenarios/profiles/published-qwen3.5.yaml": published_profile,
    }
    return {ROOT / name: make() for name, make in makers.items()}


def cli_page() -> str:
    """Return the reference of the command line: every command's help."""
    parts = [
        "# The command line\n",
        "This page is generated from `spdsim --help` by `make docs`.\n",
        "Results go to standard output, commentary to standard error.",
        "The exit code is 0, or 2 for wrong input, 130 after Ctrl-C; after an error nothing is written.",
        "`spdsim validate --tolerance` ends with 1 if the errors are larger; its report is written all the same.",
        "`NO_COLOR` turns colours off, `COLUMNS` sets the width.\n",
        *(f"## {title}\n\n```text\n{_help(*words)}```\n" for title, words in _titles()),
    ]
    return "\n".join(parts)


def _titles() -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "spdsim", ()
    for command in app.registered_commands:
        yield from _title(command)
    for group in app.registered_groups:
        assert group.name and group.typer_instance
        yield f"spdsim {group.name}", (group.name,)
        for command in group.typer_instance.registered_commands:
            yield from _title(command, group.name)


def _title(command: CommandInfo, *groups: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    assert command.callback
    words = (*groups, command.name or command.callback.__name__.replace("_", "-"))
    yield " ".join(("spdsim", *words)), words


def _help(*words: str) -> str:
    command = [sys.executable, "-m", "spdsim", *words, "--help"]
    env = {**environment(), "COLUMNS": HELP_COLUMNS}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def timeline_picture() -> str:
    """Return the README's picture: the tutorial scenario's timeline as SVG."""
    with TemporaryDirectory() as directory:
        picture = Path(directory) / "timeline.svg"
        scenario = ROOT / "scenarios" / "tutorial.yaml"
        command = [sys.executable, "-m", "spdsim", "simulate", str(scenario), "--svg", str(picture), "--quiet"]
        subprocess.run(command, env=environment(), check=True)
        return picture.read_text(encoding="utf-8")


# The page of GPUs and links, from the catalogues.


def hardware_page() -> str:
    """Return the reference of the catalogues: every figure with its origin and source."""
    parts = [
        "# GPUs and links\n",
        "This page is generated from the catalogues by `make docs`; `spdsim gpus` and `spdsim links` print them.",
        "A scenario names an entry in whatever case, with spaces, hyphens or underscores, or by another of its names.",
        "A figure is *measured*, *published*, from a *datasheet*, or *assumed*.\n",
        "## GPUs\n",
        "A product of a matrix with one vector takes `kernel_latency_s`, and the bytes of the matrix over "
        "`bandwidth_bytes_per_s` times `bandwidth_fraction`.\n",
        *_entries("gpus"),
        "## Links\n",
        "A message takes `latency_s`, and its bytes over `bandwidth_bytes_per_s`; its hosts pay `post_s` and "
        "`receive_s`.\n",
        *_entries("links"),
        "## Small all-reduces\n",
        "Within one node, by bytes; what a stage on several devices pays twice a layer.\n",
        *_all_reduces(),
        "## Several rows\n",
        "Time of a matrix product with several rows, over that with one.\n",
        *_rows(),
    ]
    return "\n".join(parts)


def _entries(section: Section) -> Iterator[str]:
    others = aliases(section)
    for name, entry in entries(section).items():
        yield f"### {name}\n"
        if others[name]:
            yield f"Also called {', '.join(f'`{other}`' for other in others[name])}.\n"
        yield "| key | value | origin | source |\n|---|---|---|---|"
        for key in (key for key in HEADS if key in entry):
            figure = entry[key]
            yield f"| `{key}` | {' '.join(readable(key, figure['value']))} | {figure['origin']} | {figure['source']} |"
        yield ""


def _all_reduces() -> Iterator[str]:
    yield "| GPU | devices | bytes: time | origin | source |\n|---|---|---|---|---|"
    for name, entry in entries("collectives").items():
        for num_devices, seconds in entry["seconds"].items():
            points = zip(entry["num_bytes"], seconds, strict=True)
            times = ", ".join(f"{size:,}: {' '.join(readable('_s', value_s))}" for size, value_s in points)
            yield f"| `{name}` | {num_devices} | {times} | {entry['origin']} | {entry['source']} |"
        if (figure := entry["one_shot"]) is not None:
            least = f"to {entry['one_shot_bytes']:,}: {' '.join(readable('_s', figure['value']))}"
            yield f"| `{name}`, `one_shot` | 2 to 8 | {least} | {figure['origin']} | {figure['source']} |"
    yield ""


def _rows() -> Iterator[str]:
    yield "| rows: factor | origin | source |\n|---|---|---|"
    for entry in entries("rows").values():
        points = ", ".join(f"{rows}: {factor:g}" for rows, factor in zip(entry["rows"], entry["factor"], strict=True))
        yield f"| {points} | {entry['origin']} | {entry['source']} |"
    yield ""


def published_profile() -> str:
    """Return the profile fitted to the published tables, by the command that the page on validation shows."""
    published = ROOT / "scenarios" / "published"
    with TemporaryDirectory() as directory:
        profile = Path(directory) / "profile.yaml"
        source = "arXiv:2605.30852, table of speedups and cycle profile published with the code"
        evidence = ["--table", str(published / "spd_table.csv"), "--breakdown", str(published / "cycle_breakdown.csv")]
        command = [
            sys.executable,
            "-m",
            "spdsim",
            "fit",
            *evidence,
            "--source",
            source,
            "--out",
            str(profile),
            "--quiet",
        ]
        subprocess.run(command, env=environment(), check=True)
        return profile.read_text(encoding="utf-8")


# The page of scenario keys, from the JSON Schema.

Schema = dict[str, Any]

FAMILIES = {"Task": "a task's duration", "Draw": "a duration"}
"""Definitions that always stand together, by the end of their names, and what they are together."""


def scenario_page() -> str:
    """Return the reference of scenario files: one section a mapping, one line a key."""
    schema = scenario_schema()
    definitions: dict[str, Schema] = schema.get("$defs", {})
    parts = [
        "# Scenario files\n",
        "This page is generated from the JSON Schema (`spdsim schema`) by `make docs`.",
        "How to write a scenario is told in [its how-to](../how-to/write-a-scenario.md).",
        "A key without a default is required, unless its description says otherwise.\n",
        *_section("A scenario", schema),
    ]
    for name in _in_order(schema, definitions):
        if "properties" in definitions[name]:
            parts += _section(name, definitions[name])
    return "\n".join(parts)


def _in_order(schema: Schema, definitions: dict[str, Schema]) -> list[str]:
    """The names of all definitions in the order in which a reader meets them."""
    found: list[str] = []
    waiting = [{key: value for key, value in schema.items() if key != "$defs"}]
    while waiting:
        for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(waiting.pop(0))):
            if name not in found:
                found.append(name)
                waiting.append(definitions[name])
    return found


def _section(title: str, schema: Schema) -> Iterator[str]:
    yield f"## {title}\n"
    if "description" in schema:
        yield re.sub(r"(?<=[.?!]) (?=[A-Z])", "\n", schema["description"]) + "\n"
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for key, value in schema["properties"].items():
        cells = (f"`{key}`", _type(value), _default(value), value.get("description", ""))
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    yield ""


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if isinstance(default, dict):
        return "its own defaults"
    return f"`{json.dumps(default)}`" if "default" in schema else ""


def _type(schema: Schema) -> str:
    """Say in words which values `schema` allows."""
    match schema:
        case {"$ref": reference}:
            return _link(str(reference).rsplit("/", 1)[-1])
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"anyOf": options} | {"oneOf": options}:
            return " or ".join(dict.fromkeys(_type(option) for option in options))
        case {"type": "array", "prefixItems": items}:
            return f"list of {len(items)}: {', '.join(_type(item) for item in items)}"
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": "object"}:
            return "mapping"
        case {"type": kind}:
            return f"{kind}{_range(schema)}"
        case _:
            return "any"


def _link(name: str) -> str:
    for ending, meaning in FAMILIES.items():
        if name.endswith(ending):
            return f"[{meaning}](#constant{ending.lower()})"
    return f"[{name}](#{name.lower()})"


def _range(schema: Schema) -> str:
    rules = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[rule]}" for rule, sign in rules.items() if rule in schema]
    return f" {', '.join(bounds)}" if bounds else ""


def main() -> None:
    """Write every generated file, then put current outputs on every page."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for page in all_pages():
        page.write_text(refreshed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
