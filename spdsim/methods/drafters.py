"""What drafts in the methods that draft in rounds: a small model, a head token by token, a head all at once."""

from dataclasses import dataclass

from spdsim import theory
from spdsim.acceptance import Acceptance, Bernoulli, ByFillDepth
from spdsim.distributions import Constant
from spdsim.machine import Duration, Origin
from spdsim.methods.durations import NOTHING, in_series, of_rows, scaled, unread
from spdsim.methods.method import CannotBeHadError
from spdsim.methods.target import Target, target_on
from spdsim.scenario import Scenario
from spdsim.scenario.memory import draft_head_bytes, projection_params
from spdsim.scenario.placement import layers_of_stages, layout_of
from spdsim.scenario.rivals import Accepted, DraftTokens, accepted_model
from spdsim.scenario.rows import rows_factor
from spdsim.scenario.times import ProfileTimes, Roofline
from spdsim.timing.profile import profile_duration
from spdsim.timing.roofline import RooflineTimes

MOST_DRAFTS = 16
"""What "best" tries, at most."""

_FEATURES = 2
"""Anchors whose projections have as many weights as the one of EAGLE-3, three hidden states to one: 1 + 2."""


@dataclass(frozen=True, slots=True)
class Drafter:
    """Who drafts. step: of one draft op; prefill: of the prompt. one_pass: a step drafts the whole round.

    num_features: hidden states of the target that it reads of a token. num_bytes: what it holds.
    """

    words: str
    step: Duration
    prefill: Duration
    one_pass: bool
    num_features: int
    num_bytes: int
    accepted: Accepted
    draft_tokens: DraftTokens
    origins: tuple[Origin, ...]

    @property
    def acceptance(self) -> Acceptance:
        """Its acceptance by place in a round."""
        return accepted_model(self.accepted)

    def passes(self, draft_tokens: int) -> int:
        """Return how many draft ops a round of so many drafts has."""
        return 1 if self.one_pass else draft_tokens

    def step_of(self, draft_tokens: int) -> Duration:
        """Return the duration of one draft op in a round of so many drafts."""
        return of_rows(self.step, rows_factor(draft_tokens)) if self.one_pass else self.step


def accept_length(acceptance: Acceptance, draft_tokens: int) -> float:
    """Return the mean tokens of a round, the target's own among them, by the closed form."""
    match acceptance:
        case Bernoulli(p):
            return theory.accept_length(p, draft_tokens)
        case ByFillDepth(p):
            return theory.accept_length_by_position(p, draft_tokens)
        case _:
            raise TypeError(f"{acceptance} is no acceptance of a rival")


def draft_model(scenario: Scenario) -> Drafter:
    """Return the small model that drafts. Raises CannotBeHadError if none is given or its times are not known."""
    written = scenario.rivals.draft_model
    if written is None:
        raise CannotBeHadError("no draft model: give rivals.draft_model, its model and its acceptance")
    origins = _origins("draft_model", written.acceptance, written.step_s)
    if written.model is None:
        step = Duration(Constant(written.step_s or 0.0))
        return Drafter("a draft model", step, NOTHING, False, 0, 0, written.acceptance, written.draft_tokens, origins)
    if not isinstance(scenario.timing, Roofline) and written.step_s is None:
        raise CannotBeHadError("the profile has no times of a draft model: give rivals.draft_model.step_s")
    if not isinstance(scenario.timing, Roofline):
        step, prefill, num_bytes = Duration(Constant(written.step_s or 0.0)), NOTHING, written.model.weight_bytes
    else:
        small = target_on(scenario.model_copy(update={"model": written.model}), "one_device", 1)
        step, prefill, num_bytes = in_series(*small.forwards(), small.verify()), small.prefills[0], small.device_bytes
        if written.step_s is not None:
            step = Duration(Constant(written.step_s))
    return Drafter(
        written.model.name, step, prefill, False, 0, num_bytes, written.acceptance, written.draft_tokens, origins
    )


