"""Traces of an executor become a profile: distributions of tasks and messages, contention, and where it holds.

What is read off: computations with what they would take alone (`contention`), the posting, crossing and taking of
messages, what a host does between cycles. A stage's time is a line in its number of layers where stages of several
sizes were measured; a draft's is one in its rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from spdsim.acceptance_fit import AcceptanceFit
from spdsim.calibration.contention import Spans, fit_curve, work_s
from spdsim.calibration.drafts import acceptance_fits
from spdsim.calibration.families import Chosen, choose
from spdsim.calibration.noise import QUIET, Noise
from spdsim.calibration.observed import COMPUTING, Computations, Observed
from spdsim.calibration.probed import Slope, context_slope, message_way
from spdsim.distributions import Constant, Distribution, Empirical, Gamma, LogNormal, Normal, scaled
from spdsim.errors import InputError
from spdsim.evidence import Probes
from spdsim.scenario.placement import place
from spdsim.scenario.profile import Profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_DEPTHS = 32
"""Tokens in flight up to which a draft's time is written out."""

_CLEAR = 3.0
"""A slope this many times its standard error is one."""

_FEW_CROSSINGS = 8

_LEAST_SHARED, _FEW_PAIRS = 0.05, 20
"""A smaller correlation is none, and fewer pairs of durations tell none."""

_MOST_GROWTH = 0.5
"""Of a crossing with each further worker, as a fraction of what it takes with two: beyond, two points tell no line."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the profile: its mean, how far off it may be (one standard error), from how many samples, how."""

    key: str
    mean: float
    std_error: float
    count: int
    family: str
    how: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """A profile and what it rests on. num_disturbed: runs that were left out, since something else held them up.

    acceptances: of drafts that were a module's own, for each cut and lag; none where all verdicts were forced.
    noise: how much the same run differed from round to round.
    """

    profile: Profile
    figures: tuple[Figure, ...]
    curve: tuple[float, ...]
    names: tuple[str, ...]
    num_disturbed: int = 0
    noise: Noise = QUIET
    probes: Probes | None = None
    acceptances: tuple[AcceptanceFit, ...] = ()


def fit_traces(
    observed: Sequence[Observed], source: str, machine: dict[str, str] | None = None, probes: Probes | None = None,
    noise: Noise | None = None,
) -> Calibration:  # fmt: skip
    """Return the profile of what `observed` shows.

    source: where it was measured, in words. machine: what it was measured on, for the profile's head. probes: tell
    how a layer depends on its context. noise: what runs differ by from round to round, where it is known.
    Raises InputError where the traces are not of one model and machine, or have no decode cycles to read.
    """
    _check(observed)
    return _Fit(observed, source, machine or {}, probes, noise or QUIET).run()


def _check(observed: Sequence[Observed]) -> None:
    if not observed:
        raise InputError("no trace is given: must be at least one")
    first = observed[0]
    like_first = _as_pipeline(observed, first)
    for other in observed[1:]:
        like_other = _as_pipeline(observed, other)
        for what, mine, theirs in (
            ("source", first.trace.header.source, other.trace.header.source),
            ("model", first.scenario.model.name, other.scenario.model.name),
            ("partition.lm_head", like_first.layout.lm_head, like_other.layout.lm_head),
            ("backend", like_first.transport, like_other.transport),
        ):
            if mine != theirs:
                raise InputError(f"{other.name}: {what} is {theirs}: must be {mine} as in {first.name}")
    if not any(len(part.seconds) for each in observed for part in each.computations if part.task == "forward"):
        raise InputError(f"{first.name}: has no decode cycle: must have at least one forward")


@dataclass(frozen=True, slots=True)
class _Samples:
    """What a task takes alone, one entry a span, with what it may depend on: layers of the stage, rows of the draft."""

    seconds: "Floats"
    size: "Floats"

    @classmethod
    def together(cls, parts: "Iterable[_Samples]") -> "_Samples":
        found = list(parts)
        empty = np.zeros(0)
        return cls(
            np.concatenate([empty, *(part.seconds for part in found)]),
            np.concatenate([empty, *(part.size for part in found)]),
        )


