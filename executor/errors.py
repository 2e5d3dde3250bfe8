"""The errors of a run on real devices; a branch of the tree in `spdsim.errors`.

RunError
├── LostRankError      a rank died, stalled or cannot be reached
├── LaunchError        the ranks of a run cannot be started or do not find each other
└── DivergedError      a loss or a gradient of a training run is no finite number
"""

from spdsim.errors import RunError


class LostRankError(RunError):
    """A rank died, stalled or cannot be reached; the text names it, its stage and its cycle."""


class LaunchError(RunError):
    """The ranks of a run cannot be started or do not find each other."""


class DivergedError(RunError):
    """A loss or a gradient is no finite number; the text names the step, and the text that was trained on."""
