"""Where times come from, as people write it: a profile of durations, or the roofline's few numbers."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Tag
from pydantic_core import PydanticCustomError

from spdsim.scenario.fields import Fraction, Part, Seconds, by_kind
from spdsim.scenario.hardware import Gpu, Provenance
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


class Roofline(Part):
    """Times worked out from bytes, rates and launch costs. Null: the GPU's figure, or what `runtime.launch` implies."""

    kind: Literal["roofline"] = "roofline"
    bandwidth_fraction: Fraction | None = Field(default=None, description="Part of the peak bandwidth reached.")
    compute_fraction: Fraction | None = Field(default=None, description="Part of the peak rate a prefill reaches.")
    launch_per_layer_s: Seconds | None = Field(default=None, description="Launch cost of one layer.")
    launch_per_graph_s: Seconds | None = Field(default=None, description="Launch cost of one task.")
    commit_s: Seconds | None = Field(default=None, description="Bookkeeping of the driver, once a verdict.")
    rollback_s: Seconds = Field(default=0.0, description="What a stage does first after a rejection.")
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="Origin of each figure, by key.")


Timing = Annotated[
    Annotated[ProfileTimes, Tag("@profile")] | Annotated[Roofline, Tag("@roofline")], by_kind("roofline")
]


_LAUNCH: dict[str, dict[str, tuple[float, str, str]]] = {
    "cuda_graph": {
        "launch_per_layer_s": (
            20e-6, "published", "vLLM, Llama-3.1-8B on H100: a step of 5.89 ms less 5.2 ms of weights, over 32 layers"
        ),
        "launch_per_graph_s": (5e-6, "assumed", "2.5 us for a CUDA graph and about 1 ns a node"),
        "commit_s": (10e-6, "assumed", "host bookkeeping of two integers"),
    },
    "eager": {
        "launch_per_layer_s": (0.87e-3, "published", "arXiv:2605.30852, eager: 28.4 ms a token over 32 layers"),
        "launch_per_graph_s": (50e-6, "assumed", "a few operations of 5 to 20 us of host time each"),
        "commit_s": (0.18e-3, "published", "arXiv:2605.30852, cycle profile: driver_update"),
    },
}  # fmt: skip
"""Launch costs by `runtime.launch`: seconds, origin, source."""

_FRACTIONS = {"bandwidth_fraction": 0.8, "compute_fraction": 0.5}
"""For a GPU that does not say which part of its peaks it reaches."""


def resolve(roofline: Roofline, gpu: Gpu, launch: str) -> Roofline:
    """Return the roofline with every null filled in: from the GPU, then from the launch mode."""
    found: dict[str, tuple[float, str, str]] = dict(_LAUNCH[launch])
    for key, assumed in _FRACTIONS.items():
        of_gpu = getattr(gpu, key)
        origin = gpu.provenance.get(key, Provenance(source="given in the scenario"))
        if of_gpu is None:
            found[key] = (assumed, "assumed", "not known of this GPU")
        else:
            found[key] = (of_gpu, origin.origin, origin.source)
    missing = {key: figure for key, figure in found.items() if getattr(roofline, key) is None}
    provenance = {key: {"origin": origin, "source": source} for key, (_, origin, source) in missing.items()}
    values = roofline.model_dump(exclude={"provenance"}) | {key: value for key, (value, _, _) in missing.items()}
    return Roofline.model_validate({**values, "provenance": {**roofline.model_dump()["provenance"], **provenance}})
