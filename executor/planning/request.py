"""What a run was asked to be: every option as it was written, None where it was not."""

from dataclasses import dataclass
from pathlib import Path

from executor.plan import Backend, DeviceKind, DType
from spdsim.scenario.model import Launch
from spdsim.schedules.options import Control, LmHead, Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of a run.

    scenario: a file that the run shall be; settings: changes of its keys, "partition.stages=8".
    model: path or name. layers, anchors, prompt_ids: lists with commas; anchors may be a count.
    draft: module, a checkpoint's path (module: before it or not), forced:p=0.8, forced:FILE, free:… or none.
    any_stages: a checkpoint is used with whatever stages the run has.
    emulate: a profile, or "scenario" for the scenario's own times.
    has_baseline: plain decoding is measured too. is_recorded: spans are wanted.
    """

    scenario: Path | None = None
    settings: tuple[str, ...] = ()
    model: str | None = None
    random_weights: bool = False
    dtype: DType | None = None
    stages: int | None = None
    layers: str | None = None
    lm_head: LmHead | None = None
    verification_lag: int | None = None
    control: Control | None = None
    messages: Packing | None = None
    draft: str | None = None
    any_stages: bool = False
    draft_layers: int | None = None
    anchors: str | None = None
    draft_vocab: int | None = None
    draft_width: int | None = None
    prompt: str | None = None
    prompt_file: Path | None = None
    prompt_ids: str | None = None
    prompt_tokens: int | None = None
    max_new_tokens: int | None = None
    end_tokens: tuple[int, ...] = ()
    ignore_end_tokens: bool = False
    sequences: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    device: DeviceKind | None = None
    backend: Backend | None = None
    launch: Launch | None = None
    threads: int | None = None
    timeout_s: float | None = None
    emulate: str | None = None
    has_baseline: bool = True
    is_recorded: bool = False
