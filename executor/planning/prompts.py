"""The prompts of a run as token ids: of a text, as they are written, or drawn at random.

Knows nothing of models but the size of the vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

from executor.planning.request import Request
from executor.text.tokenizer import Tokenizer
from spdsim.errors import InputError
from spdsim.files import read_text

PROMPT = "Once upon a time"
_PROMPTS = 5
"""The stream of random numbers that prompts are drawn from; acceptance and lengths use the streams before it."""

IDS_OPTION = "--prompt-ids"


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is decoded from.

    option: which says so. text: the prompt of every sequence, in words; None: it has none. of: the token ids of a
    sequence, given its number, the seed and the size of the vocabulary. length: how many they are.
    """

    option: str
    text: str | None
    length: int
    of: Callable[[int, int, int], tuple[int, ...]]


def prompts_of(request: Request, tokenizer: Tokenizer | None, num_random: int | None, home: str) -> Prompts:
    """Return the prompts that `request` asks for.

    num_random: how many random ids make a prompt where the options name none; None: a text does.
    home: what the model is called, for errors.
    Raises InputError for an empty prompt, one that cannot be read, or a text without a tokenizer.
    """
    given = {
        "--prompt": request.prompt is not None,
        "--prompt-file": request.prompt_file is not None,
        IDS_OPTION: request.prompt_ids is not None,
        "--prompt-tokens": request.prompt_tokens is not None,
    }
    options = [option for option, is_given in given.items() if is_given]
    if len(options) > 1:
        raise InputError(f"{options[0]} is given beside {options[1]}: must be one of the two")
    if request.prompt_ids is not None:
        return _same(IDS_OPTION, None, _ids(request.prompt_ids))
    if request.prompt is not None or request.prompt_file is not None:
        text = _text(request)
        return _same(options[0], text, _encoded(text, options[0], tokenizer, home))
    if request.prompt_tokens is not None:
        return _random(request.prompt_tokens)
    if num_random is not None or tokenizer is None:
        return _random(num_random or len(PROMPT))
    return _same("--prompt", PROMPT, _encoded(PROMPT, "--prompt", tokenizer, home))


def check_tokens(option: str, tokens: tuple[int, ...], vocab_size: int) -> None:
    """Raise InputError unless all tokens are of the vocabulary."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            rule = f"must be a token id from 0 to {vocab_size - 1}, in the model's vocabulary"
            raise InputError(f"{option} is {token}: {rule}")


def _same(option: str, text: str | None, tokens: tuple[int, ...]) -> Prompts:
    return Prompts(option, text, len(tokens), lambda sequence, seed, vocab_size: tokens)


def _random(length: int) -> Prompts:
    if length < 1:
        raise InputError(f"--prompt-tokens is {length}: must be at least 1")

    def draw(sequence: int, seed: int, vocab_size: int) -> tuple[int, ...]:
        import numpy as np

        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, sequence, _PROMPTS))))
        return tuple(generator.integers(0, vocab_size, length).tolist())

    return Prompts("--prompt-tokens", None, length, draw)


def _text(request: Request) -> str:
    if request.prompt_file is None:
        return request.prompt or ""
    # Editors end a file with a line end that nobody wrote as a part of the prompt.
    return read_text(request.prompt_file).removesuffix("\n")


def _encoded(text: str, option: str, tokenizer: Tokenizer | None, home: str) -> tuple[int, ...]:
    if tokenizer is None:
        rule = f"{home} has no tokenizer.json: give token ids (--prompt-ids 1,2,3), or random ones (--prompt-tokens N)"
        raise InputError(f"{option}: {rule}")
    tokens = tokenizer.encode(text) if text else ()
    if not tokens:
        raise InputError(f"{option} is empty: must have at least one token")
    return tokens


def _ids(written: str) -> tuple[int, ...]:
    try:
        tokens = tuple(int(word) for word in written.split(","))
    except ValueError:
        rule = "must be token ids with commas, such as 1,2,3" if written.strip() else "must have at least one token"
        raise InputError(f"{IDS_OPTION} is {written!a}: {rule}") from None
    return tokens
