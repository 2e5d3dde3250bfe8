"""`spdsim-exec probe`: what single operations cost on this machine, for `spdsim calibrate`."""

import sys
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

from executor.cli import PROGRAM
from executor.cli import options as o

if TYPE_CHECKING:
    from rich.status import Status

    from executor.planning import Request

_PROBES = "What is measured"
_BUDGET_S = 60.0
_MOST_BUDGET_S = 86_400.0

ScenarioFile = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="FILE", help="Scenario file (YAML) of the run whose operations are measured.",
                 show_default=False, rich_help_panel="The model"),
]  # fmt: skip
Budget = Annotated[
    float,
    typer.Option("--budget", metavar="SECONDS", help="How long to measure, beside the start of processes.",
                 rich_help_panel=_PROBES),
]  # fmt: skip
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", show_default=False, rich_help_panel=_PROBES,
                 help="Measure this only: layer, prefill, draft, verify, verify_sampling, launch, message, broadcast, "
                 "copy, contention; may be repeated.  [default: all]"),
]  # fmt: skip
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write every figure as JSON.  [required]", show_default=False,
                 rich_help_panel="Output"),
]  # fmt: skip
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.", rich_help_panel="Output")]


def probe(
    scenario: ScenarioFile = None,
    model: o.Model = None,
    random_weights: o.RandomWeights = False,
    dtype: o.Dtype = None,
    stages: o.Stages = None,
    layers: o.Layers = None,
    lm_head: o.Head = None,
    verification_lag: o.Lag = None,
    settings: o.Settings = None,
    draft_layers: o.DraftLayers = None,
    anchors: o.Anchors = None,
    draft_vocab: o.DraftVocab = None,
    temperature: o.Temperature = None,
    top_k: o.TopK = None,
    top_p: o.TopP = None,
    device: o.Device = None,
    backend: o.BackendOption = None,
    launch: o.LaunchOption = None,
    eager: o.Eager = False,
    threads: o.Threads = None,
    budget: Budget = _BUDGET_S,
    only: Only = None,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Measure what single operations cost on this machine, and write one JSON file.

    The options mean what they mean to `generate`: what is measured is the model, the number format, the threads, the
    messages and the launches of that run. Weights are random ones: no product takes another time for them.

    Example:  spdsim-exec probe --model path/to/model --stages 4 --backend socket --out probes.json
    """
    from executor.planning import Request
    from executor.probing.names import check_names
    from spdsim.errors import InputError

    if eager and launch not in (None, "eager"):
        raise InputError(f"--eager is given beside --launch {launch}: must be one of the two")
    if out is None:
        raise InputError("--out is missing: must be a file to write")
    if not 0.0 < budget <= _MOST_BUDGET_S:
        rule = f"must be greater than 0, and at most {_MOST_BUDGET_S:,.0f} seconds"
        raise InputError(f"--budget is {budget:g}: {rule}")
    request = Request(
        scenario=scenario, settings=tuple(settings or ()), model=model, random_weights=random_weights, dtype=dtype,
        stages=stages, layers=layers, lm_head=lm_head, verification_lag=verification_lag, draft_layers=draft_layers,
        anchors=anchors, draft_vocab=draft_vocab, temperature=temperature, top_k=top_k, top_p=top_p, device=device,
        backend=backend, launch="eager" if eager else launch, threads=threads,
    )  # fmt: skip
    _probe(request, check_names(only or ()), budget, out, is_quiet=quiet)


def _probe(request: "Request", names: tuple[str, ...], budget_s: float, out: Path, *, is_quiet: bool) -> None:
    """Plan, measure, write. Raises an SpdError, one line, and then nothing is written."""
    from executor.planning import plan_run, this_place
    from spdsim.cli.document import document_text
    from spdsim.cli.outputs import Outputs
    from spdsim.errors import InputError
    from spdsim.files import atomic_writer

    place = this_place()
    if place.world is not None:
        raise InputError("RANK is set: probe starts its own processes: must not be started by torchrun")
    run = plan_run(request, place)
    with Outputs([] if request.scenario is None else [request.scenario]) as outputs:
        reserved = outputs.reserve(out)
        assert reserved is not None
        # What is wrong with a run is told before the heavy half of the program is loaded.
        from executor.machine_info import machine_info
        from executor.probing.document import probes_document
        from executor.probing.run import probe_plan

        with _Line(budget_s, is_wanted=not is_quiet) as line:
            found = probe_plan(run.plan, names, budget_s, line)
        machine = machine_info(run.plan.device)
        document = probes_document(run.plan, run.model_name, machine, found.measured, found.skipped)
        with atomic_writer(reserved) as file:
            file.write(document_text(document))
    if not is_quiet:
        left_out = f", {len(found.skipped)} skipped" if found.skipped else ""
        print(f"{PROGRAM}: wrote {out}: {len(found.measured)} measurements{left_out}", file=sys.stderr)


class _Line:
    """What is being measured and how long it all goes on, in one line on stderr, on a terminal. Use as a context."""

    def __init__(self, budget_s: float, *, is_wanted: bool) -> None:
        self._what = "starting"
        self._end_s = monotonic() + budget_s
        self._is_wanted = is_wanted and sys.stderr.isatty()
        self._status: Status | None = None

    def __call__(self, what: str) -> None:
        """Say what is being measured now."""
        self._what = what

    def __rich__(self) -> str:
        """Return the line as it is now: it is drawn again and again."""
        return f"measuring {self._what} (about {max(0.0, self._end_s - monotonic()):.0f} s left)"

    def __enter__(self) -> "_Line":
        if self._is_wanted:
            from rich.console import Console

            self._status = Console(stderr=True).status(self)
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
