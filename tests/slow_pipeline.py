"""A slow, independent model of a pipeline that several sequences share: real tokens, lists, no formulas.

Every sequence has a text that the target would write, letter by letter. A draft is either the right letter or a wrong
one; the target's answer to a token is right exactly if everything before it was, as with a real model.
"""

from dataclasses import dataclass, field

RIGHT, WRONG = "right", "wrong"


@dataclass
class Sequence:
    """verdicts: a letter for position 1, 2, …: "A" where the draft module would be right. told: positions known."""

    verdicts: str
    length: int
    told: int = 1
    last_entry: int = -1

    @property
    def is_over(self) -> bool:
        return self.told >= self.length

    def draft(self, position: int) -> str:
        """Return what the draft module says of a position; beyond the verdicts it is right."""
        return WRONG if self.verdicts[position - 1 : position] == "R" else RIGHT


@dataclass
class Piece:
    """A token in the pipeline: whose, which position, and the letter that was guessed or is known."""

    owner: int
    position: int
    letter: str


@dataclass
class Log:
    """What happened in each cycle: who entered with which position, and what was told to whom."""

    entered: list[list[tuple[int, int]]] = field(default_factory=list)
    told: list[list[tuple[int, int]]] = field(default_factory=list)


def run(num_stages: int, entries: int, verdicts: list[str], *, drafts: bool = True) -> Log:
    """Return the log of sequences of len(verdicts[j]) + 1 tokens, from the cycle after the prefill on."""
    sequences = [Sequence(each, len(each) + 1) for each in verdicts]
    stages: list[list[Piece]] = [[] for _ in range(num_stages)]
    log, cycle = Log(), 0
    stages[0] = [Piece(at, 0, RIGHT) for at in range(len(sequences))][:entries]
    for piece in stages[0]:
        sequences[piece.owner].last_entry = 0
    log.entered.append([(piece.owner, piece.position) for piece in stages[0]])
    while not all(each.is_over for each in sequences):
        ready = _drafted(sequences, stages, entries) if drafts else {}
        told = []
        for piece in stages[-1]:
            owner = sequences[piece.owner]
            # Nothing wrong is ever left in the pipeline behind what is verified, so the answer is right.
            assert piece.letter == RIGHT and piece.position == owner.told - 1
            guess = next((p for p in _pieces(stages, piece.owner) if p.position == piece.position + 1), None)
            told.append((piece.owner, piece.position + 1))
            owner.told += 1
            if owner.is_over or (guess is not None and guess.letter == WRONG):
                for stage in stages:
                    stage[:] = [p for p in stage if p.owner != piece.owner or p is piece]
                ready.pop(piece.owner, None)
        stages = [[], *stages[:-1]]
        cycle += 1
        able = []
        for at, owner in enumerate(sequences):
            inside = len(_pieces(stages, at))
            if not owner.is_over and (inside == 0 or at in ready):
                able.append((inside, owner.last_entry, at))
        for inside, _, at in sorted(able)[:entries]:
            letter = RIGHT if inside == 0 else ready[at]
            stages[0].append(Piece(at, sequences[at].told - 1 + inside, letter))
            sequences[at].last_entry = cycle
        log.told.append(told)
        log.entered.append([(piece.owner, piece.position) for piece in stages[0]])
    return log


def _pieces(stages: list[list[Piece]], owner: int) -> list[Piece]:
    return [piece for stage in stages for piece in stage if piece.owner == owner]


def _drafted(sequences: list[Sequence], stages: list[list[Piece]], entries: int) -> dict[int, str]:
    """What the draft module says, of whom: of those that enter next if nobody is wrong."""
    wanted = []
    for at, owner in enumerate(sequences):
        leaves = any(piece.owner == at for piece in stages[-1])
        if not owner.is_over and owner.told + leaves < owner.length:
            wanted.append((len(_pieces(stages, at)) - leaves, owner.last_entry, at))
    return {
        at: sequences[at].draft(max(piece.position for piece in _pieces(stages, at)) + 1)
        for inside, _, at in sorted(wanted)[:entries]
        if inside
    }
