"""Where the tensors of a model come from: a checkpoint of safetensors files, or random numbers.

Either fills a tensor that already exists where it will be used, a piece at a time, so that memory never holds much
more than what a worker asked for. Knows nothing of layers.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from math import ceil, prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from spdsim.errors import InputError
from spdsim.files import read_text

_PIECE_BYTES = 4 * 2**20
_BLOCK_ENTRIES = 2**18
_SHARPNESS = 3.0
_SHARP = ("q_proj.weight", "k_proj.weight", "q_norm.weight", "k_norm.weight")
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


class Checkpoint:
    """The safetensors files of a directory as transformers write them: one, or several and an index.

    Names are those of a causal language model: the language model inside a multimodal one is found under them too.
    Raises InputError where there are none.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = {_plain_name(name): (name, directory / file) for name, file in _named(directory)}

    def fill(self, name: str, target: Tensor, first_row: int = 0, of_rows: int | None = None) -> None:
        """Copy a tensor into `target`, converted to its dtype.

        first_row, of_rows: `target` takes the rows from `first_row` on of a tensor that must have `of_rows` rows;
        None: it takes all of them.
        Raises InputError, one line, where a file or the tensor is missing, is corrupted, or has another shape.
        """
        if name not in self._files:
            raise InputError(f"{self._directory}: has no tensor {name}, which the model must have")
        stored_name, file = self._files[name]
        shape = [len(target) if of_rows is None else of_rows, *target.shape[1:]]
        with _opened(file) as tensors:
            found = tensors.get_slice(stored_name).get_shape() if stored_name in tensors.keys() else None  # noqa: SIM118
        if found is None:
            raise InputError(f"{file}: has no tensor {stored_name}, though {_INDEX} says so")
        if found != shape:
            raise InputError(f"{file}: {stored_name} has shape {found}: must have {shape}, as config.json says")
        step = ceil(_PIECE_BYTES / max(1, prod(shape[1:]) * target.element_size()))
        for first in range(0, len(target), step):
            piece = target[first : first + step]
            # Opened anew for each piece: what an open file has shown stays in memory until it is closed.
            with _opened(file) as tensors:
                row = first_row + first
                piece.copy_(tensors.get_slice(stored_name)[row : row + len(piece)])


class RandomWeights:
    """Weights drawn by name, so that workers that make different parts of one model agree on all of it.

    The values of a name depend on the seed and on the kind of device. Matrices are normal with variance 1 / inputs, so
    that deep models stay finite. Queries and keys are larger: attention then looks at few tokens, rather than at the
    mean of all, and greedy text does not settle into repeating itself.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fill(self, name: str, target: Tensor, first_row: int = 0, of_rows: int | None = None) -> None:
        """Draw a tensor into `target`, or its rows from `first_row` on, of `of_rows`."""
        # Blocks of rows are drawn whole, so that it makes no difference who needs which of them.
        num_rows = len(target) if of_rows is None else of_rows
        block_rows = min(num_rows, max(1, _BLOCK_ENTRIES // prod(target.shape[1:])))
        drawn = torch.empty(block_rows, *target.shape[1:], device=target.device)
        last_row = first_row + len(target)
        for block in range(first_row // block_rows, ceil(last_row / block_rows)):
            self._draw(name, block, drawn)
            start = block * block_rows
            first, last = max(start, first_row), min(start + block_rows, last_row)
            target[first - first_row : last - first_row].copy_(drawn[first - start : last - start])

    def _draw(self, name: str, block: int, drawn: Tensor) -> None:
        """Draw a block of rows of a tensor, always the same ones."""
        key = blake2b(f"{self._seed}/{name}/{block}".encode(), digest_size=8).digest()
        generator = torch.Generator(drawn.device).manual_seed(int.from_bytes(key, "big") >> 1)
        scale = _SHARPNESS if name.endswith(_SHARP) else 1.0
        match name.rpartition(".")[2]:
            case "weight" if drawn.dim() == 1:
                drawn.fill_(scale)
            case "dt_bias":
                drawn.fill_(1.0)
            case "A_log":
                # Decays from slow to fast: e^A_log is log-uniform in 0.01 to 1.
                drawn.uniform_(generator=generator).sub_(1.0).mul_(4.6)
            case "bias":
                drawn.normal_(0.0, 0.1, generator=generator)
            case _:
                drawn.normal_(0.0, scale / prod(drawn.shape[1:]) ** 0.5, generator=generator)


Weights = Checkpoint | RandomWeights


@runtime_checkable
class Derived(Protocol):
    """A module that computes with more than its parameters."""

    def derive(self) -> None:
        """Work out what follows from the parameters."""


def load(module: nn.Module, weights: Weights, prefix: str) -> None:
    """Fill every parameter of `module` with the tensor of its name after `prefix`, and derive what follows from them.

    Raises InputError as `weights` do.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            weights.fill(prefix + name, parameter)
        for part in module.modules():
            if isinstance(part, Derived):
                part.derive()


def _named(directory: Path) -> Iterator[tuple[str, str]]:
    """Every tensor's name and the file that holds it."""
    index, whole = directory / _INDEX, directory / _WHOLE
    if index.is_file():
        yield from _weight_map(index).items()
    elif whole.is_file():
        with _opened(whole) as tensors:
            yield from ((name, _WHOLE) for name in tensors.keys())  # noqa: SIM118
    else:
        raise InputError(f"{directory}: has neither {_WHOLE} nor {_INDEX}: weights are read from safetensors files")


def _weight_map(index: Path) -> dict[str, str]:
    try:
        found = json.loads(read_text(index))["weight_map"]
    except (ValueError, RecursionError, KeyError, TypeError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise InputError(f"{index}: must be JSON with a weight_map from tensors to files")
    return found


def _plain_name(name: str) -> str:
    return name.replace("model.language_model.", "model.", 1)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file, though {_INDEX} names it") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: cannot be read as safetensors: {error}") from None
