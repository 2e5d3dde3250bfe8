"""Who decides what is drafted, as written in `--draft`, and drafts that are right or wrong by decree.

A forced draft is the target's own next token where its coin says "accepted", and any other token where it does not.
The coins are those of the simulator, so that simulator and executor see the same verdicts.

Needs no torch.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from executor.draft.files import SUFFIXES, broken_file_rule
from spdsim.acceptance import Acceptance, Bernoulli, Replay
from spdsim.errors import InputError
from spdsim.scenario.files import read_verdicts

DraftKind = Literal["module", "forced", "none"]

_FORMS = "module, CHECKPOINT (a file or a directory), none, forced:p=0.8, forced:FILE, free:p=0.8 or free:FILE"
_KINDS = ("module", "forced", "free", "none")


@dataclass(frozen=True, slots=True)
class Draft:
    """Who decides what is drafted.

    kind: "module": the draft module does; "forced": `acceptance` does; "none": nothing is drafted.
    checkpoint: the draft module's weights; None: random ones. acceptance: which forced drafts are right. is_free: no
    module runs beside forced drafts, so that they cost nothing.
    """

    kind: DraftKind
    checkpoint: Path | None = None
    acceptance: Acceptance | None = None
    is_free: bool = False


def parse_draft(text: str) -> Draft:
    """Return what `--draft` says. Raises InputError if it is none of the forms, or names a file that does not serve."""
    kind, colon, rest = text.partition(":")
    match kind:
        case "none" if not colon:
            return Draft("none")
        case "module" if not colon:
            return Draft("module")
        case "module" if rest:
            return Draft("module", checkpoint=_checkpoint(text, rest))
        case "forced" | "free" if rest:
            return Draft("forced", acceptance=_acceptance(text, rest), is_free=kind == "free")
        case _ if kind not in _KINDS and _is_path(text):
            return Draft("module", checkpoint=_checkpoint(text, text))
        case _:
            close = [] if kind in _KINDS else get_close_matches(kind, _KINDS, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(f"--draft is {text}: must be {_FORMS}{hint}")


def forced_token(oracle_token: int, accepted: bool, vocab_size: int) -> int:
    """Return the target's own token, or another one of the vocabulary. Raises InputError if there is no other."""
    if accepted:
        return oracle_token
    if vocab_size < 2:
        raise InputError(f"vocab_size is {vocab_size}: must be at least 2, so that a draft can be wrong")
    return (oracle_token + 1) % vocab_size


def _acceptance(text: str, rest: str) -> Acceptance:
    name, equals, value = rest.partition("=")
    if equals and name.strip() == "p":
        return Bernoulli(_probability(text, value))
    if _is_number(rest) and not Path(rest).exists():
        raise InputError(f"--draft is {text}: a probability is written {text.partition(':')[0]}:p={rest}")
    records = read_verdicts(_file(text, rest, 'recorded verdicts, JSON lines {"sequence": 0, "accepted": [true, …]}'))
    return Replay(tuple(tuple(verdict == "A" for verdict in record) for record in records))


def _probability(text: str, value: str) -> float:
    # "not (0 <= p <= 1)" refuses what is not a number at all, too.
    p = float(value) if _is_number(value) else float("nan")
    if not 0.0 <= p <= 1.0:
        raise InputError(f"--draft is {text}: p must be a number, 0 to 1")
    return p


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_path(text: str) -> bool:
    """Whether a checkpoint is meant: one that is there, or what is written as only paths are."""
    try:
        return "/" in text or text.endswith(SUFFIXES) or (text != "" and Path(text).exists())
    except OSError:
        return False


def _checkpoint(text: str, name: str) -> Path:
    if rule := broken_file_rule(Path(name)):
        raise InputError(f"--draft is {text}: {rule if name == text else f'{name}: {rule}'}")
    return Path(name)


def _file(text: str, name: str, what: str) -> Path:
    path = Path(name)
    try:
        rule = "" if path.is_file() else "is a directory" if path.is_dir() else "there is no such file"
    except OSError as error:
        # A name longer than any file has.
        rule = (error.strerror or str(error)).lower()
    if rule:
        raise InputError(f"--draft is {text}: {name}: {rule}: must be a file with {what}")
    return path
