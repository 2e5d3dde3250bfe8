"""The runs of a calibration: which, in what order, and how the executor is started for each.

Every round runs every configuration once, those of the fit and those that are held out in turn, so that a machine that
grows busy meanwhile moves both alike. What is held out has seeds of its own.
The executor is a program of its own, since it needs torch, and what is read of it are the traces that it writes.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import decodings
from spdsim.calibration.observed import Observed, observe
from spdsim.errors import InputError, RunError
from spdsim.evidence import Probes, read_probes
from spdsim.tracefile import read_trace

PROBES = "probes.json"
"""The file of the probes, among the traces."""

_HELD_OUT_SEED = 1_000_003
"""What the seeds of held-out runs are further along."""


_ENDING_S = 5.0

_MOST_DISTURBED = 0.10
"""By how much of itself a mean cycle may be longer than in the fastest round."""


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration. acceptance: of forced drafts; None with one stage, which is plain decoding."""

    stages: int
    acceptance: float | None
    draft_layers: int
    is_held_out: bool = False

    def __str__(self) -> str:
        if self.acceptance is None:
            return "plain decoding"
        return f"{self.stages} stages, p = {self.acceptance:g}, {self.draft_layers} draft layers"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is calibrated.

    stages, acceptances, draft_layers: of the runs that are fitted; every number of stages with every acceptance, and
    the first with every number of draft layers. predicted_stages, predicted_acceptances: of those that are held out.
    model_options, run_options: of the executor, the same for all runs (model, device, …; prompts, timeout);
    pipeline_options: for two stages or more only. is_emulated: durations take the place of computing.
    probe_budget_s: for how long single operations are measured; 0: not at all.
    """

    stages: tuple[int, ...]
    acceptances: tuple[float, ...]
    draft_layers: tuple[int, ...]
    predicted_stages: tuple[int, ...]
    predicted_acceptances: tuple[float, ...]
    new_tokens: int
    rounds: int
    seed: int
    model_options: tuple[str, ...]
    run_options: tuple[str, ...]
    pipeline_options: tuple[str, ...]
    is_emulated: bool = False
    probe_budget_s: float = 0.0

    def configs(self) -> Iterator[Config]:
        """Yield every configuration, once."""
        # A single stage has nobody beside it: what layers take alone.
        yield Config(1, None, self.draft_layers[0])
        for stages in self.stages:
            for acceptance in self.acceptances:
                yield Config(stages, acceptance, self.draft_layers[0])
        for layers in self.draft_layers[1:]:
            yield Config(self.stages[0], self.acceptances[0], layers)
        for stages in self.predicted_stages:
            for acceptance in self.predicted_acceptances:
                yield Config(stages, acceptance, self.draft_layers[0], is_held_out=True)


@dataclass(frozen=True, slots=True)
class Done:
    """A run: its configuration and what was observed of it."""

    config: Config
    observed: Observed


def perform(
    wanted: Wanted, directory: Path, progress: Callable[[int, int, str], None], run: "Callable[[Sequence[str]], None]"
) -> tuple[list[Done], Probes | None]:
    """Run the probes, then every configuration in every round, and return what was observed.

    directory: where the traces go. progress: called with (runs done, runs in all, what comes next). run: runs the
    executor with these arguments.
    """
    configs = list(wanted.configs())
    total = len(configs) * wanted.rounds
    done: list[Done] = []
    probes = None
    if wanted.probe_budget_s > 0.0:
        progress(0, total, "single operations first")
        run(probe_arguments(wanted, directory / PROBES))
        probes = read_probes(directory / PROBES)
    for number in range(wanted.rounds):
        for index, config in enumerate(configs):
            progress(len(done), total, str(config))
            trace_file = directory / f"{index:02}-{number}.jsonl"
            run(arguments(wanted, config, number, trace_file))
            done.append(Done(config, observe(read_trace(trace_file), str(config))))
    progress(total, total, "done")
    return done, probes


def probe_arguments(wanted: Wanted, file: Path) -> list[str]:
    """Return the executor's arguments for the probes of the first pipeline."""
    found = ["probe", "--stages", str(wanted.stages[0]), "--draft-layers", str(wanted.draft_layers[0])]
    found += ["--budget", f"{wanted.probe_budget_s:g}", "--out", str(file), "--quiet"]
    return [*found, *wanted.model_options, *wanted.pipeline_options]


def undisturbed(done: Sequence[Done]) -> list[Done]:
    """Return the runs without those that something else held up, of what is fitted and of what is held out alike.

    The machine may be busy for a while: a run whose mean cycle is more than a tenth longer than that of the fastest
    round of its configuration is left out.
    """
    cycle_s = [mean_cycle_s(each.observed) for each in done]
    fastest_s: dict[Config, float] = {}
    for each, seconds in zip(done, cycle_s, strict=True):
        fastest_s[each.config] = min(seconds, fastest_s.get(each.config, seconds))
    return [
        each
        for each, seconds in zip(done, cycle_s, strict=True)
        if seconds <= (1.0 + _MOST_DISTURBED) * fastest_s[each.config]
    ]


def mean_cycle_s(observed: Observed) -> float:
    """Return the mean seconds of the driver's cycles. Raises TraceError for a sequence without its first token."""
    windows = decodings(observed.trace, causality(observed.trace))
    return sum(window.time_s for window in windows) / max(1, sum(len(window.cycle_s) for window in windows))


def arguments(wanted: Wanted, config: Config, number: int, trace_file: Path) -> list[str]:
    """Return the executor's arguments for one run."""
    seed = wanted.seed + number + (_HELD_OUT_SEED if config.is_held_out else 0)
    found = ["generate", "--stages", str(config.stages), "--max-new-tokens", str(wanted.new_tokens)]
    found += ["--ignore-end-tokens", "--seed", str(seed), "--trace", str(trace_file), "--quiet", *wanted.model_options]
    found += wanted.run_options
    if config.acceptance is None:
        return [*found, "--draft", "none"] if wanted.is_emulated else found
    found += ["--draft", f"forced:p={config.acceptance:g}", "--draft-layers", str(config.draft_layers)]
    # What drafts are right about is computed first; an emulated run invents it.
    return [*found, *wanted.pipeline_options, *(["--no-baseline"] if wanted.is_emulated else [])]


def run_executor(given: Sequence[str]) -> None:
    """Run `spdsim-exec` with the given arguments.

    Raises InputError with its own line where it refuses them, RunError where it fails otherwise.
    """
    # A session of its own would keep Ctrl-C from it: what it has started must end with it.
    process = subprocess.Popen(
        [sys.executable, "-m", "executor", *given],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    try:
        _, told = process.communicate()
    except BaseException:
        # Ctrl-C reached it, too, and it is ending its own processes.
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        raise
    if process.returncode:
        lines = [line for line in told.splitlines() if line.strip()] or [f"exit code {process.returncode}"]
        last = next((line for line in reversed(lines) if "error:" in line), lines[-1])
        text = last.split("error:", 1)[-1].strip()
        raise (InputError if process.returncode == 2 else RunError)(f"spdsim-exec: {text}")
