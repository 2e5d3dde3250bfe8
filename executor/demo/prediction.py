"""What the simulator says of sequences that nothing was fitted to: acceptance and times come from other ones.

Acceptance: the module's verdicts on the target's own text after the fitted prompts, looked up without a run; a family
of laws is chosen and fitted. Times: a profile of the spans of a few of these sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from executor.acceptance.offline import Offline, Text
from executor.demo.decoding import Decoded, Tell
from executor.demo.outcome import Pair
from executor.draft.checkpoint import read
from executor.plan import JobResult, Plan
from spdsim import theory
from spdsim.acceptance_fit import AcceptanceFit, Verdicts, fit_acceptance
from spdsim.acceptance_fit.document import acceptance_mapping
from spdsim.analysis.estimates import ratio
from spdsim.analysis.report import Estimate
from spdsim.calibration import fit_traces, observe
from spdsim.evaluation import Evaluation, evaluate
from spdsim.scenario import Scenario, scenario_document, scenario_of_document
from spdsim.scenario.hardware import Devices
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import with_profile

_PRECISION, _MOST_REPLICATIONS = 0.003, 24
"""Of the simulated time per token, as half of its interval; and replications of the measured sequences at most."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was predicted. fitted: the acceptance. shared: as it was run; apart: with a device for every worker.

    draft_in_stages: how many times as long as a stage a draft takes, by the profile.
    """

    fitted: AcceptanceFit
    shared: Evaluation
    apart: Evaluation
    draft_in_stages: float


def look_up(
    plan: Plan,
    draft: Path,
    prompts: Sequence[tuple[int, ...]],
    continuations: Sequence[JobResult],
    seed: int,
    tell: Tell,
) -> AcceptanceFit:
    """Return what the module's drafts of the target's own continuations are worth."""
    texts = [
        Text((*prompt, *result.tokens), len(prompt)) for prompt, result in zip(prompts, continuations, strict=True)
    ]
    offline = Offline([plan], read(draft), max(len(text.tokens) for text in texts))
    found = offline.look_up(texts, is_own=True, progress=tell)
    return fitted(found.accepted[0], plan, seed)


def fitted(records: Sequence[Sequence[bool]], plan: Plan, seed: int) -> AcceptanceFit:
    """Return what verdicts of a run of `plan` say."""
    layout = plan.layout
    return fit_acceptance(Verdicts(tuple(map(tuple, records)), layout.num_stages, layout.verification_lag), seed)


def predict(decoded: Decoded, fit: AcceptanceFit, num_sequences: int) -> Prediction:
    """Return what the simulator says of `num_sequences` sequences like those that were decoded."""
    profile = fit_traces([observe(decoded.timed, "the fitted sequences")], "spdsim-exec demo-train").profile
    scenario = _like(decoded.run.plan.scenario, fit, num_sequences)
    count = decoded.run.plan.layout.num_workers
    devices = Devices(gpu=scenario.devices.gpu, count=count, workers=tuple(range(count)))
    apart = scenario.model_copy(update={"devices": devices})
    layers = max(decoded.run.plan.layers)
    return Prediction(fit, _evaluated(scenario, profile), _evaluated(apart, profile), _draft_in_stages(decoded, layers))


def tokens_per_cycle(results: Sequence[JobResult], predicted: Evaluation) -> Pair:
    """Return the tokens of a cycle, y_1 among them."""
    tokens, cycles = _floats([len(each.tokens) for each in results]), _floats([each.num_cycles for each in results])
    assert predicted.tokens_per_cycle is not None
    return Pair(Estimate(*ratio(tokens, cycles)), predicted.tokens_per_cycle)


def token_s(results: Sequence[JobResult]) -> Estimate:
    """Return the seconds from one token to the next."""
    times_s = _floats([each.end_s - each.first_token_s for each in results])
    return Estimate(*ratio(times_s, _floats([len(each.tokens) - 1 for each in results])))


def law_tokens_per_cycle(results: Sequence[JobResult], num_stages: int) -> float:
    """Return K / C(K) of the verdicts, C(K) = (K - 1) + (n - 1)(R + 1); a rejection of the last token costs nothing."""
    cycles = sum(
        theory.cycles(len(each.tokens), each.accepted[:-1].count(False), num_stages) for each in results
    )  # fmt: skip
    return sum(len(each.tokens) for each in results) / cycles


def _like(scenario: Scenario, fit: AcceptanceFit, num_sequences: int) -> Scenario:
    document = scenario_document(scenario)
    document["acceptance"] = acceptance_mapping(fit.chosen, "other sequences of the same text")
    document["workload"] = {**document["workload"], "sequences": num_sequences}
    return scenario_of_document(document, "the predicted run")


def _evaluated(scenario: Scenario, profile: Profile) -> Evaluation:
    return evaluate(with_profile(scenario, profile), precision=_PRECISION, max_replications=_MOST_REPLICATIONS)


def _draft_in_stages(decoded: Decoded, layers: int) -> float:
    """Mean draft of a full pipeline over mean forward of the largest stage, in the timed sequences."""
    observed = observe(decoded.timed, "the fitted sequences")
    full = decoded.run.plan.layout.num_stages
    drafts = [part.seconds[part.in_flight == full] for part in observed.computations if part.task == "draft"]
    stages = [part.seconds for part in observed.computations if part.task == "forward"]
    longest = max(float(seconds.mean()) for seconds in stages)
    return float(np.concatenate(drafts).mean()) / longest if drafts and len(np.concatenate(drafts)) else 0.0


def _floats(values: Sequence[float]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array(values, np.float64)
