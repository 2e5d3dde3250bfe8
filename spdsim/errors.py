"""The errors that spdsim raises on purpose, one tree.

    SpdError                    anything a user can mend; its text is one line: where, value, rule
    ├── InputError              a file or an option that does not say what it must
    │   ├── ScenarioError       a scenario or a profile
    │   └── TraceError          a trace file: truncated, of another version, not a trace
    └── RunError                a run that cannot go on
        ├── ScheduleError       an op or a verdict that the schedule does not allow
        └── DeadlockError       workers wait for messages that nobody will send

Libraries raise; only the command line prints and exits (code 2 for an `SpdError`).
"""


class SpdError(Exception):
    """Base of every error that spdsim raises on purpose."""


class InputError(SpdError):
    """A file or an option does not say what it must."""


class ScenarioError(InputError):
    """A scenario or a profile breaks a rule."""


class TraceError(InputError):
    """A trace file cannot be read as a trace of this version."""


class RunError(SpdError):
    """A run cannot go on."""


class ScheduleError(RunError):
    """An op or a verdict that the schedule does not allow."""


class DeadlockError(RunError):
    """Workers wait for messages that nobody will send."""
