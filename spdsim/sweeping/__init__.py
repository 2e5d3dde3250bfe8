"""Many scenarios that differ in a few keys: which ones, evaluating them on all cores, and keeping what is done."""

from spdsim.sweeping.points import Choice, Point, Spec
from spdsim.sweeping.result import METRICS, Metric, Sweep
from spdsim.sweeping.run import Backend, sweep
from spdsim.sweeping.state import State, state_path
from spdsim.sweeping.vary import Varied, parse_vary

__all__ = [
    "METRICS", "Backend", "Choice", "Metric", "Point", "Spec", "State", "Sweep", "Varied", "parse_vary", "state_path",
    "sweep",
]  # fmt: skip