def eagle(scenario: Scenario) -> Drafter:
    """Return a head that drafts token by token. Raises CannotBeHadError if none is given."""
    written = scenario.rivals.eagle
    if written is None:
        raise CannotBeHadError("no EAGLE head: give rivals.eagle and its acceptance")
    step, prefill, num_bytes = _head(scenario, written.layers, written.step_s)
    origins = _origins("eagle", written.acceptance, written.step_s)
    words = f"a head of {written.layers} layer{'' if written.layers == 1 else 's'}"
    return Drafter(words, step, prefill, False, 3, num_bytes, written.acceptance, written.draft_tokens, origins)


def one_pass(scenario: Scenario) -> Drafter:
    """Return a head that drafts all tokens of a round at once. Raises CannotBeHadError if none is given."""
    written = scenario.rivals.one_pass
    if written is None:
        raise CannotBeHadError("no one-pass head: give rivals.one_pass and its acceptance")
    step, prefill, num_bytes = _head(scenario, written.layers, written.step_s)
    origins = _origins("one_pass", written.acceptance, written.step_s)
    words = f"a head of {written.layers} layer{'' if written.layers == 1 else 's'}, all drafts in one pass"
    return Drafter(words, step, prefill, True, 3, num_bytes, written.acceptance, written.draft_tokens, origins)


def _head(scenario: Scenario, layers: int, step_s: float | None) -> tuple[Duration, Duration, int]:
    """A head's step, its prefill and its bytes: projections of three features to one, its layers, its own LM head."""
    draft = scenario.draft.model_copy(
        update={"layers": layers, "anchors": _FEATURES, "placement": "own_device", "width": 1}
    )
    # Two stages, so that the schedule has a draft rank; what it takes does not depend on them.
    partition = scenario.partition.model_copy(
        update={"stages": 2, "layers": "even", "tensor_parallel": 1, "verification_lag": 0}
    )
    devices = scenario.devices.model_copy(update={"workers": None})
    cut = scenario.model_copy(update={"draft": draft, "partition": partition, "devices": devices})
    layout = layout_of(cut)
    match scenario.timing:
        case ProfileTimes(profile=profile):
            if profile.draft is not None and layers != scenario.draft.layers and step_s is None:
                raise CannotBeHadError(
                    f"the profile has the time of a whole draft module of {scenario.draft.layers} layers, not of a "
                    f"head of {layers}: give step_s"
                )
            step = profile_duration(cut, layout, profile, 0, "draft")
            prefill = profile_duration(cut, layout, profile, 0, "prefill")
        case Roofline() as roofline:
            times = RooflineTimes(cut, layout, roofline)
            step, prefill = times.duration(0, "draft"), times.duration(0, "prefill")
    if step_s is not None:
        step = Duration(Constant(step_s))
    model = scenario.model
    held = layers * model.draft_layer.weight_bytes + sum(projection_params(cut)) * model.dtype_bytes
    return Duration(step.at_depth(1), step.per_context_token_s, issue=step.issue), prefill, held + draft_head_bytes(cut)


def exit_head(scenario: Scenario, target: Target) -> tuple[Duration, int]:
    """Return the step and the bytes of an early exit: some layers of the target's shape, then the whole LM head."""
    written = scenario.rivals.ppsd
    assert written is not None
    model = scenario.model
    num_bytes = written.layers * model.draft_layer.weight_bytes + model.head_bytes
    if written.step_s is not None:
        return Duration(Constant(written.step_s)), num_bytes
    stages = layers_of_stages(target.scenario)
    layers = scaled(target.forwards()[0], written.layers / stages[0])
    return in_series(layers, unread(target.verify())), num_bytes


def _origins(name: str, accepted: Accepted, step_s: float | None) -> tuple[Origin, ...]:
    found = [Origin(f"rivals.{name} acceptance", accepted.origin, accepted.source)]
    if step_s is not None:
        found.append(Origin(f"rivals.{name} step_s", "assumed", "given in the scenario"))
    return tuple(found)
