"""From what was asked for to a plan and its jobs: decided, shown or refused before anything is loaded.

Needs no torch, except to count GPUs. Knows nothing of how ranks are started.
"""

from executor.planning.place import Place, this_place
from executor.planning.planner import Run, plan_run
from executor.planning.request import Request

__all__ = ["Place", "Request", "Run", "plan_run", "this_place"]
