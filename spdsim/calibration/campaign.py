"""The runs of a calibration: which, in what order, and how the executor is started for each.

Every round runs every configuration once, those of the fit and those that are held out in turn, so that a machine that
grows busy meanwhile moves both alike. What is held out has seeds of its own.
The executor is a program of its own, since it needs torch, and what is read of it are the traces that it writes.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import median_low
from time import monotonic

from spdsim.analysis.causality import causality
from spdsim.analysis.decoding import decodings
from spdsim.calibration.kept import Kept
from spdsim.calibration.noise import Noise, noise_of
from spdsim.calibration.observed import Observed, observe
from spdsim.errors import InputError, RunError
from spdsim.evidence import Probes, read_probes
from spdsim.tracefile import read_trace

PROBES = "probes.json"
"""The file of the probes, among the traces."""

_HELD_OUT_SEED = 1_000_003
"""What the seeds of held-out runs are further along."""

_LEAST_ROUNDS, _MOST_ROUNDS = 3, 8
_PATIENCE_S = 200.0
"""Where nobody says how many rounds: how long all of them may take, beyond the fewest. With the probes, the fit and the
predictions a calibration of short runs ends within five minutes."""

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

    def trace_name(self, number: int) -> str:
        """Return what the trace of a round is called."""
        if self.acceptance is None:
            return f"plain-{number}.jsonl"
        held_out = "-held-out" if self.is_held_out else ""
        return f"stages{self.stages}-p{self.acceptance:g}-layers{self.draft_layers}{held_out}-{number}.jsonl"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is calibrated.

    stages, acceptances, draft_layers: of the runs that are fitted; every number of stages with every acceptance, and
    the first with every number of draft layers. predicted_stages, predicted_acceptances: of those that are held out.
    model_options, run_options: of the executor, the same for all runs (model, device, …; prompts, timeout);
    pipeline_options: for two stages or more only. rounds: None for as many as there is time for. is_emulated: durations
    take the place of computing. probe_budget_s: for how long single operations are measured; 0: not at all.
    """

    stages: tuple[int, ...]
    acceptances: tuple[float, ...]
    draft_layers: tuple[int, ...]
    predicted_stages: tuple[int, ...]
    predicted_acceptances: tuple[float, ...]
    new_tokens: int
    rounds: int | None
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
    """A run: its configuration, what was observed of it, and the mean seconds of the driver's cycles.

    Raises TraceError for a sequence without its first token.
    """

    config: Config
    observed: Observed
    cycle_s: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cycle_s", _mean_cycle_s(self.observed))


def perform(
    wanted: Wanted, kept: Kept, progress: Callable[[int, int, str], None], run: "Callable[[Sequence[str]], None]"
) -> tuple[list[Done], Probes | None]:
    """Run the probes, then every configuration in every round, and return what was observed.

    kept: where the traces go; what is there already is not run again. progress: called with (runs done, runs in all,
    what comes next). run: runs the executor with these arguments.
    """
    configs = list(wanted.configs())
    done: list[Done] = []
    probes = None
    if wanted.probe_budget_s > 0.0:
        progress(0, len(configs) * (wanted.rounds or _LEAST_ROUNDS), "single operations first")
        given = probe_arguments(wanted)
        if not kept.has(PROBES, given):
            run([*given, "--out", str(kept.begin(PROBES))])
            kept.keep(PROBES, given)
        probes = read_probes(kept.path(PROBES))
    pace = _Pace(len(configs))
    for number in count():
        round_ = [(config, config.trace_name(number), arguments(wanted, config, number)) for config in configs]
        rounds = pace.rounds if wanted.rounds is None else wanted.rounds
        if wanted.rounds is None and any(kept.has(name, given) for _, name, given in round_):
            # There was time for it before.
            rounds = max(rounds, number + 1)
        if number >= rounds:
            break
        for config, name, given in round_:
            progress(len(done), len(configs) * rounds, str(config))
            if not kept.has(name, given):
                with pace:
                    run([*given, "--trace", str(kept.begin(name))])
                kept.keep(name, given)
            done.append(Done(config, observe(read_trace(kept.path(name)), str(config))))
            _check_transport(done)
    progress(len(done), len(done), "done")
    return done, probes


