"""What the checkpoint of a draft module says of a run: its cut, its anchors, its own layers and its vocabulary.

Loads torch, which a run that computes needs anyway; weights are not read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from executor.planning.scenario import Setting
from spdsim.errors import InputError
from spdsim.scenario.source import KeyPath

_STAGES, _LAYERS = ("partition", "stages"), ("partition", "layers")


def saved_settings(
    checkpoint: Path, written: Sequence[Setting], *, any_stages: bool, is_cut: bool
) -> Iterator[Setting]:
    """Yield what a checkpoint says of the scenario's keys.

    written: what options say. any_stages: the checkpoint's cut is not binding: it holds where neither an option says
    otherwise nor the run `is_cut` by a scenario.
    Raises InputError if it is no checkpoint, or an option contradicts it.
    """
    said = _said(checkpoint)
    options = {setting.path: setting for setting in written}
    if any_stages and (is_cut or _STAGES in options or _LAYERS in options):
        del said[_STAGES], said[_LAYERS]
    for path, value in said.items():
        if path in options and not _agree(path, options[path].value, value):
            raise _contradiction(options[path], _shown(value), checkpoint)
    # What is not said (stages of equal layers) leaves a key as it is.
    yield from (Setting("--draft", path, value) for path, value in said.items() if path != _LAYERS or value is not None)


def recut_note(checkpoint: Path, layers: tuple[int, ...]) -> str | None:
    """Return in words that a checkpoint was made for other stages than those of a run; None if it was not."""
    from executor.draft.checkpoint import read

    config = read(checkpoint).config
    if config.num_stages == len(layers) and config.stage_layers in (None, layers):
        return None
    cut = "" if config.stage_layers is None else f" of {' + '.join(map(str, config.stage_layers))} layers"
    made_for = f"{config.num_stages} stage{'s' * (config.num_stages > 1)}{cut}"
    return f"the draft module was made for {made_for}: with other stages other drafts are right"


def _said(checkpoint: Path) -> dict[KeyPath, Any]:
    from executor.draft.checkpoint import read

    config = read(checkpoint).config
    ids = config.draft_token_ids
    return {
        _STAGES: config.num_stages,
        _LAYERS: None if config.stage_layers is None else list(config.stage_layers),
        ("draft", "layers"): config.num_layers,
        ("draft", "anchors"): list(config.anchors),
        ("draft", "draft_vocab_size"): None if ids is None else len(ids),
    }


def _agree(path: KeyPath, written: Any, said: Any) -> bool:
    """Whether an option's value is the checkpoint's; anchors may be a count of them."""
    if path == ("draft", "anchors") and isinstance(written, int):
        return written == len(said)
    # Stages of equal layers are checked where the model's layers are known.
    return written == said or (path == _LAYERS and said is None)


def _contradiction(setting: Setting, needed: str, checkpoint: Path) -> InputError:
    is_cut = setting.path in (_STAGES, _LAYERS)
    mend = "leave it out, or add --any-stages to run it with another cut" if is_cut else "leave it out"
    return InputError(f"{setting.option} is {_shown(setting.value)}: must be {needed}, as {checkpoint} says: {mend}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "every token id" if value is None else str(value)
