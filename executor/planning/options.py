"""From options to keys of the scenario, and to the values that are no scenario's: sampling, and who drafts."""

from collections.abc import Iterator
from typing import Any

from executor.draft.forced import Draft
from executor.planning.request import Request
from executor.planning.scenario import Setting
from executor.verify.sampling import Sampling
from spdsim.acceptance import Acceptance, Bernoulli, Replay
from spdsim.errors import InputError

SCENARIO_TIMES = "scenario"
"""What `--emulate` says for the times of the scenario itself."""


def settings_of(request: Request) -> Iterator[Setting]:
    """Yield what the options say of the scenario's keys. Raises InputError for a list that is none."""
    layers = None if request.layers is None else _numbers("--layers", request.layers)
    stages = len(layers) if layers and request.stages is None else request.stages
    anchors = None if request.anchors is None else _numbers("--anchors", request.anchors)
    is_count = anchors is not None and "," not in (request.anchors or "")
    written: list[tuple[str, str, Any]] = [
        ("--stages" if request.stages is not None else "--layers", "partition.stages", stages),
        ("--layers", "partition.layers", layers),
        ("--lm-head", "partition.lm_head", request.lm_head),
        ("--verification-lag", "partition.verification_lag", request.verification_lag),
        ("--control", "runtime.control", request.control),
        ("--messages", "runtime.messages", request.messages),
        ("--draft-layers", "draft.layers", request.draft_layers),
        ("--anchors", "draft.anchors", anchors[0] if anchors is not None and is_count else anchors),
        ("--draft-vocab", "draft.draft_vocab_size", request.draft_vocab),
        ("--draft-width", "draft.width", request.draft_width),
        ("--max-new-tokens", "workload.new_tokens", request.max_new_tokens),
        ("--sequences", "workload.sequences", request.sequences),
        ("--seed", "seed", request.seed),
    ]
    for option, key, value in written:
        if value is not None:
            yield Setting(option, tuple(key.split(".")), value)
    if request.emulate is not None and request.emulate != SCENARIO_TIMES:
        yield Setting("--emulate", ("timing",), {"kind": "profile", "profile": request.emulate})


def acceptance_setting(acceptance: Acceptance, written: str) -> Setting:
    """Return the scenario's acceptance for drafts that are forced so."""
    source = {"origin": "assumed", "source": f"--draft {written}"}
    match acceptance:
        case Bernoulli(p):
            data: dict[str, Any] = {"kind": "bernoulli", "p": p}
        case Replay(accepted):
            records = ["".join("A" if verdict else "R" for verdict in record) for record in accepted]
            data = {"kind": "replay", "accepted": records}
        case _:
            raise InputError(f"--draft is {written}: must be forced:p=0.8, forced:FILE, free:p=0.8 or free:FILE")
    return Setting("--draft", ("acceptance",), {**data, **source})


def sampling_of(request: Request, is_sampled: bool) -> Sampling:
    """Return how tokens are chosen; `is_sampled` is what the scenario says. Raises InputError out of range."""
    temperature = float(is_sampled) if request.temperature is None else request.temperature
    for option, value in (("--top-k", request.top_k), ("--top-p", request.top_p)):
        if value is not None and temperature == 0.0:
            raise InputError(f"{option} is {value}: needs --temperature above 0: greedy decoding draws nothing")
    try:
        return Sampling(
            temperature, 0 if request.top_k is None else request.top_k, 1.0 if request.top_p is None else request.top_p
        )
    except InputError as error:
        option = str(error).removeprefix("sampling.").replace("_", "-", 1)
        raise InputError(f"--{option}") from None


def check_no_module(draft: Draft, request: Request) -> None:
    """Raise InputError where a draft module is asked for and nothing computes."""
    if request.emulate is not None and draft.kind == "module":
        rule = "must be forced (forced:p=0.8) or none with --emulate, which has no draft module"
        raise InputError(f"--draft is {request.draft or 'module'}: {rule}")
    if request.emulate is not None and draft.is_free:
        raise InputError(
            f"--draft is {request.draft}: must be forced: with --emulate the profile says what drafts take"
        )


def check_draft(draft: Draft, request: Request, num_stages: int) -> None:
    """Raise InputError for what does not go with the drafts that are asked for."""
    is_computed = request.emulate is None
    if num_stages == 1 and draft.kind != "none" and request.draft is not None:
        raise InputError(f"--draft is {request.draft}: needs two stages or more: must be none with one stage")
    if num_stages == 1 and request.verification_lag:
        raise InputError(f"--verification-lag is {request.verification_lag}: must be 0 with one stage")
    if not request.has_baseline and (draft.kind == "none" or num_stages == 1):
        raise InputError("--no-baseline is given: nothing is left to decode without drafts: leave it out")
    if not request.has_baseline and is_computed and draft.kind == "forced":
        raise InputError("--no-baseline is given: forced drafts are right about plain decoding's tokens: leave it out")
    if request.is_recorded and draft.kind == "none" and num_stages > 1:
        raise InputError("--trace or --perfetto is given: plain decoding over several stages has no cycles to record")


def _numbers(option: str, written: str) -> list[int]:
    try:
        return [int(word) for word in written.split(",")]
    except ValueError:
        rule = "must be whole numbers with commas, such as 3,3,2"
        raise InputError(f"{option} is {written!a}: {rule}") from None
