"""Where times come from, as people write it: a profile of durations, or the roofline's numbers."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Tag
from pydantic_core import PydanticCustomError

from spdsim.scenario.fields import Fraction, Part, Seconds, by_kind
from spdsim.scenario.hardware import Gpu, Provenance
from spdsim.scenario.launch import GPU_DEFAULTS, LAUNCH, Figure
from spdsim.scenario.profile import Profile


def _no_path(written: object) -> object:
    if isinstance(written, str):
        raise PydanticCustomError("unread_file", "must be a mapping: only load_scenario reads files")
    return written


class ProfileTimes(Part):
    """Times from a profile."""

    kind: Literal["profile"]
    profile: Annotated[Profile, BeforeValidator(_no_path, json_schema_input_type=str | Profile)] = Field(
        description="Path of a profile, relative to the scenario, or the profile itself."
    )


_GPU = " Null: the GPU's."
_MODE = " Null: as `runtime.launch` implies."
_Ops = Annotated[float, Field(strict=True, ge=0, le=1e6)] | None


class Roofline(Part):
    """Times worked out from bytes and rates on the device, and from operations that the host issues."""

    kind: Literal["roofline"] = "roofline"
    bandwidth_fraction: Fraction | None = Field(default=None, description="Part of the peak bandwidth reached." + _GPU)
    compute_fraction: Fraction | None = Field(default=None, description="Part of the peak rate of a prefill." + _GPU)
    kernel_latency_s: Seconds | None = Field(default=None, description="A matrix beside its bytes." + _GPU)
    small_kernel_s: Seconds | None = Field(default=None, description="A kernel without a matrix." + _GPU)
    host_per_op_s: Seconds | None = Field(default=None, description="Issuing an operation." + _MODE)
    host_per_task_s: Seconds | None = Field(default=None, description="Issuing a task, beside its operations." + _MODE)
    commit_s: Seconds | None = Field(default=None, description="Bookkeeping of the driver, once a verdict." + _MODE)
    rollback_s: Seconds = Field(default=0.0, description="What a stage does first after a rejection.")
    attention_ops: _Ops = Field(default=None, description="Operations of a layer with attention." + _MODE)
    gated_delta_ops: _Ops = Field(default=None, description="Operations of a gated delta layer." + _MODE)
    moe_ops: _Ops = Field(default=None, description="What a mixture of experts adds to a layer." + _MODE)
    forward_ops: _Ops = Field(default=None, description="Operations of a stage beside its layers." + _MODE)
    draft_ops: _Ops = Field(default=None, description="Operations of a draft beside its layers." + _MODE)
    verify_ops: _Ops = Field(default=None, description="Operations of a verification." + _MODE)
    verify_sampling_ops: _Ops = Field(default=None, description="What sampling adds to a verification." + _MODE)
    draft_sampling_ops: _Ops = Field(default=None, description="What sampling adds to a draft." + _MODE)
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="Origin of each figure, by key.")


Timing = Annotated[
    Annotated[ProfileTimes, Tag("@profile")] | Annotated[Roofline, Tag("@roofline")], by_kind("roofline")
]


def resolve(roofline: Roofline, gpu: Gpu, launch: str) -> Roofline:
    """Return the roofline with every null filled in: from the GPU, then from the launch mode."""
    found = {key: _of_gpu(gpu, key) for key in GPU_DEFAULTS} | LAUNCH[launch]
    missing = {key: figure for key, figure in found.items() if getattr(roofline, key) is None}
    provenance = {key: {"origin": origin, "source": source} for key, (_, origin, source) in missing.items()}
    values = roofline.model_dump(exclude={"provenance"}) | {key: float(value) for key, (value, _, _) in missing.items()}
    return Roofline.model_validate({**values, "provenance": {**roofline.model_dump()["provenance"], **provenance}})


def _of_gpu(gpu: Gpu, key: str) -> Figure:
    value = getattr(gpu, key)
    if value is None:
        return GPU_DEFAULTS[key]
    origin = gpu.provenance.get(key, Provenance(source="given in the scenario"))
    return value, origin.origin, origin.source
