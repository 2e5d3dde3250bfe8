"""Keyed randomness: addressed rather than used up, the same everywhere, and as good as independent uniforms."""

from collections.abc import Callable
from itertools import product
from math import log, log1p

import pytest
import torch
from torch import Tensor

from executor.verify.coins import Key, Stream, gumbel_of, gumbel_V, uniform
from tests.chance import chi_square_p, independence_p, p_value, uniform_p

torch.set_num_threads(1)

DEVICES = [torch.device(name) for name in ("cpu", *["cuda"] * torch.cuda.is_available())]
CPU = DEVICES[0]
UNLIKELY = 1e-3
"""Seeds are fixed, so a test fails always or never; the smallest p-value of a passing file is about 1 / tests."""

NEIGHBOURS: dict[str, Callable[[Key], Key]] = {
    "position": lambda key: key._replace(position=key.position + 1),
    "sequence": lambda key: key._replace(sequence=key.sequence + 1),
    "seed": lambda key: key._replace(seed=key.seed + 1),
    "high seed": lambda key: key._replace(seed=key.seed + (1 << 32)),
    "swapped": lambda key: Key(key.seed, key.position, key.sequence),
}


def uniforms(keys: list[Key], stream: Stream = Stream.ACCEPT) -> Tensor:
    return torch.tensor([uniform(key, stream) for key in keys], dtype=torch.float64)


def noise_uniform(key: Key, count: int = 200_000, stream: Stream = Stream.TARGET) -> Tensor:
    """Return the uniforms behind the noise of ids 0, 1, ...: the law of exp(-exp(-g)) if g is standard Gumbel."""
    return gumbel_V(key, stream, 0, count, CPU).double().neg().exp().neg().exp()


@pytest.mark.parametrize("field", ["position", "sequence", "seed"])
def test_coins_along_a_field_of_the_key_are_uniform(field: str) -> None:
    """20 000 consecutive values of one field, in 64 cells; none is 0 or 1."""
    value_N = uniforms([Key(5, 6, 7)._replace(**{field: number}) for number in range(20_000)])
    assert uniform_p(value_N, 64) > UNLIKELY
    assert value_N.min() > 0.0 and value_N.max() < 1.0


@pytest.mark.parametrize("field", NEIGHBOURS)
def test_coins_of_neighbouring_keys_are_independent(field: str) -> None:
    """Pairs of a key and its neighbour in one field, in 16 x 16 cells, over a grid of keys off the diagonal."""
    keys = [Key(seed, sequence, position) for seed, sequence, position in product(range(8), range(50), range(100, 150))]
    assert independence_p(uniforms(keys), uniforms([NEIGHBOURS[field](key) for key in keys]), 16) > UNLIKELY


@pytest.mark.parametrize(("first", "second"), [(a, b) for a, b in product(Stream, Stream) if a < b])
def test_the_streams_of_one_position_are_independent(first: Stream, second: Stream) -> None:
    """Coins in 16 x 16 cells over positions, and noise in 32 x 32 cells over token ids."""
    keys = [Key(1, 2, position) for position in range(20_000)]
    assert independence_p(uniforms(keys, first), uniforms(keys, second), 16) > UNLIKELY
    key = Key(3, 1, 4)
    assert independence_p(noise_uniform(key, stream=first), noise_uniform(key, stream=second), 32) > UNLIKELY


@pytest.mark.parametrize("key", [Key(0, 0, 0), Key(1, 0, 0), Key(-1, 2**40, 17), Key(2**63, 3, 10**9)])
def test_noise_over_the_token_ids_is_gumbel(key: Key) -> None:
    """Its uniforms in 1000 cells."""
    assert uniform_p(noise_uniform(key), 1000) > UNLIKELY


@pytest.mark.parametrize("lag", [1, 2, 3, 64, 1000, 1024, 4096, 65_536])
def test_noise_of_token_ids_at_a_distance_is_independent(lag: int) -> None:
    """Pairs in 32 x 32 cells, for a few keys, where powers of two are where hashes are weak."""
    for position in range(4):
        value_V = noise_uniform(Key(9, 9, position))
        assert independence_p(value_V[:-lag], value_V[lag:], 32) > UNLIKELY / 4


@pytest.mark.parametrize("field", NEIGHBOURS)
def test_noise_of_one_token_under_neighbouring_keys_is_independent(field: str) -> None:
    """Pairs in 32 x 32 cells over token ids, and at a shift of one id, which a shared line of ids would show."""
    key = Key(2, 30, 31)
    here_V, there_V = noise_uniform(key), noise_uniform(NEIGHBOURS[field](key))
    assert independence_p(here_V, there_V, 32) > UNLIKELY
    assert independence_p(here_V[1:], there_V[:-1], 32) > UNLIKELY
    assert independence_p(here_V[:-1], there_V[1:], 32) > UNLIKELY


def test_the_noise_of_one_token_over_positions_is_gumbel_and_independent() -> None:
    """What a token meets along a text: its uniforms in 64 cells, consecutive ones in 16 x 16."""
    value_NC = torch.stack([noise_uniform(Key(4, 4, position), 4) for position in range(8000)])
    for value_N in value_NC.T:
        assert uniform_p(value_N, 64) > UNLIKELY
        assert independence_p(value_N[:-1], value_N[1:], 16) > UNLIKELY


