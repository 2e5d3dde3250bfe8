"""A scenario: a machine, a model, how the model is cut, what is decoded, and what is assumed.

Frozen pydantic models of what people write; `spdsim.timing` makes numbers for the engine of them.
"""

from typing import Annotated, Literal

from pydantic import Field, Tag

from spdsim.scenario.acceptance import Acceptance
from spdsim.scenario.fields import Count, Index, Part, by_shape
from spdsim.scenario.hardware import Devices, Links
from spdsim.scenario.rivals import Rivals
from spdsim.scenario.target import ModelChoice
from spdsim.scenario.times import Roofline, Timing
from spdsim.scenario.workload import Workload
from spdsim.schedules.options import Control, LmHead, Packing

Launch = Literal["eager", "compiled", "cuda_graph"]


class Partition(Part):
    """How the target is cut into stages, and who verifies."""

    stages: Count = Field(description="Pipeline stages n; 1 is plain decoding.")
    layers: Annotated[
        Annotated[Literal["even"], Tag("@a name")] | Annotated[tuple[Count, ...], Tag("@a list")], by_shape()
    ] = Field(
        default="even",
        description="Layers of each stage. even: the first (layers mod stages) stages get one layer more.",
    )
    tensor_parallel: Count = Field(
        default=1,
        le=1024,
        description="Devices of each stage, of one node, among which every matrix of the stage is cut, with its part "
        "of the LM head; the draft rank and the LM head's own worker have one device. "
        "More than 1 needs timing of kind roofline.",
    )
    lm_head: LmHead = Field(default="draft_rank", description="Where the LM head is.")
    verification_lag: Index = Field(
        default=0, le=1000, description="Cycles by which a verdict is late; 0 with 1 stage."
    )


class Draft(Part):
    """The draft module and where it runs."""

    placement: Literal["own_device", "stage_0"] = Field(default="own_device", description="Where it runs.")
    layers: Count = Field(default=4, description="Its decoder layers, each of the target's shape.")
    anchors: Annotated[
        Annotated[Count, Tag("@a number")] | Annotated[tuple[Index, ...], Tag("@a list")], by_shape()
    ] = Field(
        default=5,
        description="Hidden states that it reads (0: the embedding, k: the output of layer k - 1): how many, spread "
        "evenly from 0 to layers - 1, or a list.",
    )
    draft_vocab_size: Count | None = Field(default=None, description="Token ids that it can draft; null: all.")
    width: Count = Field(
        default=1,
        le=64,
        description="Drafts for one position, the nodes of a level of a tree; 1: a chain. "
        "More than 1 needs partition.verification_lag 0; without effect with 1 stage.",
    )


class Runtime(Part):
    """How the kernels are launched and the schedule is run."""

    launch: Launch = Field(
        default="cuda_graph",
        description="How work is issued. eager: operation by operation; compiled: fused kernel by fused kernel; "
        "cuda_graph: the fused kernels of a task with one launch.",
    )
    sampling: Literal["greedy", "sampled"] = Field(
        default="greedy", description="sampled: who verifies elsewhere needs the draft's distribution."
    )
    control: Control = Field(
        default="early",
        description="early: draft and verdict go out as soon as known; late: after features and bookkeeping; "
        "lockstep: late, and every stage reports and is told in every cycle.",
    )
    messages: Packing = Field(
        default="per_edge",
        description="per_edge: what one worker sends another in a cycle is one message; per_tensor: every tensor is.",
    )
    posting: Literal["grouped", "separate"] = Field(
        default="grouped",
        description="grouped: what a worker posts at once, to several others, is one operation of its host; "
        "separate: each message is.",
    )
    receipts: Literal["posted", "serial"] = Field(
        default="posted",
        description="posted: receives are posted before they are needed and only the device waits (a verdict stops "
        "the host too); serial: the host waits for each message in turn and then handles it.",
    )


class Scenario(Part):
    """Everything that a simulation needs to know."""

    name: str = Field(default="scenario", description="Short name, for reports.")
    description: str = Field(default="", description="What the scenario shows.")
    model: ModelChoice = Field(description="Catalogue name, path of a Hugging Face config.json, or shape.")
    devices: Devices
    links: Links = Links()
    partition: Partition
    draft: Draft = Draft()
    acceptance: Acceptance
    workload: Workload = Workload()
    timing: Timing = Field(default=Roofline(), description="Where times come from.")
    runtime: Runtime = Runtime()
    rivals: Rivals = Field(default=Rivals(), description="Methods to compare with.")
    seed: Index = Field(default=0, description="Seed of every random number.")
    replications: Count = Field(default=1, description="Independent repetitions of the workload.")