def _check_transport(done: Sequence[Done]) -> None:
    """Raise InputError where the newest pipeline's messages took another way than those of the first.

    The executor chooses one by the workers and the devices: with too few devices workers share them, in one process.
    """
    pipelines = [each for each in done if each.config.acceptance is not None]
    if not pipelines or done[-1] is not pipelines[-1]:
        return
    first, newest = pipelines[0], pipelines[-1]
    theirs, its = (each.observed.transport for each in (first, newest))
    if theirs != its:
        raise InputError(
            f"{newest.config}: ran over {its}, and {first.config} over {theirs}, so that nothing measured of one holds "
            "for the other: give --backend, local to let workers share devices in all runs, or ask for fewer stages"
        )


class _Pace:
    """How long a run takes, and so for how many rounds there is time. Use as a context around each run."""

    def __init__(self, runs_of_round: int) -> None:
        self._runs_of_round = runs_of_round
        self._runs, self._seconds, self._start_s = 0, 0.0, 0.0

    @property
    def rounds(self) -> int:
        """Rounds that there is time for, by the runs so far."""
        if self._runs < self._runs_of_round:
            return _LEAST_ROUNDS
        round_s = self._seconds / self._runs * self._runs_of_round
        return min(_MOST_ROUNDS, max(_LEAST_ROUNDS, int(_PATIENCE_S / round_s)))

    def __enter__(self) -> None:
        self._start_s = monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._seconds += monotonic() - self._start_s
            self._runs += 1


def probe_arguments(wanted: Wanted) -> list[str]:
    """Return the executor's arguments for the probes of the first pipeline, but for where they are written."""
    found = ["probe", "--stages", str(wanted.stages[0]), "--draft-layers", str(wanted.draft_layers[0])]
    found += ["--budget", f"{wanted.probe_budget_s:g}", "--quiet"]
    return [*found, *wanted.model_options, *wanted.pipeline_options]


def undisturbed(done: Sequence[Done]) -> list[Done]:
    """Return the runs without those that something else held up, of what is fitted and of what is held out alike.

    The machine may be busy for a while: a run whose mean cycle is more than a tenth longer than that of the fastest
    round of its configuration is left out; but never more than half of the rounds, for what is left tells little.
    """
    most_s = {
        config: max((1.0 + _MOST_DISTURBED) * min(cycles_s), median_low(cycles_s))
        for config, cycles_s in _rounds_s(done).items()
    }
    return [each for each in done if each.cycle_s <= most_s[each.config]]


def noise(done: Sequence[Done]) -> Noise:
    """Return how much the same run differs from round to round: of pipelines, whose messages and hosts are at work.

    Of those that are fitted, since nothing of what is held out may go into the profile.
    """
    return noise_of(
        cycles_s
        for config, cycles_s in _rounds_s(done).items()
        if config.acceptance is not None and not config.is_held_out
    )


def _rounds_s(done: Sequence[Done]) -> dict[Config, list[float]]:
    """The mean cycles of each configuration, in every round."""
    found: dict[Config, list[float]] = {}
    for each in done:
        found.setdefault(each.config, []).append(each.cycle_s)
    return found


def _mean_cycle_s(observed: Observed) -> float:
    windows = decodings(observed.trace, causality(observed.trace))
    return sum(window.time_s for window in windows) / max(1, sum(len(window.cycle_s) for window in windows))


def arguments(wanted: Wanted, config: Config, number: int) -> list[str]:
    """Return the executor's arguments for one run, but for where its trace is written."""
    seed = wanted.seed + number + (_HELD_OUT_SEED if config.is_held_out else 0)
    found = ["generate", "--stages", str(config.stages), "--max-new-tokens", str(wanted.new_tokens)]
    found += ["--ignore-end-tokens", "--seed", str(seed), "--quiet", *wanted.model_options]
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
