"""A small language model of bytes, trained from nothing: a directory that `--model` reads.

Layers with query and key norms, as draft modules have them, so that those can begin as layers of the model.
Trained by steps, not by the clock, so that one machine makes one model; a run that was stopped goes on from its state.

Shapes: B texts of S tokens.
"""

import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executor.demo.corpus import TextCorpus, TextFile
from executor.demo.orthogonal import Muon
from executor.demo.sizes import LanguageSize
from executor.model.small import END_TOKEN
from executor.text.byte_file import write_byte_tokenizer
from executor.text.tokenizer import TOKENIZER
from spdsim.errors import InputError
from spdsim.files import atomic_path

_BEGIN_TOKEN = END_TOKEN + 1
_MAX_POSITIONS = 4096
_EPS = 1e-6
_WARM_UP, _LOWEST_RATE = 0.04, 0.02
"""Shares of the steps, and of the highest rate, which is left at the end."""

_CLIP_NORM = 1.0
_STATES = 20
"""How often the state is kept in a run."""

_MEASURED_TEXTS = 64
_BATCH = 8

Tell = Callable[[int, int, float], None]
"""Hears of steps done, steps in all, and the loss of late in bits per byte."""


@dataclass(frozen=True, slots=True)
class LanguageOutcome:
    """A trained model. bits_per_byte: on held-out text; certainty: the mean probability of the likeliest byte."""

    directory: Path
    num_weights: int
    num_tokens: int
    bits_per_byte: float
    certainty: float


