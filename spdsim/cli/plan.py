"""`spdsim plan`: how to cut the model over these devices so that a token takes the least time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spdsim.errors import InputError

if TYPE_CHECKING:
    from spdsim.analysis.report import Estimate
    from spdsim.choice.plan import Plan, Ranked
    from spdsim.cli.outputs import Outputs
    from spdsim.scenario import Scenario
    from spdsim.scenario.edit import Setting


def plan(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).", show_default=False)],
    devices: Annotated[
        int | None,
        typer.Option("--devices", metavar="N", help="For so many devices, in nodes as large; default: as written."),
    ] = None,
    min_acceptance: Annotated[
        float | None,
        typer.Option("--min-acceptance", metavar="P", help="Also the best design if only so many drafts are accepted."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the scenario; may be repeated."),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", help="How many designs to tell.")] = 5,
    precision: Annotated[
        float,
        typer.Option("--precision", metavar="FRACTION", help="Half a 95 % interval, over the time per token."),
    ] = 0.01,
    directory: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write each design there as a scenario file.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is stdout, alone there.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the designs as CSV.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; for use with files.")] = False,
) -> None:
    """Find the stages, layers and placements with which a token takes the least time on these devices.

    Looks at stages, uneven cuts, tensor-parallel stages, the LM head's place, the verification lag and the draft
    module's place and, where its acceptance is known, its depth; within memory.

    Example:  spdsim plan scenarios/h100x8.yaml --devices 8 --min-acceptance 0.6 --out designs
    """
    from spdsim.choice.plan import plan as search
    from spdsim.cli import describe
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.progress import LateProgress

    _check(devices, min_acceptance, top, precision, directory)
    work = _Work(scenario, settings or [], devices)
    with Outputs(inputs=[scenario]) as outputs:
        to_json, to_csv = JsonOutput(outputs, json_file), outputs.reserve(csv_file)
        with LateProgress(not quiet, what="steps") as progress:
            found = search(
                work.scenario, is_feasible=work.problem is None, top=top, precision=precision,
                min_acceptance=min_acceptance, progress=progress,
            )  # fmt: skip
        files = [] if directory is None else work.write(found, directory, outputs)
        to_json.write(lambda: _document(found, work, files))
        if to_csv:
            to_csv.write_text(_csv(found), encoding="utf-8")
        if not quiet and not to_json.has_stdout:
            from spdsim.cli.screen import Screen
            from spdsim.render.plan import print_plan

            print_plan(
                found, Screen(), title=describe.title(work.scenario), lines=_lines(work.scenario),
                problem=work.problem, ways=[str(file) for file in files] or [work.command(each) for each in found.best],
            )  # fmt: skip


class _Work:
    """The scenario that is to be cut, and how it came of its file.

    problem: why it cannot be had as it is written, or None.
    """

    def __init__(self, path: Path, settings: list[str], devices: int | None) -> None:
        from copy import deepcopy

        from spdsim.scenario.edit import changes
        from spdsim.scenario.load import read_source, scenario_to_cut
        from spdsim.scenario.overrides import set_device_count
        from spdsim.scenario.source import parse_yaml, read_text

        self.path, self._options, self._text = path, list(settings), read_text(path)
        source = read_source(path, settings)
        of_devices = [] if devices is None else set_device_count(source, devices, "--devices")
        self._options += [_option(key, value) for key, value in of_devices]
        data = deepcopy(source.data)
        written = parse_yaml(self._text, str(path)).data
        if "name" not in written:
            del data["name"]
        self._changes = changes(written, data)
        self.scenario, error = scenario_to_cut(source)
        self.problem = None if error is None else str(error)

    def settings(self, design: "Ranked") -> "list[Setting]":
        """Return the keys that make the scenario a design's, with the replications that gave its figures."""
        from spdsim.choice.plan_design import settings_of

        found = settings_of(self.scenario, design.design)
        if design.replications != self.scenario.replications:
            found.append(("replications", design.replications))
        return found

    def command(self, design: "Ranked") -> str:
        """Return the command that simulates a design, for a shell."""
        import shlex

        options = [*self._options, *(_option(key, value) for key, value in self.settings(design))]
        words = ["spdsim", "simulate", str(self.path)]
        for option in options:
            words += ["--set", option]
        return shlex.join(words)

    def write(self, found: "Plan", directory: Path, outputs: "Outputs") -> list[Path]:
        """Write a file for each design into a directory, which is made if there is none, and return their paths."""
        from spdsim.scenario.edit import file_of

        directory.mkdir(exist_ok=True)
        files = []
        for number, ranked in enumerate(found.best, 1):
            path = directory / f"{number}-{ranked.design.slug}.yaml"
            made = self.settings(ranked)
            said = f"{ranked.design.words}; found by spdsim plan"
            settings = None if self._changes is None else [*self._changes, *made, ("description", said)]
            scenario = ranked.scenario.model_copy(update={"replications": ranked.replications, "description": said})
            text = file_of(scenario, self._text, settings, name=str(path), header=self._header(number, ranked, made))
            waiting = outputs.reserve(path)
            assert waiting is not None
            waiting.write_text(text, encoding="utf-8")
            files.append(path)
        return files

    def _header(self, number: int, ranked: "Ranked", made: "list[Setting]") -> str:
        devices = self.scenario.devices
        lines = [
            f"Design {number} that `spdsim plan` found for {self.path.name} on {devices.count} {devices.gpu.name}:",
            f"{ranked.design.words}.",
            f"Simulated in {ranked.replications} replications: {ranked.time_per_token_s.mean * 1e3:.4g} ms per token.",
            *(f"Taken for granted: {flag}." for flag in ranked.flags),
            f"Changed: {', '.join(key for key, _ in made) or 'nothing'}.",
        ]
        return "".join(f"# {line}\n" for line in lines)