class _Fit:
    """One fit."""

    def __init__(
        self, observed: Sequence[Observed], source: str, machine: dict[str, str], probes: Probes | None, noise: Noise
    ) -> None:
        self._observed, self._source, self._machine, self._probes = observed, source, machine, probes
        self._noise = noise
        self._slope = None if probes is None else context_slope(probes)
        self._way = None if probes is None else message_way(probes)
        self._figures: list[Figure] = []
        self._data: dict[str, Any] = {}

    def run(self) -> Calibration:
        self._curve = fit_curve(list(self._spans()))
        if self._slope is not None and not self._is_by_layers(self._samples("forward")):
            # Stages take what they take, whatever their layers: so a layer's slope is not theirs.
            self._slope = None
            self._curve = fit_curve(list(self._spans()))
        self._tasks()
        self._messages()
        self._hosts()
        figures = tuple(self._less_sure(figure) for figure in self._figures)
        profile = Profile.model_validate({
            "origin": "measured", "source": self._source, **self._data, "contention": self._curve,
            "shared_fraction": self._shared_fraction(),
            "runtime": {"posting": "separate", "receipts": "taken", "departure": "posting"}, "machine": self._machine,
            "range": self._range(),
            "figures": {figure.key: {"origin": "measured", "source": _words(figure)} for figure in figures},
        })  # fmt: skip
        names = tuple(each.name for each in self._observed)
        return Calibration(
            profile, figures, self._curve, names, probes=self._probes,
            acceptances=acceptance_fits(self._observed), noise=self._noise,
        )  # fmt: skip

    def _range(self) -> dict[str, Any]:
        """Where the measurements were made."""
        pipelines = [each for each in self._observed if each.layout.num_stages > 1] or self._observed
        stages = [each.layout.num_stages for each in pipelines]
        drafts = sorted({(each.layout.num_stages, each.scenario.draft.layers) for each in pipelines})
        return {
            "models": sorted({each.scenario.model.name for each in self._observed}),
            "stages": (min(stages), max(stages)),
            "drafts": drafts,
            "launch": sorted({each.scenario.runtime.launch for each in self._observed}),
        }

    # Tasks.

    def _spans(self) -> Iterator[Spans]:
        """The long computations of decode cycles."""
        for each in self._observed:
            for part in each.computations:
                if part.task == "forward":
                    yield Spans("forward", _layers(each, part), part.beside_s, self._context_s(each, part))
                elif part.task == "draft":
                    rows = _rows(each, part)
                    layers = each.scenario.draft.layers
                    for count in np.unique(rows).tolist():
                        among = rows == count
                        yield Spans(("draft", layers, count), 0, part.beside_s[among], np.zeros(int(among.sum())))

    def _samples(self, task: str) -> _Samples:
        """All spans of a task, with the layers of their stage or the rows of their draft."""
        return _Samples.together(part for each in self._observed for part in self._alone(each, task))

    def _alone(self, each: Observed, task: str) -> Iterator[_Samples]:
        """What the spans of a task in one trace would take with nobody beside them, and without any context."""
        for part in each.computations:
            if part.task != task or not len(part.seconds):
                continue
            alone_s = work_s(part.beside_s, self._curve) if task in COMPUTING else part.seconds
            if task == "forward":
                alone_s = alone_s - self._context_s(each, part)
            size = _rows(each, part) if task == "draft" else np.full(len(alone_s), float(_layers(each, part)))
            yield _Samples(alone_s, size)

    def _shared_fraction(self) -> float:
        """How much the durations of two stages in one cycle go together: their correlation, over all pairs."""
        found = [pair for each in self._observed for pair in correlations(each, self._curve)]
        if not found:
            return 0.0
        weights = np.array([count for _, count in found], float)
        mean = float((np.array([correlation for correlation, _ in found]) * weights).sum() / weights.sum())
        return round(min(mean, 1.0), 3) if mean >= _LEAST_SHARED else 0.0

    def _tasks(self) -> None:
        self._forward(self._samples("forward"))
        if self._slope is not None:
            self._add_context(self._slope)
        self._prefill(self._samples("prefill"))
        self._draft()
        self._verify()
        for task in ("combine", "commit", "rollback"):
            self._whole(task, self._samples(task).seconds)
        if "verify" not in self._data:
            self._data["verify"] = 0.0

    def _forward(self, samples: _Samples) -> None:
        """A line in the layers: what a layer takes, and a stage beside its layers; or one duration for all stages."""
        line = _line(samples)
        if not self._is_by_layers(samples):
            self._drawn("forward", samples.seconds, "spans of stages, whatever their layers")
            return
        if line is None:
            # Stages of one size: all of it is taken to be the layers'.
            self._drawn("forward_per_layer", samples.seconds / samples.size, "spans of stages over their layers")
            return
        fixed_s = max(0.0, line.offset)
        if fixed_s > 0.0:
            self._number(
                "forward_fixed", fixed_s, line.offset_error, len(samples.seconds), "line in the layers of stages"
            )
        per_layer = _Samples((samples.seconds - fixed_s) / samples.size, samples.size)
        self._drawn(
            "forward_per_layer", per_layer.seconds, "line in the layers of stages",
            line.offset_error * float((1.0 / samples.size).mean()),
        )  # fmt: skip

    def _is_by_layers(self, samples: _Samples) -> bool:
        """Whether the layers of stages explain what they take, or may, where all stages have as many."""
        line = _line(samples)
        if line is None:
            return bool(samples.size[0] > 0 and samples.seconds.mean() > 0)
        return line.is_clear and line.slope * line.middle >= 0.1 * line.offset

    def _context_s(self, each: Observed, part: Computations) -> "Floats":
        """What their context adds to the forwards of a stage, alone."""
        if self._slope is None:
            return np.zeros(len(part.seconds))
        return np.asarray(self._slope.per_context_token_s * part.context_tokens * _layers(each, part))

    def _add_context(self, slope: Slope) -> None:
        if "forward_per_layer" in self._data:
            self._data["forward_per_layer"]["per_context_token_s"] = slope.per_context_token_s
            key, how = "forward_per_layer.per_context_token_s", "probes of layers by their context"
            self._figures.append(
                Figure(key, slope.per_context_token_s, slope.std_error_s, slope.count, "constant", how)
            )

    def _prefill(self, samples: _Samples) -> None:
        of_stages = samples.size > 0
        if of_stages.any():
            seconds = samples.seconds[of_stages] / samples.size[of_stages]
            self._number("prefill_per_layer", *_mean(seconds), "prefills of stages over their layers")
        if (~of_stages).any():
            self._number("draft_prefill", *_mean(samples.seconds[~of_stages]), "prefills of the draft module")

    def _draft(self) -> None:
        """By its layers where modules of several sizes were measured, and by its rows where those matter."""
        samples = self._samples("draft")
        if not len(samples.seconds):
            return
        layers = np.concatenate([
            np.full(len(part.seconds), float(each.scenario.draft.layers))
            for each in self._observed for part in each.computations if part.task == "draft"
        ])  # fmt: skip
        line, key, error_s = _line(_Samples(samples.seconds, layers)), "draft", 0.0
        if line is not None and line.is_clear:
            fixed_s, key = max(0.0, line.offset), "draft_per_layer"
            if fixed_s > 0.0:
                how = "line in the layers of the draft module"
                self._number("draft_fixed", fixed_s, line.offset_error, len(layers), how)
            samples = _Samples((samples.seconds - fixed_s) / layers, samples.size)
            error_s = line.offset_error * float((1.0 / layers).mean())
        self._by_rows(key, samples, error_s)

    def _by_rows(self, key: str, samples: _Samples, error_s: float) -> None:
        line = _line(samples)
        if line is None or not line.is_clear or samples.seconds.mean() <= 0.0:
            self._drawn(key, samples.seconds, "drafts", error_s)
            return
        # All at the rows of the middle, then by rows.
        at_middle_s = samples.seconds / np.maximum(line.at(samples.size), 1e-12) * line.at(line.middle)
        chosen = self._drawn(key, at_middle_s, "drafts, by a line in their rows", error_s)
        mean_s = float(at_middle_s.mean())
        self._data[key] |= {
            "by_fill_depth": [
                _written(scaled(chosen.distribution, max(float(line.at(depth + 1)), 0.05 * mean_s) / mean_s))
                for depth in range(1, MOST_DEPTHS + 1)
            ]
        }

    def _verify(self) -> None:
        """The whole LM head. A shard takes its part of it, so that shards of all sizes tell of the same."""
        whole_s = [
            part.seconds * (each.layout.num_workers if each.layout.lm_head == "sharded" else 1)
            for each in self._observed for part in self._alone(each, "verify")
        ]  # fmt: skip
        if whole_s:
            self._whole("verify", np.concatenate(whole_s))

    def _whole(self, key: str, seconds: "Floats") -> None:
        if len(seconds) and seconds.mean() > 0.0:
            self._drawn(key, seconds, f"spans of {key}")

    # Messages and hosts.

    def _messages(self) -> None:
        payloads = sorted({part.payload for each in self._observed for part in each.messages})
        found = {payload: self._payload(payload) for payload in payloads}
        if found:
            self._data["messages"] = found
        if found and (way := self._way) is not None:
            bandwidth = 1.0 / way.s_per_byte
            self._data["link"] = {"latency_s": way.latency_s, "bandwidth_bytes_per_s": bandwidth}
            how = "probes of messages by their size"
            bandwidth_error = bandwidth * way.s_per_byte_error / way.s_per_byte
            for key, mean, error in (
                ("latency_s", way.latency_s, way.latency_error_s),
                ("bandwidth_bytes_per_s", bandwidth, bandwidth_error),
            ):
                self._figures.append(Figure(f"link.{key}", mean, error, way.count, "constant", how))

    def _payload(self, payload: str) -> dict[str, Any]:
        """What messages of one payload cost, within a node and, where they were seen, between nodes."""
        parts = [part for each in self._observed for part in each.messages if part.payload == payload]
        taking_s = np.concatenate([part.taking_s for part in parts])
        receive = _mean(taking_s) if len(taking_s) else (0.0, 0.0, 0)
        key = f"messages.{payload}"
        entry: dict[str, Any] = {"receive_s": receive[0]}
        self._figures.append(Figure(f"{key}.receive_s", *receive, "constant", "takings of what was there already"))
        for is_between_nodes, prefix in ((False, ""), (True, "inter_node_")):
            post_s = [part.post_s for part in parts if part.is_between_nodes == is_between_nodes]
            if not post_s:
                continue
            crossing_s, growth, error_s, mean_bytes = self._crossings(payload, is_between_nodes)
            waited = "receipts that waited"
            if len(crossing_s) < _FEW_CROSSINGS:
                # Nobody waits for it, so it matters little, and nothing tells.
                crossing_s, growth, error_s, mean_bytes = self._crossings(None, is_between_nodes)
                waited = "receipts that waited, of whatever crosses the same way"
            for what, seconds, how, more_error_s in (
                ("post_s", np.concatenate(post_s), "sendings", 0.0),
                ("transit_s", crossing_s if len(crossing_s) else np.zeros(1), waited, error_s),
            ):
                chosen = choose(seconds).less_sure(more_error_s)
                entry[f"{prefix}{what}"] = _written(chosen.distribution)
                self._note(f"{key}.{prefix}{what}", chosen, how)
            if growth > 0.0 and not is_between_nodes:
                entry["transit_per_worker_fraction"] = growth
            if self._way is not None and not is_between_nodes and mean_bytes > 0.0:
                entry["measured_bytes"] = mean_bytes
        return entry

    def _crossings(self, payload: str | None, is_between_nodes: bool) -> "tuple[Floats, float, float, float]":
        """What crossings of a payload (None: of all) take with two workers, how much of it each other adds, bytes.

        The third is the standard error of the crossings' mean that comes of what further workers add.
        """
        parts = [
            (each.layout.num_workers, part.crossing_s, part.mean_bytes)
            for each in self._observed
            for part in each.messages
            if payload in (None, part.payload) and part.is_between_nodes == is_between_nodes and len(part.crossing_s)
        ]
        if not parts:
            return np.zeros(0), 0.0, 0.0, 0.0
        mean_bytes = float(np.average([size for _, _, size in parts], weights=[len(part) for _, part, _ in parts]))
        samples = _Samples.together(
            _Samples(seconds, np.full(len(seconds), number - 2.0)) for number, seconds, _ in parts
        )
        # What is late was held up by something else, which is no sign of growth.
        in_time = np.concatenate([np.minimum(seconds, np.quantile(seconds, 0.8)) for _, seconds, _ in parts])
        line = _line(_Samples(in_time, samples.size))
        if line is None or not line.is_clear or line.slope > _MOST_GROWTH * max(line.offset, 0.0):
            growth = _MOST_GROWTH if line is not None and line.is_clear and line.offset > 0.0 else 0.0
        else:
            growth = line.slope / line.offset
        crossing_s = samples.seconds / (1.0 + growth * samples.size)
        # Growth that is not clear is taken for none, and may be some all the same.
        growth_error = line.slope_error / line.offset if line is not None and line.offset > 0.0 else 0.0
        error_s = growth_error * float((crossing_s * samples.size / (1.0 + growth * samples.size)).mean())
        return crossing_s, growth, error_s, mean_bytes

    def _hosts(self) -> None:
        between_s = np.concatenate([between_cycles_s(each) for each in self._observed])
        if len(between_s):
            chosen = choose(between_s)
            self._data["control"] = {"between_cycles_s": _written(chosen.distribution)}
            self._note("control.between_cycles_s", chosen, "from a cycle's last op to the next's")

    # Figures.

    def _drawn(self, key: str, seconds: "Floats", how: str, more_error_s: float = 0.0) -> Chosen:
        """Choose a distribution. more_error_s: the standard error of what was taken off every sample before."""
        chosen = choose(np.maximum(seconds, 0.0)).less_sure(more_error_s)
        self._data[key] = _written(chosen.distribution)
        self._note(key, chosen, how)
        return chosen

    def _less_sure(self, figure: Figure) -> Figure:
        """A figure with the error of what differs from round to round; probes are made once."""
        more = 0.0 if "probes" in figure.how else self._noise.std_error_fraction * figure.mean
        return replace(figure, std_error=hypot(figure.std_error, more))

    def _number(self, key: str, mean_s: float, std_error_s: float, count: int, how: str) -> None:
        self._data[key] = mean_s
        self._figures.append(Figure(key, mean_s, std_error_s, count, "constant", how))

    def _note(self, key: str, chosen: Chosen, how: str) -> None:
        self._figures.append(Figure(key, chosen.mean_s, chosen.std_error_s, chosen.count, chosen.family, how))


