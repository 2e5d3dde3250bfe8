"""Predicting plain decoding from catalogue figures alone: nothing here was fitted to what it predicts."""

from spdsim.errors import InputError
from spdsim.evidence.plain import PlainRow
from spdsim.scenario.build import gpu_named
from spdsim.scenario.target_files import load_model
from spdsim.timing.plain import plain_token_s


def predict_plain(row: PlainRow) -> float | None:
    """Return seconds of a token; None where the catalogue has no all-reduce for so many of these devices.

    Raises InputError, with the row's place, for a model or a GPU that is not known.
    """
    try:
        model = load_model(row.model)
    except InputError as error:
        raise InputError(f"{row.place}: {error}") from None
    try:
        gpu = gpu_named(row.gpu)
    except InputError as error:
        raise InputError(f"{row.place}: gpu is {row.gpu!r}: {error}") from None
    return plain_token_s(model, gpu, row.launch, row.context_tokens, row.devices)
