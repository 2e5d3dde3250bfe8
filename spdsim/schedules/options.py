"""The names of the schedule's options: apart, so that a command line can offer them without the schedule itself."""

from typing import Literal

LmHead = Literal["draft_rank", "last_stage", "sharded", "own_device"]
"""Who turns the last hidden state into the target's distribution."""

Control = Literal["early", "late", "lockstep"]
"""When the draft rank sends draft and verdict: at once; after its bookkeeping; then, and in every cycle to all."""

Role = Literal["draft", "stage", "head"]
"""What a worker is."""

Packing = Literal["per_edge", "per_tensor"]
"""Whether all that one worker sends another in a cycle is one message, or every tensor is one."""