def train_language_model(
    directory: Path, size: LanguageSize, corpus: TextCorpus, seed: int, device: torch.device, tell: Tell
) -> LanguageOutcome:
    """Train a model and write it to `directory`, which must not be there yet: config.json, weights, tokenizer.json.

    Next to it a state is kept until it is done. Raises InputError where nothing can be written.
    """
    trained, held_out = tokens_of(corpus.trained, size), tokens_of(corpus.held_out, size)
    torch.manual_seed(seed)
    model = new_model(size).to(device)
    run = _Run(model, size, trained, seed, device)
    state_file = directory.with_name(f"{directory.name}-state.pt")
    run.go_on(state_file)
    model.train()
    late = math.nan
    for step in range(run.num_done, size.steps):
        loss = run.step(step)
        late = loss if math.isnan(late) else late + 0.02 * (loss - late)
        tell(step + 1, size.steps, late / math.log(2.0))
        if (step + 1) % max(1, size.steps // _STATES) == 0:
            run.keep(state_file)
    bits, certainty = measure(model, held_out, size, device)
    write(directory, model, is_half=device.type == "cuda")
    state_file.unlink(missing_ok=True)
    num_weights = sum(weight.numel() for weight in model.parameters())
    return LanguageOutcome(directory, num_weights, size.steps * size.batch * size.sequence_length, bits, certainty)


def new_model(size: LanguageSize) -> nn.Module:
    """Return a model with random weights; what layers add to the stream begins small, the more so the more they are."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model = Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=size.hidden_size, intermediate_size=size.intermediate_size, num_hidden_layers=size.num_layers,
            num_attention_heads=size.num_heads, num_key_value_heads=size.num_kv_heads,
            head_dim=size.hidden_size // size.num_heads, vocab_size=END_TOKEN + 2, rms_norm_eps=_EPS,
            max_position_embeddings=_MAX_POSITIONS, tie_word_embeddings=False, use_cache=False,
            bos_token_id=_BEGIN_TOKEN, eos_token_id=END_TOKEN,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_((2.0 * size.num_layers) ** -0.5)
    return model


def tokens_of(files: Sequence[TextFile], size: LanguageSize) -> Tensor:
    """Return the token ids of all texts in one row, int64, each with the end token after it.

    Raises InputError for fewer tokens than one sequence has.
    """
    ids = bytearray()
    ends: list[int] = []
    for file in files:
        ids += file.text.encode() + b"\0"
        ends.append(len(ids) - 1)
    tokens = torch.frombuffer(ids, dtype=torch.uint8).long()
    tokens[torch.tensor(ends)] = END_TOKEN
    if len(tokens) <= size.sequence_length:
        raise InputError(
            f"the text of {len(files)} files has {len(tokens)} bytes: must be {size.sequence_length} or more"
        )
    return tokens


@torch.no_grad()
def measure(model: nn.Module, tokens: Tensor, size: LanguageSize, device: torch.device) -> tuple[float, float]:
    """Return bits per byte, and the mean probability of the likeliest byte, on texts at even distances."""
    model.eval()
    starts = [index * (len(tokens) - size.sequence_length - 1) // _MEASURED_TEXTS for index in range(_MEASURED_TEXTS)]
    losses, certainties = [], []
    for first in range(0, len(starts), _BATCH):
        texts = torch.stack(
            [tokens[start : start + size.sequence_length + 1] for start in starts[first : first + _BATCH]]
        )
        texts = texts.to(device)
        logits = _logits(model, texts[:, :-1])
        losses.append(F.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten()))
        certainties.append(logits.softmax(-1).amax(-1).mean())
    return float(torch.stack(losses).mean()) / math.log(2.0), float(torch.stack(certainties).mean())


def write(directory: Path, model: nn.Module, *, is_half: bool) -> None:
    """Write a model's directory, whole or not at all. is_half: in bfloat16. Raises InputError if it cannot be."""
    from transformers.utils import logging

    new = directory.with_name(f".{directory.name}.{os.getpid()}.new")
    try:
        new.mkdir(parents=True)
        # The one file is written at once, and who calls shows what goes on.
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        saved: Any = model.to(torch.bfloat16) if is_half else model
        saved.save_pretrained(new)
        write_byte_tokenizer(new / TOKENIZER, END_TOKEN, _BEGIN_TOKEN)
        new.rename(directory)
    except OSError as error:
        raise InputError(f"{directory}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(new)


class _Run:
    """A model in training."""

    def __init__(self, model: nn.Module, size: LanguageSize, tokens: Tensor, seed: int, device: torch.device) -> None:
        self._model, self._size, self._tokens, self._seed, self._device = model, size, tokens, seed, device
        named = dict(model.named_parameters())
        inner = {name for name, weight in named.items() if weight.ndim == 2 and ".layers." in name}
        others = [weight for name, weight in named.items() if name not in inner]
        self._optimisers: list[tuple[torch.optim.Optimizer, float]] = [
            (
                Muon([named[name] for name in named if name in inner], size.matrix_rate, size.weight_decay),
                size.matrix_rate,
            ),
            (torch.optim.AdamW(others, size.vector_rate, betas=(0.9, 0.95), weight_decay=0.0), size.vector_rate),
        ]
        self.num_done = 0

    def step(self, number: int) -> float:
        """Change the weights once; return the loss in nats per byte."""
        share = number / self._size.steps
        rise = min(1.0, (number + 1) / max(1.0, _WARM_UP * self._size.steps))
        rate = rise * (_LOWEST_RATE + (1.0 - _LOWEST_RATE) * 0.5 * (1.0 + math.cos(math.pi * share)))
        texts_BS = self._texts(number).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            logits = _logits(self._model, texts_BS[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), texts_BS[:, 1:].flatten())
        self._model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), _CLIP_NORM)
        for optimiser, highest in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = highest * rate
            optimiser.step()
        self.num_done = number + 1
        return loss.item()

    def keep(self, file: Path) -> None:
        """Write all that is needed to go on."""
        state = {
            "size": repr(self._size), "tokens": len(self._tokens), "seed": self._seed, "step": self.num_done,
            "model": self._model.state_dict(), "optimisers": [each.state_dict() for each, _ in self._optimisers],
        }  # fmt: skip
        with atomic_path(file) as new:
            torch.save(state, new)

    def go_on(self, file: Path) -> None:
        """Take up the state in a file, if it is there and of this very run; else begin."""
        try:
            state = torch.load(file, map_location=self._device, weights_only=True)
        except Exception:
            # Not there, or not whole: what a damaged file makes the reader raise is no fixed set.
            return
        if (state["size"], state["tokens"], state["seed"]) != (repr(self._size), len(self._tokens), self._seed):
            return
        self._model.load_state_dict(state["model"])
        for (optimiser, _), kept in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.num_done = state["step"]

    def _texts(self, step: int) -> Tensor:
        """The texts of a step, (B, S + 1): which, depends on its number alone."""
        generator = torch.Generator().manual_seed((self._seed << 32) + step)
        length = self._size.sequence_length + 1
        starts = torch.randint(len(self._tokens) - length + 1, (self._size.batch,), generator=generator)
        return torch.stack([self._tokens[start : start + length] for start in starts.tolist()])


def _logits(model: Any, tokens_BS: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=tokens_BS).logits
    return logits.float()