def correlations(observed: Observed, curve: Sequence[float]) -> Iterator[tuple[float, int]]:
    """Yield the correlation of every two stages' forwards over the cycles that both have, and how many these are."""
    alone_s = {
        part.worker: dict(zip(part.cycles, _without_trend(work_s(part.beside_s, curve), part).tolist(), strict=True))
        for part in observed.computations
        if part.task == "forward"
    }
    workers = sorted(alone_s)
    for index, worker in enumerate(workers):
        for other in workers[index + 1 :]:
            common = sorted(alone_s[worker].keys() & alone_s[other].keys())
            if len(common) >= _FEW_PAIRS:
                both = np.array([[alone_s[side][cycle] for cycle in common] for side in (worker, other)])
                if both.std(axis=1).min() > 0.0:
                    yield float(np.corrcoef(both)[0, 1]), len(common)


def _without_trend(seconds: "Floats", part: Computations) -> "Floats":
    """What a line in the context leaves: all stages grow slower together, which is no disturbance."""
    context = part.context_tokens - part.context_tokens.mean()
    spread = float((context**2).sum())
    slope = float((context * seconds).sum() / spread) if spread else 0.0
    return np.asarray(seconds - slope * context)


def between_cycles_s(observed: Observed) -> "Floats":
    """Return the seconds between the last op of a cycle and the first of the next, of workers with their own device."""
    trace = observed.trace
    devices = [worker.device for worker in place(observed.scenario)]
    alone = [devices.count(device) == 1 for device in devices]
    found: list[float] = []
    last: dict[tuple[int, int], tuple[int, float]] = {}
    workers = [site.worker for site in trace.sites]
    for sequence in range(trace.num_sequences):
        for index in range(*trace.sequence_bounds(sequence)):
            key, cycle = (sequence, workers[trace.site[index]]), trace.cycle[index]
            before = last.get(key)
            if before is not None and before[0] == cycle - 1 and cycle > 0 and alone[key[1]]:
                found.append(max(0.0, trace.start_s[index] - before[1]))
            last[key] = (cycle, trace.end_s[index])
    return np.array(found)


