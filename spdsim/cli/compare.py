"""`spdsim compare`: which method is fastest on these devices, by how much, and when the answer changes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spdsim.choice.compare import Ranking, Row
    from spdsim.choice.concurrency import Concurrency
    from spdsim.choice.crossover import Crossover
    from spdsim.scenario import Scenario


def compare(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the scenario; may be repeated."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B,…", help="Compare these only; default: all that there are.")
    ] = None,
    precision: Annotated[
        float,
        typer.Option("--precision", metavar="FRACTION", help="Half a 95 % interval, over the time per token."),
    ] = 0.01,
    no_crossovers: Annotated[
        bool, typer.Option("--no-crossovers", help="Do not search for where the answer changes.")
    ] = False,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            metavar="K,K,…",
            help="Keep several sequences in flight: numbers of them; 1..32 doubles from 1 to 32.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is stdout, alone there.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table as CSV.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for use with files.")] = False,
) -> None:
    """Compare SPD with what you would pick instead, on the same devices, kernels and model.

    What a rival drafts with, and how often it is right, stands under `rivals` in the scenario.
    With --concurrency (or workload.concurrency) it tells up to how many sequences at a time SPD is ahead.

    Example:  spdsim compare scenarios/h100x8.yaml --set acceptance.p=0.7
    """
    from spdsim.choice.compare import compare as run
    from spdsim.choice.crossover import crossovers
    from spdsim.cli import describe
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.progress import LateProgress
    from spdsim.errors import InputError
    from spdsim.scenario import load_scenario

    if not 0.0 < precision < 1.0:
        raise InputError(
            f"--precision is {precision:g}: must be a fraction greater than 0 and less than 1, such as 0.01"
        )
    loaded = load_scenario(scenario, settings or ())
    keys = None if methods is None else [key.strip() for key in methods.split(",")]
    if keys is not None and not all(keys):
        raise InputError(f'--methods is "{methods}": must be keys with a comma between them, such as plain,eagle,spd')
    if concurrency is not None or loaded.workload.concurrency > 1:
        several = str(loaded.workload.concurrency) if concurrency is None else concurrency
        _with_several(loaded, scenario, several, keys, json_file, csv_file, is_quiet=quiet)
        return
    with Outputs(inputs=[scenario]) as outputs:
        to_json, to_csv = JsonOutput(outputs, json_file), outputs.reserve(csv_file)
        with LateProgress(not quiet, what="methods") as progress:
            ranking = run(loaded, keys=keys, precision=precision, progress=progress)
        changes = () if no_crossovers else crossovers(loaded, ranking)
        to_json.write(lambda: _document(ranking, changes, loaded))
        if to_csv:
            to_csv.write_text(_csv(ranking), encoding="utf-8")
        if not quiet and not to_json.has_stdout:
            from spdsim.cli.screen import Screen
            from spdsim.render.ranking import print_ranking

            print_ranking(ranking, changes, Screen(), title=describe.title(loaded), lines=_lines(loaded))


def _with_several(
    loaded: "Scenario", path: Path, concurrency: str, keys: list[str] | None, json_file: Path | None,
    csv_file: Path | None, *, is_quiet: bool,
) -> None:  # fmt: skip
    """Compare the methods with several sequences in flight."""
    from spdsim.choice.concurrency import compare_concurrency, numbers_of
    from spdsim.cli import describe
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.progress import LateProgress

    numbers = numbers_of(concurrency)
    with Outputs(inputs=[path]) as outputs:
        to_json, to_csv = JsonOutput(outputs, json_file), outputs.reserve(csv_file)
        with LateProgress(not is_quiet, what="methods") as progress:
            found = compare_concurrency(loaded, numbers, keys=keys, progress=progress)
        to_json.write(lambda: _several_document(found, loaded))
        if to_csv:
            to_csv.write_text(_table_text(_several_rows(found)), encoding="utf-8")
        if not is_quiet and not to_json.has_stdout:
            from spdsim.cli.screen import Screen
            from spdsim.render.concurrency import print_concurrency

            lines = (_lines(loaded)[0].replace("one sequence", "several sequences"), *_lines(loaded)[1:])
            print_concurrency(found, Screen(), title=describe.title(loaded), lines=lines)


def _several_document(found: "Concurrency", scenario: "Scenario") -> dict[str, Any]:
    from dataclasses import asdict

    from spdsim import __version__
    from spdsim.scenario import scenario_document

    return {
        "schema_version": 1,
        "tool_version": __version__,
        "scenario": scenario_document(scenario),
        "concurrency": list(found.numbers),
        "cells": [
            {**row, "busy_fraction": list(cell.busy_fraction)}
            for row, cell in zip(_several_rows(found), found.cells, strict=True)
        ],
        "missing": [{"concurrency": number, **asdict(each)} for number, each in found.missing],
        "turns": [asdict(turn) for turn in found.turns],
    }


def _several_rows(found: "Concurrency") -> list[dict[str, Any]]:
    rows = []
    for cell in found.cells:
        way = cell.arrangement
        flat: dict[str, Any] = {"method": way.key, "concurrency": cell.sequences, "title": way.title}
        for name, estimate in (("time_per_token_s", cell.time_per_token_s), ("tokens_per_s", cell.tokens_per_s)):
            flat |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        rows.append({**flat, "num_devices": way.num_devices, "device_bytes": way.device_bytes})
    return rows


def _lines(scenario: "Scenario") -> tuple[str, ...]:
    workload, devices = scenario.workload, scenario.devices
    return (
        f"{scenario.model.name} on {devices.count} {devices.gpu.name}, one sequence at a time",
        f"{workload.prompt_tokens} prompt and up to {workload.max_new_tokens} new tokens, {scenario.runtime.sampling}, "
        f"launch {scenario.runtime.launch}",
    )


def _document(ranking: "Ranking", changes: "tuple[Crossover, ...]", scenario: "Scenario") -> dict[str, Any]:
    from dataclasses import asdict

    from spdsim import __version__
    from spdsim.cli.document import origin_document
    from spdsim.scenario import scenario_document

    return {
        "schema_version": 1,
        "tool_version": __version__,
        "scenario": scenario_document(scenario),
        "best_plain": None if ranking.plain is None else ranking.plain.key,
        "methods": [
            {
                **_row(row),
                "warnings": list(row.warnings),
                "origins": [origin_document(origin) for origin in (*row.method.machine.origins, *row.method.origins)],
            }
            for row in ranking.rows
        ],
        "missing": [asdict(each) for each in ranking.missing],
        "crossovers": [asdict(change) for change in changes],
    }


def _row(row: "Row") -> dict[str, Any]:
    figures, method = row.figures, row.method
    flat: dict[str, Any] = {"method": method.key, "title": method.title}
    estimates = {
        "time_per_token_s": figures.time_per_token_s, "tokens_per_s": figures.tokens_per_s, "speedup": row.speedup,
        "time_to_first_token_s": figures.time_to_first_token_s,
    }  # fmt: skip
    for name, estimate in estimates.items():
        values = (None, None, None) if estimate is None else (estimate.mean, estimate.low, estimate.high)
        flat |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
    return {
        **flat,
        "tokens_per_cycle": figures.tokens_per_cycle,
        "closed_form_time_per_token_s": method.law_s,
        "num_devices": method.num_devices,
        "device_bytes": method.device_bytes,
        "tokens_per_s_per_device": row.tokens_per_s_per_device,
        "num_sequences": figures.num_sequences,
        "path": figures.path,
    }


def _csv(ranking: "Ranking") -> str:
    return _table_text([_row(row) for row in ranking.rows])


def _table_text(rows: list[dict[str, Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