def _option(key: str, value: Any) -> str:
    from spdsim.scenario.edit import flow

    return f"{key}={flow(value).replace(', ', ',')}"


def _check(
    devices: int | None, min_acceptance: float | None, top: int, precision: float, directory: Path | None
) -> None:
    if devices is not None and devices < 1:
        raise InputError(f"--devices is {devices}: must be at least 1")
    if min_acceptance is not None and not 0.0 <= min_acceptance <= 1.0:
        raise InputError(f"--min-acceptance is {min_acceptance:g}: must be a probability, 0 to 1")
    if top < 1:
        raise InputError(f"--top is {top}: must be at least 1")
    if not 0.0 < precision < 1.0:
        raise InputError(
            f"--precision is {precision:g}: must be a fraction greater than 0 and less than 1, such as 0.01"
        )
    if directory is not None and directory.exists() and not directory.is_dir():
        raise InputError(f"--out is {directory}: is a file: must be a directory, or a name for one")
    if directory is not None and not directory.parent.is_dir():
        raise InputError(f"--out is {directory}: directory {directory.parent} does not exist: must exist")


def _lines(scenario: "Scenario") -> tuple[str, ...]:
    workload, devices = scenario.workload, scenario.devices
    nodes = f" in nodes of {devices.per_node}" if devices.per_node not in (None, devices.count) else ""
    return (
        f"{scenario.model.name} on {devices.count} {devices.gpu.name}{nodes}, one sequence at a time",
        f"{workload.prompt_tokens} prompt and up to {workload.max_new_tokens} new tokens, {scenario.runtime.sampling}, "
        f"launch {scenario.runtime.launch}",
    )


def _document(found: "Plan", work: _Work, files: list[Path]) -> dict[str, Any]:
    from dataclasses import asdict

    from spdsim import __version__
    from spdsim.cli.document import origin_document
    from spdsim.scenario import scenario_document
    from spdsim.timing import machine_of

    designs = []
    for number, ranked in enumerate(found.best):
        designs.append({
            **_row(number + 1, ranked),
            "settings": dict(work.settings(ranked)),
            "command": work.command(ranked),
            "file": str(files[number]) if files else None,
            "warnings": list(ranked.warnings),
        })  # fmt: skip
    robust, plain = found.robust, found.plain
    return {
        "schema_version": 1,
        "tool_version": __version__,
        "scenario": scenario_document(work.scenario),
        "problem": work.problem,
        "written_time_per_token_s": None if found.written_s is None else asdict(found.written_s),
        "plain": None if plain is None else {
            "method": plain.method.key, "title": plain.method.title,
            "time_per_token_s": asdict(plain.figures.time_per_token_s),
        },
        "designs": designs,
        "probability_first_is_fastest": found.surely,
        "searched": asdict(found.searched),
        "reason": None if found.reason is None else asdict(found.reason),
        "at_min_acceptance": None if robust is None else {
            "acceptance": robust.acceptance, "design": asdict(robust.design),
            "time_per_token_s": robust.time_per_token_s, "first_time_per_token_s": robust.first_s,
            "stays": robust.stays, "probability": robust.surely,
        },
        "origins": [
            origin_document(origin) for origin in (machine_of(found.best[0].scenario).origins if found.best else ())
        ],
    }  # fmt: skip


def _row(number: int, ranked: "Ranked") -> dict[str, Any]:
    design = ranked.design
    flat: dict[str, Any] = {
        "rank": number, "stages": design.stages, "layers": "-".join(map(str, design.layers)),
        "tensor_parallel": design.tensor_parallel, "lm_head": design.lm_head,
        "verification_lag": design.verification_lag, "draft_placement": design.placement,
        "draft_layers": design.draft_layers, "num_devices": design.num_devices,
    }  # fmt: skip
    estimates: dict[str, Estimate | None] = {
        "time_per_token_s": ranked.time_per_token_s, "speedup": ranked.speedup,
        "speedup_over_plain": ranked.speedup_over_plain,
    }  # fmt: skip
    for name, estimate in estimates.items():
        told = (None, None, None) if estimate is None else (estimate.mean, estimate.low, estimate.high)
        flat |= dict(zip((name, f"{name}_low", f"{name}_high"), told, strict=True))
    return {
        **flat,
        "tokens_per_s": ranked.tokens_per_s,
        "estimated_time_per_token_s": ranked.estimate_s,
        "device_bytes": ranked.device_bytes,
        "replications": ranked.replications,
        "probability_faster_than_next": ranked.surely,
        "taken_for_granted": "; ".join(ranked.flags),
    }


def _csv(found: "Plan") -> str:
    import csv
    import io

    text = io.StringIO()
    rows = [_row(number, ranked) for number, ranked in enumerate(found.best, 1)]
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
