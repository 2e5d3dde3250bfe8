"""A drafter over scripted verdicts: tokens and what a target makes of them are invented, the schedule is real."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from executor.draft.cut import Cut
from executor.draft.drafter import Drafter
from executor.draft.module import DraftModule
from executor.draft.runner import Runner
from executor.draft.shape import DraftShape
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from executor.model.rotary import Rotary
from executor.model.rows import RowTable
from executor.model.steps import Launch
from spdsim.schedules.ops import Compute, Recv, Verdict
from spdsim.schedules.spd import PROMPT, Control, Layout, LmHead, PipelineState, advance, program, start

HIDDEN, VOCAB, MAX_ROWS, THETA, EPS = 32, 24, 96, 10_000.0, 1e-6
LAYER = DenseShape(HIDDEN, 48, 4, 2, 8, qk_norm=True, attention_bias=False, rms_eps=EPS)
NO_TEXT = float("nan")
"""What a position holds that nothing was put into; whatever reads it becomes NaN too."""


@dataclass
class World:
    """Tokens and what the target makes of them: invented, anew for every token that comes to a position."""

    cut: Cut
    seed: int
    features: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.table_VH = torch.randn(VOCAB, HIDDEN, generator=self.generator)

    def embed(self, tokens_T: Tensor) -> Tensor:
        return self.table_VH[tokens_T]

    def known(self, newest: int) -> list[Tensor]:
        """Return all features of the tokens up to a position."""
        return [self.features[position] for position in range(newest + 1)]

    def new_token(self, position: int) -> Tensor:
        """Let a token come to a position; return its id."""
        token_1 = torch.randint(VOCAB, (1,), generator=self.generator)
        of_stages = torch.randn(len(self.cut.anchors) - 1, HIDDEN, generator=self.generator)
        self.features[position] = torch.cat((self.embed(token_1), of_stages))
        return token_1

    def put_out(self, stage: int, position: int) -> Tensor:
        """Return the anchors, (A, H), that lie in a stage."""
        first, end = sum(self.cut.layers[:stage]), sum(self.cut.layers[: stage + 1])
        return self.features[position][[first < anchor <= end for anchor in self.cut.anchors]]


@dataclass(frozen=True)
class Draft:
    """A draft: its logits, the absolute position that it follows, and the depth of every token up to there."""

    logits: Tensor
    newest: int
    num_in_flight: int
    depths: list[int]


@dataclass
class Bench:
    """A drafter with random weights, and what its module is made of."""

    world: World
    module: DraftModule
    norm: RmsNorm
    runner: Runner
    drafter: Drafter


def bench(
    cut: Cut, num_layers: int, lag: int, seed: int, ids: tuple[int, ...] | None = None,
    *, max_rows: int = MAX_ROWS, launch: Launch = "eager",
) -> Bench:  # fmt: skip
    """Return a drafter at the sizes of these tests."""
    world, cpu, dtype = World(cut, seed), torch.device("cpu"), torch.float32
    norm = RmsNorm(HIDDEN, EPS, dtype, cpu)
    norm.scale.normal_(1.0, 0.3, generator=world.generator)
    module = DraftModule(DraftShape(cut, LAYER, num_layers, VOCAB, ids), norm, dtype, cpu)
    for parameter in module.parameters():
        middle, spread = (1.0, 0.3) if parameter.ndim == 1 else (0.0, parameter.shape[1] ** -0.5)
        parameter.normal_(middle, spread, generator=world.generator)
    runner = Runner(module, RowTable(Rotary(LAYER.head_dim, THETA), max_rows, dtype, cpu), lag, launch)
    return Bench(world, module, norm, runner, Drafter(runner, world.embed))


def depth(state: PipelineState, position: int) -> int:
    """Return how many stages the token at a schedule's position has completed when a cycle begins."""
    behind = state.in_flight[0] - position
    return min(behind, state.layout.num_stages) if position in state.in_flight else state.layout.num_stages


def decode(on: Bench, layout: Layout, verdicts: Sequence[bool], prompt_tokens: int) -> Iterator[Draft]:
    """Run a draft rank's program over scripted verdicts, doing as its worker does; yield every draft."""
    world, drafter, cut = on.world, on.drafter, on.module.shape.cut

    def enter(position: int) -> None:
        drafter.put_token(position, world.new_token(position))
        # What its stages have not put out yet is not to be read.
        for stage in range(cut.num_stages):
            drafter.put_features(stage, position, torch.full_like(world.put_out(stage, position), NO_TEXT))

    def keep(stage: int, position: int, put_out: dict[int, Tensor]) -> None:
        if position == PROMPT:
            of_prompt = [world.put_out(stage, row) for row in range(prompt_tokens)]
            drafter.put_prompt_features(stage, torch.stack(of_prompt))
        else:
            drafter.put_features(stage, prompt_tokens + position, put_out[stage])

    drafter.reset([int(world.new_token(row)) for row in range(prompt_tokens)])
    state = start(layout, len(verdicts) + 1)
    while not state.is_done:
        accepted = state.cycle < 0 or verdicts[state.committed - 1]
        running = dict(enumerate(state.in_flight[: cut.num_stages]))
        put_out = {stage: world.put_out(stage, prompt_tokens + position) for stage, position in running.items()}
        for op in program(state, 0):
            match op:
                case Compute("draft", position):
                    newest = prompt_tokens + position - 1
                    depths = [depth(state, row - prompt_tokens) for row in range(newest + 1)]
                    logits_V, num_in_flight = drafter.draft(newest, len(state.in_flight)), len(state.in_flight)
                    yield Draft(logits_V, newest, num_in_flight, depths)
                    enter(newest + 1)
                case Compute("commit", position) if state.cycle < 0 or not accepted:
                    enter(prompt_tokens + position)
                case Compute("prefill"):
                    drafter.prefill()
                case Recv("features", position, source):
                    keep(layout.stage_of(source), position, put_out)
                case Recv("hidden", position) if layout.last_hidden_carries_features:
                    keep(cut.num_stages - 1, position, put_out)
        state = advance(state, Verdict(accepted) if state.is_full else None)


def close(left: Tensor, right: Tensor) -> None:
    """Equal but for rounding, and not NaN."""
    torch.testing.assert_close(left, right, atol=2e-5, rtol=1e-4)


def tried(cut: Cut, lag: int, head: LmHead = "draft_rank", control: Control = "early") -> Layout:
    stages = tuple(stage for stage in range(cut.num_stages) if cut.anchors_of_stage(stage))
    return Layout(cut.num_stages, head, lag, stages, control)


def scripted(seed: int, length: int = 9) -> list[bool]:
    coins = random.Random(seed)
    return [coins.random() < 0.7 for _ in range(length)]
