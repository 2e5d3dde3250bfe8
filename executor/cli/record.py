"""The spans of all ranks as one trace, as the simulator would write it."""

from executor.cli.result import Result
from executor.traces import header_of, merged
from spdsim.trace import Trace


def recorded(result: Result) -> Trace:
    """Return the spans of every recorded sequence, worker by worker, on one clock that begins with them."""
    plain, emulated = result.figures.plain, result.run.plan.emulated
    # An emulated run is compared with what its simulation is; a measured one with what was measured beside it.
    is_one_device = result.num_devices == 1 if emulated is None else emulated.fits_one_device
    token_s = plain.time_per_token_s if plain is not None and emulated is None and is_one_device else None
    header = header_of(
        result.run.plan, result.devices, is_one_device=is_one_device,
        plain_token_s=None if token_s is None else token_s.mean,
    )  # fmt: skip
    return merged(header, result.reports)
