"""Devices and links as people write them: a name from the catalogue, or numbers.

Knows nothing of who runs where, save for the list of devices that people may write.
"""

from typing import Annotated, Any, Literal, TypeGuard

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from spdsim.machine import OriginKind, Sharing
from spdsim.scenario.catalogue import expand
from spdsim.scenario.fields import Count, Fraction, Index, Part, Positive, Seconds, base_serves

AllReduce = Literal["nccl", "one_shot"]
"""How the devices of a group add up what each has: by NCCL, or by one kernel in which each reads what all have."""


class Provenance(Part):
    """Where a figure comes from."""

    origin: OriginKind = "assumed"
    source: str = ""


class Gpu(Part):
    """A device. Figures that are not given are not known: no memory check, no roofline times."""

    base: str | None = Field(default=None, description="Catalogue name whose figures serve where none is given here.")
    name: str = "device"
    memory_bytes: Positive | None = Field(default=None, description="Memory of one device, bytes.")
    bandwidth_bytes_per_s: Positive | None = Field(default=None, description="Peak memory bandwidth, bytes/s.")
    flops_per_s: Positive | None = Field(default=None, description="Peak dense rate in the model's number format.")
    bandwidth_fraction: Fraction | None = Field(
        default=None, description="Part of the peak bandwidth that a large matrix reaches in the limit."
    )
    kernel_latency_s: Seconds | None = Field(
        default=None, description="Seconds of a product of a matrix with a vector beside the reading of its bytes."
    )
    small_kernel_s: Seconds | None = Field(
        default=None, description="Seconds on the device of a kernel without weights, in a CUDA graph."
    )
    compute_fraction: Fraction | None = Field(default=None, description="Part of the peak rate a prefill reaches.")
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="Origin of each figure, by key.")


class LinkFigures(Part):
    """A way between two devices: a message takes latency_s + bytes / bandwidth_bytes_per_s, beside its hosts' work."""

    model_config = ConfigDict(json_schema_extra=base_serves)

    base: str | None = Field(default=None, description="Catalogue name whose figures serve where none is given here.")
    name: str = "link"
    latency_s: Seconds = Field(description="Seconds of an empty message.")
    bandwidth_bytes_per_s: Positive = Field(description="Bytes/s, one way.")
    post_s: Seconds = Field(default=0.0, description="Seconds of the sender's host for one operation.")
    receive_s: Seconds = Field(default=0.0, description="Seconds of the receiver's host for one receive.")
    shared: bool = Field(
        default=False,
        description="All messages that leave devices of one node take turns: its PCIe switch (intra_node) "
        "or its network card (inter_node). Otherwise each ordered pair of devices has a link of its own.",
    )
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="Origin of each figure, by key.")


GpuChoice = Annotated[Gpu, BeforeValidator(lambda written: expand("gpus", written), json_schema_input_type=str | Gpu)]
LinkChoice = Annotated[
    LinkFigures, BeforeValidator(lambda written: expand("links", written), json_schema_input_type=str | LinkFigures)
]


def _count_or_nodes(schema: dict[str, Any]) -> None:
    """Say in a JSON Schema that nodes and per_node may stand for count."""
    schema["required"].remove("count")
    schema["anyOf"] = [{"required": ["count"]}, {"required": ["nodes", "per_node"]}]
    schema["properties"]["count"]["description"] += " May be left out beside nodes and per_node."


class Devices(Part):
    """The devices, numbered from 0; device d sits on node d // per_node.

    Of count, nodes and per_node, two say the third; the last node may have devices to spare unless nodes is given.
    """

    model_config = ConfigDict(json_schema_extra=_count_or_nodes)

    gpu: GpuChoice = Field(description="Catalogue name, or figures.")
    count: Count = Field(description="Number of devices.")
    nodes: Count | None = Field(default=None, description="Number of nodes, with per_node devices each.")
    per_node: Count | None = Field(default=None, description="Devices in a node; null: all of them.")
    workers: tuple[Index, ...] | None = Field(
        default=None,
        description="Device of each worker: the draft rank, stage 0, stage 1 and so on, the LM head's own worker; "
        "of a stage on several devices, the first. null: by the rule of placement.",
    )
    sharing: Sharing = Field(
        default="turns", description="How workers share a device: in turns, or each at a part of the bandwidth."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, written: Any) -> Any:
        """Work out count or per_node from the two others; what contradicts itself is left for the checks."""
        if not isinstance(written, dict):
            return written
        count, nodes, per_node = (written.get(key) for key in ("count", "nodes", "per_node"))
        if count is None and nodes is not None and per_node is not None:
            # Where one of them is no count, that is the error, and not that count is missing.
            return written | {"count": nodes * per_node if _is_count(nodes) and _is_count(per_node) else 1}
        if per_node is None and _is_count(nodes) and _is_count(count) and count % nodes == 0:
            return written | {"per_node": count // nodes}
        return written

    def node_of(self, device: int) -> int:
        """Return the node of a device."""
        return device // (self.per_node or self.count)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class Links(Part):
    """Links within a node and between nodes; one that no pair of devices needs may be left out."""

    intra_node: LinkChoice | None = Field(default=None, description="Catalogue name, or figures.")
    inter_node: LinkChoice | None = Field(default=None, description="Catalogue name, or figures.")
    all_reduce: AllReduce = Field(
        default="nccl",
        description="How the devices of a stage (`partition.tensor_parallel`) add up hidden states, by the catalogue: "
        "`nccl`, or `one_shot`, one kernel in which each reads over NVLink what the others have, as engines do for "
        "small messages.",
    )
    all_reduce_s: Seconds | None = Field(
        default=None,
        description="Seconds in which they add up one hidden state, if measured; null: by the catalogue, which knows "
        "some GPUs and 2 to 8 devices.",
    )