def test_the_largest_noise_has_the_law_of_a_maximum_and_any_owner() -> None:
    """Draws are decided in this tail: n exp(-max) of n ids is exponential, and every id wins alike."""
    count = 6400
    noises = [gumbel_V(Key(7, 7, position), Stream.TARGET, 0, count, CPU) for position in range(4000)]
    largest_N = torch.stack([noise_V.max() for noise_V in noises]).double()
    assert uniform_p((-count * (-largest_N).exp()).exp(), 64) > UNLIKELY
    winner_N = torch.stack([noise_V.argmax() for noise_V in noises])
    assert uniform_p((winner_N + 0.5) / count, 50) > UNLIKELY
    assert uniform_p((winner_N % 64 + 0.5) / 64, 64) > UNLIKELY


@pytest.mark.parametrize(("hashed", "noise"), [(0, 22.18), (2**31, 22.18), (2**31 - 1, -2.81), (2**32 - 1, -2.81)])
def test_no_noise_is_so_large_or_small_that_logits_cannot_answer(hashed: int, noise: float) -> None:
    """At the ends of the hash it is finite: a token of probability zero never wins, and one that is certain does."""
    x = hashed
    for shift, factor in ((14, 1), (15, 0x31848BAB), (11, 0xAC4C1B51), (17, 0xED5AD4BB)):
        x = x * pow(factor, -1, 2**32) % 2**32
        x = x ^ x >> shift ^ x >> 2 * shift
    assert triple_32(x) == hashed
    for position in range(10):
        slope, offset = line_of(Key(0, 1, position), Stream.DRAFT)
        token_id = (x - offset) * pow(slope, -1, 2**32) % 2**32
        id_1 = torch.tensor([token_id - 2**32 if token_id >= 2**31 else token_id])
        assert gumbel_of(id_1, Key(0, 1, position), Stream.DRAFT).item() == pytest.approx(noise, abs=0.01)


def test_randomness_is_addressed_and_not_used_up() -> None:
    """Asking in another order, again, or for more, gives the same."""
    keys = [Key(1, sequence, position) for sequence in range(3) for position in range(20)]
    there = {key: (uniform(key, Stream.ACCEPT), gumbel_V(key, Stream.TARGET, 0, 50, CPU)) for key in keys}
    for key in reversed(keys):
        coin, noise_V = there[key]
        assert gumbel_V(key, Stream.TARGET, 0, 90, CPU)[:50].equal(noise_V)
        assert uniform(key, Stream.ACCEPT) == coin
    assert len({coin for coin, _ in there.values()}) == len(keys)


def test_noise_belongs_to_the_token_id_however_it_is_asked_for() -> None:
    """A shard's rows, and any list of ids, see what the whole vocabulary sees; the list is left as it was."""
    key = Key(8, 0, 3)
    whole_V = gumbel_V(key, Stream.RESIDUAL, 0, 1000, CPU)
    for first, last in ((0, 1), (1, 8), (313, 687), (999, 1000)):
        assert gumbel_V(key, Stream.RESIDUAL, first, last - first, CPU).equal(whole_V[first:last])
    for dtype in (torch.int64, torch.int32):
        id_C = torch.tensor([999, 0, 17, 17, 512], dtype=dtype)
        assert gumbel_of(id_C, key, Stream.RESIDUAL).equal(whole_V[id_C.long()])
        assert id_C.tolist() == [999, 0, 17, 17, 512]


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_noise_is_the_hash_that_it_says_on_every_device(device: torch.device) -> None:
    """Worked out again in Python's unsigned integers: the line of the key, triple32, and the two logarithms."""
    for key in (Key(1, 1, 0), Key(1, 1, 1), Key(-5, 2**70, 10**6)):
        slope, offset = line_of(key, Stream.TARGET)
        id_C = torch.tensor([0, 1, 2, 77, 250_000, 2**31 - 1], device=device)
        for token_id, noise in zip(id_C.tolist(), gumbel_of(id_C, key, Stream.TARGET).tolist(), strict=True):
            half_steps = triple_32((slope * token_id + offset) % 2**32) % 2**31 + 0.5
            assert noise == pytest.approx(-log(-log1p(-half_steps * 2.0**-31 * (1.0 - 2.0**-24))), rel=1e-5, abs=1e-5)


def line_of(key: Key, stream: Stream) -> tuple[int, int]:
    """Return slope and offset of the line of token ids."""
    state = 0
    for word in (*key, stream):
        state = ((state ^ word) + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state % 2**32 | 1, state >> 32


def triple_32(x: int) -> int:
    """Return Wellons' hash of 32 bits."""
    x = (x ^ x >> 17) * 0xED5AD4BB % 2**32
    x = (x ^ x >> 11) * 0xAC4C1B51 % 2**32
    x = (x ^ x >> 15) * 0x31848BAB % 2**32
    return x ^ x >> 14


def test_the_tests_of_chance_notice_what_is_not_random() -> None:
    """A hash without its finaliser fails them: neighbours on a line of small slope."""
    value_N = torch.arange(200_000) * 0.6180339887 % 1.0
    assert independence_p(value_N[:-1], value_N[1:], 32) < 1e-9
    assert uniform_p(value_N**1.02, 64) < 1e-9
    assert p_value(3.841458820694124, 1) == pytest.approx(0.05)
    assert chi_square_p(torch.tensor([1, 9]), torch.tensor([0.0, 1.0])) == 0.0
