"""Predicting plain decoding from the catalogue and what a row says of its engine: nothing here was fitted to it."""

from dataclasses import replace

from spdsim.errors import InputError
from spdsim.evidence.plain import PlainRow
from spdsim.scenario.build import gpu_named
from spdsim.scenario.target_files import load_model
from spdsim.timing.plain import decode_times


def predict_plain(row: PlainRow) -> float | None:
    """Return seconds of a token; None where nothing is known of an all-reduce over so many of these devices.

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
    times = decode_times(
        model, gpu, row.launch, context_tokens=row.context_tokens, num_devices=row.devices,
        all_reduce_s=row.all_reduce_s, all_reduce=row.all_reduce,
    )  # fmt: skip
    alone = decode_times(model, gpu, row.launch, context_tokens=row.context_tokens)
    if times is not None and alone is not None and row.has_whole_head:
        times = replace(times, head_s=alone.head_s, head_issue=alone.head_issue)
    return None if times is None else times.token_s
