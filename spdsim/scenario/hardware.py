"""Devices and links as people write them: a name from the catalogue, or numbers."""

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from spdsim.machine import OriginKind, Sharing
from spdsim.scenario.catalogue import expand
from spdsim.scenario.fields import Count, Fraction, Part, Positive, Seconds, base_serves


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
    bandwidth_fraction: Fraction | None = Field(default=None, description="Part of the peak bandwidth reached.")
    compute_fraction: Fraction | None = Field(default=None, description="Part of the peak rate a prefill reaches.")
    provenance: dict[str, Provenance] = Field(default_factory=dict, description="Origin of each figure, by key.")


class LinkFigures(Part):
    """A way between two devices: a message takes latency_s + bytes / bandwidth_bytes_per_s."""

    model_config = ConfigDict(json_schema_extra=base_serves)

    base: str | None = Field(default=None, description="Catalogue name whose figures serve where none is given here.")
    name: str = "link"
    latency_s: Seconds = Field(description="Seconds of an empty message.")
    bandwidth_bytes_per_s: Positive = Field(description="Bytes/s, one way.")
    post_s: Seconds = Field(default=0.0, description="Seconds of the sender's host for each message.")
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


class Devices(Part):
    """The devices, numbered from 0; device d sits on node d // per_node."""

    gpu: GpuChoice = Field(description="Catalogue name, or figures.")
    count: Count = Field(description="Number of devices.")
    per_node: Count | None = Field(default=None, description="Devices in a node; null: all of them.")
    sharing: Sharing = Field(
        default="turns", description="How workers share a device: in turns, or each at a part of the bandwidth."
    )

    def node_of(self, device: int) -> int:
        """Return the node of a device."""
        return device // (self.per_node or self.count)


class Links(Part):
    """Links within a node and between nodes; one that no pair of devices needs may be left out."""

    intra_node: LinkChoice | None = Field(default=None, description="Catalogue name, or figures.")
    inter_node: LinkChoice | None = Field(default=None, description="Catalogue name, or figures.")
