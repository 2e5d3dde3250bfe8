"""The simulator's fast path: the engine's times of many sequences at once, and no trace.

The schedule's programs, the machine's numbers and the addresses of all that is drawn are the engine's own; every
time is the engine's to the last bit. Where workers queue for something, `unsupported` says so, and the engine is
needed. Knows nothing of scenarios or reports.
"""

from spdsim.fast.decoded import Decoded
from spdsim.fast.plan import Plan, Plans, plan_of
from spdsim.fast.run import CHUNK, Task, decode, decode_each
from spdsim.fast.support import unsupported

__all__ = ["CHUNK", "Decoded", "Plan", "Plans", "Task", "decode", "decode_each", "plan_of", "unsupported"]
