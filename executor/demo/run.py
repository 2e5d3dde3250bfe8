"""The demonstration from text to tables: every part in turn, those that are finished already taken as they are.

Knows nothing of screens: what happens is told.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from executor.demo import decoding, drafts, prediction
from executor.demo.corpus import TextCorpus, TextFile, gather
from executor.demo.home import Home, read_document, write_document, write_prompts, write_text
from executor.demo.language_model import train_language_model
from executor.demo.outcome import DemoOutcome, LanguageFacts, Pair, Pipeline, Sample
from executor.demo.sizes import DraftSize, Size
from executor.machine_info import machine_info
from executor.plan import DeviceKind, JobResult
from executor.planning import Place
from spdsim import __version__
from spdsim.errors import RunError

_REPEAT = 16
"""Tokens: what follows a prompt goes round in circles where so many come again as they were."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. minutes: that training may take on the machine that sizes were chosen for."""

    out: Path
    size: Size
    minutes: float
    stages: tuple[int, ...]
    draft_layers: int
    seed: int
    device: DeviceKind
    num_threads: int
    force: bool = False

    def settings(self) -> dict[str, Any]:
        """Return what must not change for finished parts to be of use."""
        return {
            "format": "spdsim-demo", "size": self.size.name, "minutes": self.minutes,
            "draft_layers": self.draft_layers, "seed": self.seed, "device": self.device,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """So much of a part is done; note: what is to be known of it now. part: of `parts`, from 1."""

    part: int
    parts: int
    name: str
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """A part is finished, or was there."""

    part: int
    parts: int
    name: str
    note: str


Tell = Callable[[Progress | Finished], None]


def demonstrate(wanted: Wanted, place: Place, tell: Tell) -> DemoOutcome:
    """Do every part, and return what came of it.

    Raises InputError where the directory does not serve or nothing can be computed so, RunError if tokens decoded with
    drafts are not those of plain decoding.
    """
    home = Home(wanted.out)
    home.prepare(wanted.settings(), force=wanted.force)
    torch.set_num_threads(wanted.num_threads)
    demonstration = _Demonstration(wanted, home, place, tell)
    demonstration.train()
    return demonstration.measure()


class _Demonstration:
    """One run."""

    def __init__(self, wanted: Wanted, home: Home, place: Place, tell: Tell) -> None:
        self._wanted, self._home, self._place, self._tell = wanted, home, place, tell
        self._corpus = gather()
        # The model, a module for each number of stages, plain decoding, a pipeline for each.
        self._parts = 2 + 2 * len(wanted.stages)
        self._part = 0

    def train(self) -> None:
        """Train what is not trained yet."""
        wanted, home = self._wanted, self._home
        self._begin("language model")
        write_text(home, self._corpus, _extracts(self._corpus, wanted.size.draft))
        is_new = not home.facts.is_file()
        if is_new:
            self._train_model()
        found = self._language()
        self._end(f"{found.num_weights:,} weights, {found.bits_per_byte:.2f} bits per byte of held-out text", is_new)
        for stages in wanted.stages:
            self._begin(f"draft module for {stages} stages")
            if is_new := not drafts.is_trained(home, stages):
                drafts.train_draft(
                    home, stages, wanted.draft_layers, wanted.size.draft, wanted.seed, wanted.device,
                    wanted.num_threads, self._place,
                    lambda done, total, loss: self._say(done, total, f"loss {loss:.2f}"),
                )  # fmt: skip
            self._end(f"right in {_shares(drafts.known(home, stages).by_fill)} of held-out text", is_new)

    def measure(self) -> DemoOutcome:
        """Decode, and predict what was decoded."""
        wanted, size = self._wanted, self._wanted.size.decoding
        prompts = decoding.prompts_of(self._corpus.held_out, size)
        write_prompts(self._home, prompts.measured)
        self._begin("plain decoding")
        plain = decoding.decode_plainly(
            self._home.model, prompts.all, size, wanted.seed, wanted.device, self._place, self._say
        )
        token_s = prediction.token_s(plain[: size.measured])
        self._end(f"{1e3 * token_s.mean:.2f} ms a token")
        pipelines = tuple(self._pipeline(stages, prompts, plain, token_s.mean) for stages in wanted.stages)
        at = size.measured // 2
        return DemoOutcome(
            directory=wanted.out, size=wanted.size.name, seed=wanted.seed, device=_device(wanted.device),
            num_threads=wanted.num_threads, language=self._language(), pipelines=pipelines, num_measured=size.measured,
            num_fitted=size.fitted, new_tokens=size.new_tokens, plain_token_s=token_s,
            loops=_loops([each.tokens for each in plain[: size.measured]]),
            sample=Sample(_text(prompts.measured[at]), _text(plain[at].tokens), _text(prompts.from_text[at])),
        )  # fmt: skip

    def _pipeline(
        self, stages: int, prompts: decoding.Prompts, plain: Sequence[JobResult], plain_token_s: float
    ) -> Pipeline:
        wanted, size, draft = self._wanted, self._wanted.size.decoding, self._home.draft(stages)
        self._begin(f"decoding in {stages} stages")
        decoded = decoding.decode_with_drafts(
            self._home.model, draft, prompts, size, wanted.seed, wanted.device, self._place, self._say
        )
        plan, results = decoded.run.plan, decoded.results
        different = sum(one.tokens != other.tokens for one, other in zip(results, plain, strict=False))
        if different:
            what = f"the tokens of {different} of {len(results)} sequences in {stages} stages"
            raise RunError(f"{what} are not those of plain decoding, as they must be")
        fit = prediction.look_up(
            # Nothing is timed here, so that all cores may take part.
            replace(plan, threads=wanted.num_threads), draft, prompts.fitted, plain[size.measured :], wanted.seed,
            lambda done, total: self._say(done, total, "drafts of other prompts"),
        )  # fmt: skip
        predicted = prediction.predict(decoded, fit, size.measured)
        measured, token_s = (
            prediction.fitted([each.accepted for each in results], plan, wanted.seed),
            prediction.token_s(results),
        )
        found = Pipeline(
            num_stages=stages, draft=drafts.known(self._home, stages), measured=measured, fitted=fit,
            model=fit.chosen.kind, num_different=different,
            tokens_per_cycle=prediction.tokens_per_cycle(results, predicted.shared),
            law_tokens_per_cycle=prediction.law_tokens_per_cycle(results, stages),
            token_s=Pair(token_s, predicted.shared.time_per_token_s.mean),
            speedup=plain_token_s / token_s.mean,
            own_devices_speedup=plain_token_s / predicted.apart.time_per_token_s.mean,
            draft_in_stages=predicted.draft_in_stages,
        )  # fmt: skip
        self._end(
            f"acceptance {found.acceptance.mean:.3f}, {found.tokens_per_cycle.measured.mean:.3f} tokens per cycle"
        )
        return found

    def _train_model(self) -> None:
        wanted, home = self._wanted, self._home
        found = train_language_model(
            home.model, wanted.size.language, self._corpus, wanted.seed, torch.device(wanted.device),
            lambda done, total, bits: self._say(done, total, f"{bits:.2f} bits per byte"),
        )  # fmt: skip
        facts = LanguageFacts(
            found.num_weights, found.num_tokens, wanted.size.language.num_layers, found.bits_per_byte, found.certainty
        )
        write_document(home.facts, {**asdict(facts), "tool_version": __version__})

    def _language(self) -> LanguageFacts:
        found = read_document(self._home.facts)
        return LanguageFacts(**{name: found[name] for name in LanguageFacts.__slots__})

    # What is told.

    def _begin(self, name: str) -> None:
        self._part, self._name = self._part + 1, name
        self._tell(Progress(self._part, self._parts, name, 0, 1))

    def _say(self, done: int, total: int, note: str = "") -> None:
        self._tell(Progress(self._part, self._parts, self._name, done, total, note))

    def _end(self, note: str, is_new: bool = True) -> None:
        self._tell(Finished(self._part, self._parts, self._name, note if is_new else f"{note} (was there)"))


def _device(kind: DeviceKind) -> str:
    return str(machine_info(kind)["device"])


def _extracts(corpus: TextCorpus, size: DraftSize) -> list[TextFile]:
    """A window's worth of some held-out files, from their middles."""
    count = min(size.measured_windows, len(corpus.held_out))
    chosen = [corpus.held_out[index * len(corpus.held_out) // count] for index in range(count)]
    return [
        TextFile(file.name, file.text[max(0, len(file.text) // 2 - size.sequence_length) :][: size.sequence_length])
        for file in chosen
    ]


def _loops(texts: Sequence[Sequence[int]]) -> float:
    """The share of tokens that end a run of `_REPEAT` tokens which the same text has had before."""
    repeated = total = 0
    for tokens in texts:
        seen: set[tuple[int, ...]] = set()
        for end in range(_REPEAT, len(tokens) + 1):
            run = tuple(tokens[end - _REPEAT : end])
            repeated += run in seen
            seen.add(run)
        total += len(tokens)
    return repeated / total


def _shares(by_fill: Sequence[float]) -> str:
    low, high = min(by_fill), max(by_fill)
    return f"{100 * low:.0f} %" if round(100 * low) == round(100 * high) else f"{100 * low:.0f} to {100 * high:.0f} %"


def _text(tokens: Sequence[int]) -> str:
    return bytes(token for token in tokens if token < 256).decode(errors="replace")
