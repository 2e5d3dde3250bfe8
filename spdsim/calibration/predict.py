"""What a profile says of a run: the same scenario on the simulator, with the profile's times.

Nothing of the run itself goes in but its scenario, unless its verdicts are replayed: then what is left is the error of
the times alone.
"""

from collections.abc import Sequence

from spdsim.scenario import Scenario
from spdsim.scenario.acceptance import Replay
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import with_profile
from spdsim.simulation import simulate
from spdsim.trace import Trace


def predict(
    scenario: Scenario, profile: Profile, *, replications: int = 1, verdicts: Sequence[str] | None = None
) -> Trace:
    """Return the trace that `profile` predicts for `scenario`.

    verdicts: of each sequence ("AAR"), to be replayed; None: the scenario's acceptance.
    """
    update: dict[str, object] = {"replications": replications}
    if verdicts is not None:
        update["acceptance"] = Replay(kind="replay", accepted=tuple(verdicts))
    return simulate(with_profile(scenario, profile).model_copy(update=update))