@dataclass(frozen=True, slots=True)
class _Line:
    offset: float
    offset_error: float
    slope: float
    slope_error: float
    middle: float

    @property
    def is_clear(self) -> bool:
        """Whether it rises, beyond what chance gives."""
        return self.slope > _CLEAR * self.slope_error and self.slope * self.middle > 1e-9 * abs(self.offset)

    def at(self, size: Any) -> Any:
        return self.offset + self.slope * size


def _line(samples: _Samples) -> _Line | None:
    """The line through the means at each size; None with a single size.

    Errors are those of White (1980): what is larger varies more, which errors for equal variances do not know.
    """
    sizes, seconds = samples.size, samples.seconds
    spread = float(((sizes - sizes.mean()) ** 2).sum()) if len(sizes) else 0.0
    if len(sizes) < 3 or spread <= 1e-9 * len(sizes):
        return None
    middle = float(sizes.mean())
    slope = float(((sizes - middle) * seconds).sum() / spread)
    offset = float(seconds.mean() - slope * middle)
    square = (seconds - offset - slope * sizes) ** 2 * (len(sizes) / (len(sizes) - 2))
    in_slope = (sizes - middle) / spread
    in_offset = 1.0 / len(sizes) - middle * in_slope
    errors = (sqrt(float((square * weight**2).sum())) for weight in (in_offset, in_slope))
    offset_error, slope_error = errors
    return _Line(offset, offset_error, slope, slope_error, middle)


def _layers(observed: Observed, part: Computations) -> int:
    layout = observed.layout
    return observed.layers[layout.stage_of(part.worker)] if layout.role(part.worker) == "stage" else 0


def _rows(observed: Observed, part: Computations) -> "Floats":
    """Rows of each draft: one for each token in a stage, and one before them."""
    return np.minimum(part.in_flight, observed.layout.num_stages) + 1.0


def _mean(seconds: "Floats") -> tuple[float, float, int]:
    """Mean, standard error of the mean, number."""
    count = len(seconds)
    return float(seconds.mean()), float(seconds.std(ddof=1) / sqrt(count)) if count > 1 else 0.0, count


def _written(distribution: Distribution) -> dict[str, Any]:
    """A distribution as profiles write it."""
    match distribution:
        case Constant(value_s):
            return {"kind": "constant", "mean_s": value_s}
        case Normal(mean_s, std_s):
            return {"kind": "normal", "mean_s": mean_s, "std_s": std_s}
        case LogNormal(mean_s, cv):
            return {"kind": "lognormal", "mean_s": mean_s, "cv": cv}
        case Gamma(mean_s, cv):
            return {"kind": "gamma", "mean_s": mean_s, "cv": cv}
        case Empirical(samples_s):
            return {"kind": "empirical", "samples_s": list(samples_s)}
        case _:
            raise AssertionError("no fit gives a sum")


def _words(figure: Figure) -> str:
    return f"{figure.count} {figure.how}, {figure.family}, mean +- {figure.std_error:.2g}"


def _as_pipeline(observed: Sequence[Observed], each: Observed) -> Observed:
    """A run of one stage has no messages, and its LM head is nowhere else: there it is as the pipelines are."""
    pipelines = [other for other in observed if other.layout.num_stages > 1]
    return each if each.layout.num_stages > 1 or not pipelines else pipelines[0]
