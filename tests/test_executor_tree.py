"""Trees of drafts in the executor: what is computed for a node is what its chain gives, and no text ever changes."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from executor.draft.cut import Cut
from executor.draft.drafter import Drafter
from executor.draft.module import DraftModule
from executor.draft.runner import Runner
from executor.draft.shape import DraftShape
from executor.draft.tree_drafter import TreeDrafter
from executor.launch.processes import launch
from executor.model.architecture import read_architecture
from executor.model.dense import DenseShape
from executor.model.head import Head
from executor.model.parts import RmsNorm
from executor.model.rotary import Rotary
from executor.model.rows import RowTable
from executor.model.small import small_config
from executor.model.stage import StageModel
from executor.model.tree import num_levels
from executor.model.weights import RandomWeights, load
from executor.plan import Job, JobResult, Plan
from executor.rank import run_local
from executor.verify.coins import Key
from executor.verify.rule import choose, level_verdict
from executor.verify.sampling import Sampling
from executor.verify.warp import warp
from executor.worker.durations import Durations
from executor.worker.tree_roles import TreeDraftRole, children_of
from spdsim.acceptance import Acceptance, Bernoulli
from spdsim.errors import InputError
from spdsim.scenario import Scenario, as_a_chain
from spdsim.scenario.placement import layout_of
from spdsim.scenario.rows import rows_factor
from spdsim.simulation import simulate
from spdsim.timing import machine_of
from tests.chance import chi_square_p
from tests.drafts import SAMPLINGS, TARGET, probabilities
from tests.emulation import emulated_plan, emulated_scenario, jobs
from tests.machines import PLACEMENTS
from tests.small_targets import one_thread, small_plan

torch.set_num_threads(1)

FEW_TOKENS = small_config(hidden_size=32, num_layers=8, num_heads=4, num_kv_heads=2, vocab_size=8)
WINDOWED = {**FEW_TOKENS, "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 6}
MOST_ROWS = 64


def wide(scenario: Scenario, width: int) -> Scenario:
    return scenario.model_copy(update={"draft": scenario.draft.model_copy(update={"width": width})})


def tree_plan(width: int, stages: int, **options: Any) -> Plan:
    """Return the plan of decoding with a tree, on a target of eight tokens, so that random drafts may be right."""
    plan = small_plan(stages, **{"config": FEW_TOKENS, **options})
    scenario = wide(plan.scenario, width)
    return replace(plan, scenario=scenario, layout=layout_of(scenario))


def both(new_tokens: int, prompt: Sequence[int] = (1, 2, 3), sequence: int = 0) -> list[Job]:
    return [Job(method, sequence, tuple(prompt), new_tokens) for method in ("plain", "spd")]


def decode(plan: Plan, *todo: Job) -> tuple[JobResult, ...]:
    one_thread()
    return run_local(plan, todo, lambda _: None).results


# What is computed for a node.


def stage_models(is_windowed: bool, width: int) -> tuple[StageModel, StageModel]:
    """Return the same stage for a chain and for a tree with three levels in flight."""
    architecture = read_architecture(WINDOWED if is_windowed else FEW_TOKENS)

    def stage(width: int) -> StageModel:
        return StageModel(
            architecture, RandomWeights(0), 0, 3, (1, 3), True, MOST_ROWS, 4, "cpu", torch.float32, "eager", width,
            num_levels(3),
        )  # fmt: skip

    return stage(1), stage(width)


@pytest.mark.parametrize(("is_windowed", "width"), [*product((False, True), (2, 3))])
def test_a_stage_computes_for_every_node_what_its_chain_gives(is_windowed: bool, width: int) -> None:
    """Random trees, of which a random node survives, for longer than rings and windows are; then one begins anew."""
    rng = random.Random(str((is_windowed, width)))
    chain, tree = stage_models(is_windowed, width)
    prompt = [3, 1, 4]
    for stage in (chain, tree):
        stage.reset()
        stage.prefill(torch.tensor(prompt))

    def alone(tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        for position, token in enumerate(tokens[len(prompt) :], start=len(prompt)):
            output = chain.forward(torch.tensor([token]), position)
        return output.hidden_TH[0].clone(), output.features_TAH[0].clone()

    verified = list(prompt)
    for _ in range(2):
        verified.append(rng.randrange(8))
        output = tree.forward_level(torch.full((width,), verified[-1]), len(verified) - 1, None)
        torch.testing.assert_close(output.hidden_TH[0], alone(verified)[0], atol=1e-4, rtol=1e-4)
        levels: list[list[list[int] | None]] = [[list(verified)]]
        for step in range(7):
            alive = [node for node, tokens in enumerate(levels[-1]) if tokens is not None]
            parents = [rng.choice(alive) for _ in range(width)]
            tokens = [rng.randrange(8) for _ in range(width)]
            position = len(verified) + len(levels) - 1
            output = tree.forward_level(torch.tensor(tokens), position, torch.tensor(parents))
            chains = [[*(levels[-1][parent] or []), token] for parent, token in zip(parents, tokens, strict=True)]
            for node, tokens_of_node in enumerate(chains):
                hidden_H, features_AH = alone(tokens_of_node)
                torch.testing.assert_close(output.hidden_TH[node], hidden_H, atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(output.features_TAH[node], features_AH, atol=1e-4, rtol=1e-4)
            levels.append([*chains])
            if step >= 2:
                # One that leads to the newest level, so that there is something to go on from.
                survivor = rng.choice([node for node in levels[-1] if node is not None])[: len(verified) + 1]
                node = next(n for n, found in enumerate(levels[1]) if found == survivor)
                tree.keep(len(verified), node)
                verified = survivor
                levels = [
                    [found if found is not None and found[: len(verified)] == verified else None for found in level]
                    for level in levels[1:]
                ]
                # Equal siblings are two nodes of one text: only one is kept.
                levels[0] = [found if n == node else None for n, found in enumerate(levels[0])]


HIDDEN, VOCAB = 32, 24
LAYER = DenseShape(HIDDEN, 48, 4, 2, 8, qk_norm=True, attention_bias=False, rms_eps=1e-6)


@pytest.mark.parametrize(
    ("cut", "width"),
    [(Cut((2, 2), (0, 2, 4)), 3), (Cut((2, 2, 2, 2), (0, 5, 7)), 2), (Cut((1, 1, 1), (0, 1, 2, 3)), 4)],
    ids=str,
)  # fmt: skip
def test_the_draft_module_drafts_for_every_node_what_it_drafts_for_its_chain(cut: Cut, width: int) -> None:
    """Invented features, others for every node; a pipeline that fills, runs full, and begins anew."""
    world = TreeWorld(cut, width)
    with torch.inference_mode():
        for _ in range(6):
            world.begin()
            for _ in range(cut.num_stages + 3):
                world.check_drafts()
                world.stages_run()
                if not world.grow_and_verify():
                    break
            world.flush()
    assert world.num_checked > 10 * width and world.num_verified > 5


Node = tuple[int, list[Tensor], int]
"""Its token, its features by stage (A, H), its parent."""


class TreeWorld:
    """A tree drafter and a chain drafter of the same weights, and nodes that are invented as they are needed."""

    def __init__(self, cut: Cut, width: int) -> None:
        self.cut, self.width, self.rng = cut, width, random.Random(5)
        self.generator = torch.Generator().manual_seed(5)
        norm = RmsNorm(HIDDEN, 1e-6, torch.float32, "cpu")
        norm.scale.fill_(1.0)
        module = DraftModule(DraftShape(cut, LAYER, 2, VOCAB), norm, torch.float32, torch.device("cpu"))
        load(module, RandomWeights(3), "draft.")
        table_VH = torch.randn(VOCAB, HIDDEN, generator=self.generator)
        table = RowTable(Rotary(8, 10_000.0), MOST_ROWS, torch.float32, "cpu")
        self.chain = Drafter(Runner(module, table, 0, "eager"), lambda ids: table_VH[ids])
        self.tree = TreeDrafter(module, table, lambda ids: table_VH[ids], width)
        self.sizes = [len(cut.anchors_of_stage(stage)) for stage in range(cut.num_stages)]
        prompt = (5, 6)
        features = [torch.randn(2, size, HIDDEN, generator=self.generator) for size in self.sizes]
        for drafter in (self.chain, self.tree):
            drafter.reset(prompt)
            for stage, features_TAH in enumerate(features):
                drafter.put_prompt_features(stage, features_TAH)
            drafter.prefill()
        self.completed: Node = (6, [features_TAH[-1] for features_TAH in features], 0)
        self.levels: list[list[Node]] = []
        self.oldest, self.right, self.num_checked, self.num_verified = 1, 0, 0, 0
        self.alive: list[int] = []

    def new_node(self, parent: int) -> Node:
        features = [torch.randn(size, HIDDEN, generator=self.generator) for size in self.sizes]
        return self.rng.randrange(VOCAB), features, parent

    def begin(self) -> None:
        """Let a token that the target has chosen come to the next position."""
        self.levels, self.right, self.oldest = [[self.new_node(0)]], 0, self.oldest + 1
        self.tree.put_token(self.oldest, torch.tensor([self.levels[0][0][0]]))

    def check_drafts(self) -> None:
        """Hold the drafts after all nodes of the newest level that are alive against those of a chain."""
        newest = self.oldest + len(self.levels) - 1
        logits_RV = self.tree.draft(newest, len(self.levels))
        self.alive = []
        for node in range(len(self.levels[-1])):
            path, at = [], node
            for level in reversed(self.levels[1:]):
                path.append(level[at])
                at = level[at][2]
            # Whatever the node: a draft also writes the row of the token that has completed every stage.
            drafted_V = self.of_chain([self.completed, self.levels[0][self.right], *reversed(path)], newest)
            if at == self.right or len(self.levels) == 1:
                torch.testing.assert_close(logits_RV[node], drafted_V, atol=1e-4, rtol=1e-4)
                self.num_checked += 1
                self.alive.append(node)

    def of_chain(self, path: Sequence[Node], newest: int) -> Tensor:
        for position, (token, features, _) in enumerate(path, start=newest + 1 - len(path)):
            self.chain.put_token(position, torch.tensor([token]))
            is_completed = position == newest + 1 - len(path)
            for stage in range(self.cut.num_stages if is_completed else newest - position):
                self.chain.put_features(stage, position, features[stage])
        return self.chain.draft(newest, len(path) - 1).clone()

    def stages_run(self) -> None:
        """Let every stage put out the features of its level, the last stage of the right node only."""
        newest = self.oldest + len(self.levels) - 1
        for stage, level in enumerate(reversed(self.levels)):
            is_last = stage == self.cut.num_stages - 1
            self.put(stage, newest - stage, [level[self.right]] if is_last else level)

    def put(self, stage: int, position: int, nodes: Sequence[Node]) -> None:
        rows = torch.stack([features[stage] for _, features, _ in nodes])
        is_padded = stage < self.cut.num_stages - 1 and len(nodes) == 1
        if self.sizes[stage]:
            self.tree.put_features(stage, position, rows.expand(self.width, -1, -1) if is_padded else rows)

    def grow_and_verify(self) -> bool:
        """Add a level, and in a full pipeline verify a node; return whether there is one to be verified."""
        level = [self.new_node(self.rng.randrange(len(self.levels[-1]))) for _ in range(self.width)]
        if self.alive:
            level[self.rng.randrange(self.width)] = self.new_node(self.rng.choice(self.alive))
        tokens, parents = ([node[part] for node in level] for part in (0, 2))
        self.tree.grow(self.oldest + len(self.levels), torch.tensor(tokens), torch.tensor(parents))
        self.levels.append(level)
        if len(self.levels) <= self.cut.num_stages:
            return True
        children = [node for node, (_, _, parent) in enumerate(self.levels[1]) if parent == self.right]
        if not children:
            return False
        self.completed, self.right = self.levels[0][self.right], self.rng.choice(children)
        self.oldest, self.num_verified = self.oldest + 1, self.num_verified + 1
        self.tree.keep(self.oldest, self.right)
        del self.levels[0]
        return True

    def flush(self) -> None:
        """Let the oldest in flight complete every stage, and forget what is younger."""
        self.completed = self.levels[0][self.right]
        for stage in range(self.cut.num_stages):
            self.put(stage, self.oldest, [self.completed])


# No text changes.


def scripted(text: Sequence[int], rng: random.Random, is_there: float) -> Callable[..., None]:
    """Return drafts that mostly have the right token among wrong ones, at any place of a level."""

    def draft(self: Any, position: int, num_in_flight: int) -> None:
        logits_RV = self._levels.draft(self._prompt_tokens + position - 1, num_in_flight)
        self._position, width = position, self._plan.layout.width
        self._children = []
        for _ in range(len(logits_RV)):
            others = rng.sample(range(8), width)
            right = text[position] if position < len(text) else 0
            if right not in others and rng.random() < is_there:
                others[rng.randrange(width)] = right
            scores = [-rng.random() - 2.0 * (token != right) * rng.random() for token in others]
            self._children.append(sorted(zip(scores, others, strict=True), reverse=True))

    return draft


@pytest.mark.parametrize(
    ("stages", "width", "head", "config"),
    [
        (stages, width, PLACEMENTS[(row + column) % 4], ("windows", "no windows")[(row + column) % 2])
        for (row, stages), (column, width) in product(enumerate((2, 3, 4)), enumerate((2, 3, 4)))
    ],
    ids=str,
)  # fmt: skip
def test_greedy_text_is_that_of_plain_decoding_when_branches_are_right(
    stages: int, width: int, head: Any, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long runs of accepted levels, whose right node is any of them, with rejections between."""
    plan = tree_plan(width, stages, lm_head=head, config=WINDOWED if config == "windows" else FEW_TOKENS)
    (alone,) = decode(plan, both(40)[0])
    monkeypatch.setattr(TreeDraftRole, "draft", scripted(alone.tokens, random.Random(width), 0.9))
    keep, nodes = TreeDraftRole.keep_node, set()

    def noted(self: TreeDraftRole, position: int, node: int) -> None:
        nodes.add(node)
        keep(self, position, node)

    monkeypatch.setattr(TreeDraftRole, "keep_node", noted)
    (result,) = decode(plan, both(40)[1])
    assert result.tokens == alone.tokens
    assert 0.4 < sum(result.accepted) / len(result.accepted) < 1.0
    assert len(nodes) > 1


DRAFTED = (None, Bernoulli(0.7))


@pytest.mark.parametrize(("stages", "width", "forced"), [
    *((stages, width, DRAFTED[(stages // 2 + width) % 2]) for stages, width in product((1, 2, 4), range(1, 5))),
    (4, 4, Bernoulli(1.0)), (2, 12, None),
])  # fmt: skip
def test_greedy_text_is_that_of_plain_decoding_whoever_drafts(
    stages: int, width: int, forced: Acceptance | None
) -> None:
    """The module's own drafts, of which few are right, and forced ones; several sequences on the same workers."""
    plan = tree_plan(width, stages, forced=forced, lm_head=PLACEMENTS[(stages + width) % 2])
    todo = [*both(24), *both(1, (7,), 1), *both(2, (7,), 2), *both(12, (5, 0, 5, 0, 2), 3)]
    results = decode(plan, *todo)
    for alone, result in zip(results[::2], results[1::2], strict=True):
        assert result.tokens == alone.tokens


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(1.3, top_k=5), Sampling(0.9, top_p=0.9)], ids=str)
def test_one_seed_gives_the_sampled_text_of_plain_decoding(sampling: Sampling) -> None:
    """The target draws its own token with noise of its own, whatever is proposed."""
    texts = {
        result.tokens
        for width, stages, head in [(2, 2, "draft_rank"), (4, 3, "sharded"), (3, 4, "last_stage")]
        for result in decode(tree_plan(width, stages, lm_head=head, sampling=sampling), *both(20))
    }
    assert len(texts) == 1


@pytest.mark.parametrize("head", ["draft_rank", "last_stage"])
def test_sampled_drafts_that_know_the_targets_logits_are_all_right(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who drafts and who verifies have the same noise for a position, in every sequence."""
    monkeypatch.setattr(Head, "__call__", lambda *_: TARGET)
    monkeypatch.setattr(TreeDrafter, "draft", lambda self, *_: TARGET.expand(2, -1))
    results = decode(tree_plan(2, 3, lm_head=head, sampling=Sampling(1.3)), *both(20), *both(20, (4,), 1))
    assert all(all(result.accepted) and len(set(result.tokens)) > 3 for result in results)
    assert results[1].tokens == results[0].tokens != results[2].tokens == results[3].tokens


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_level_changes_no_law_and_is_right_as_often_as_its_tokens_are_likely(sampling: Sampling) -> None:
    """Chi-square of the token that comes out; accepted with the probability of the right node's children."""
    level_2W = torch.tensor([[3, 0, 4, 1], [2, 2, 1, -1]])
    count_V, num_accepted = torch.zeros(8, dtype=torch.int64), 0
    for position in range(500):
        token_1 = choose(TARGET, sampling, Key(4, SAMPLINGS.index(sampling), position))
        accepted, token, node = level_verdict(token_1, level_2W, 2).tolist()
        assert accepted == (token in (3, 0)) and (not accepted or int(level_2W[0, node]) == token)
        count_V[token] += 1
        num_accepted += accepted
    p_V = probabilities(TARGET, sampling)
    assert chi_square_p(count_V, p_V) > 1e-3
    p = float(p_V[[0, 3]].sum())
    assert num_accepted == pytest.approx(500 * p, abs=3.3 * (500 * p * (1 - p)) ** 0.5 + 1e-3)


def test_candidates_are_the_likeliest_tokens_of_the_draft_vocabulary() -> None:
    """In their order, of equals the lowest; with their probabilities."""
    logits_RV, key = torch.tensor([[0.0, 2.0, 2.0, 1.0], [1.0, 0.0, 0.0, 3.0]]), Key(0, 0, 1)
    found = children_of(logits_RV, 2, Sampling(), key, torch.tensor([4, 5, 8, 9]))
    assert [[token for _, token in row] for row in found] == [[5, 8], [9, 4]]
    assert found[1][0][0] == pytest.approx(float(logits_RV[1].log_softmax(0)[3]))
    assert len(children_of(logits_RV, 9, Sampling(), key)[0]) == 4


@pytest.mark.parametrize("sampling", [each for each in SAMPLINGS if not each.is_truncated], ids=str)
def test_a_draft_that_knows_the_targets_law_knows_what_it_says(sampling: Sampling) -> None:
    """The target's noise is the draft's, so equal logits say the same; in a draft vocabulary, too."""
    ids, seen = torch.tensor([0, 2, 3]), set()
    for position in range(200):
        key = Key(3, 1, position)
        token = int(choose(TARGET, sampling, key))
        assert children_of(TARGET[None], 1, sampling, key)[0][0][1] == token
        if token in ids:
            assert children_of(TARGET[None, ids], 1, sampling, key, ids)[0][0][1] == token
            seen.add(token)
    assert seen == {0, 2, 3}


@pytest.mark.parametrize(("width", "more"), [(2, 0.05), (4, 0.12)])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_with_sampling_a_level_is_right_more_often_than_a_draft_of_a_chain(
    sampling: Sampling, width: int, more: float
) -> None:
    """More often than both laws overlap, which is the most that one draft can reach; its logits are off by noise."""
    generator, size, num = torch.Generator().manual_seed(1), 16, 300
    num_right, overlap = 0, 0.0
    for position in range(num):
        target_V = 2.0 * torch.randn(size, generator=generator)
        draft_V = target_V + torch.randn(size, generator=generator)
        key = Key(0, 0, position)
        level = [token for _, token in children_of(draft_V[None], width, sampling, key)[0]]
        num_right += int(choose(target_V, sampling, key)) in level
        overlap += float(torch.minimum(warp(target_V, sampling).exp(), warp(draft_V, sampling).exp()).sum())
    assert num_right / num > overlap / num + more


class SameLogits:
    """A draft module that says the same of every node."""

    def __init__(self, logits_RV: Tensor) -> None:
        self.logits_RV = logits_RV

    def draft(self, newest: int, num_in_flight: int) -> Tensor:
        return self.logits_RV

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def test_the_draft_rank_guesses_with_the_noise_of_the_sequence_and_the_position() -> None:
    """What it drafts first is what the target would say if it had the draft's logits."""
    sampling = Sampling(1.3)
    plan = tree_plan(2, 2, sampling=sampling)
    role: Any = TreeDraftRole(plan, cast(Any, SameLogits(TARGET[None])), None, torch.device("cpu"))
    for sequence, position in product(range(4), (1, 5, 6, 7)):
        role.begin(Job("spd", sequence, (1, 2, 3), 9))
        role.enter(position - 1, 0)
        role.draft(position, 1)
        _, level_2W = role.grow()
        assert level_2W[0, 0] == choose(TARGET, sampling, Key(plan.seed, sequence, position))


# The schedule.


@pytest.mark.parametrize(
    ("stages", "head", "control"),
    [(2, "draft_rank", "early"), (3, "last_stage", "late"), (4, "own_device", "lockstep"), (3, "sharded", "early")],
)
def test_every_worker_runs_the_simulators_ops_in_its_order(stages: int, head: str, control: str) -> None:
    """For the same verdicts, each worker's spans are those of the simulator: op, cycle, position, peer."""
    scenario = wide(emulated_scenario(stages, runtime={"control": control}, lm_head=head), 3)
    outcome = run_local(emulated_plan(scenario), jobs(24), lambda _: None)
    theirs = simulate(scenario)
    for worker, report in enumerate(outcome.reports):
        mine = [(s.cycle, s.op, s.position, s.peer) for s in report.spans.spans(1)]
        assert mine == [(s.cycle, s.op, s.position, s.peer) for s in theirs.spans(0) if s.worker == worker]


@pytest.mark.parametrize("backend", ["gloo", "socket"])
def test_ranks_decode_with_a_tree_what_one_process_decodes(backend: Any) -> None:
    """Plain decoding between, whose messages are others on the same connections."""
    one_thread()
    todo = [*both(12), *both(8, (7,), 1)]
    there = launch(tree_plan(3, 3, backend=backend), todo, lambda _: None).results
    here = decode(tree_plan(3, 3), *todo)
    assert [(each.tokens, each.accepted) for each in there] == [(each.tokens, each.accepted) for each in here]


def test_plain_decoding_is_emulated_with_one_token_in_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree's stages take longer for their rows; what it is compared with does not."""
    scenario, found, of = wide(emulated_scenario(3), 16), set(), Durations.of
    plan = replace(emulated_plan(scenario), emulated_plain=machine_of(as_a_chain(scenario)))

    def noted(self: Durations, task: Any, state: Any, position: int) -> float:
        seconds = of(self, task, state, position)
        found.add(seconds if task == "forward" else 0.0)
        return seconds

    monkeypatch.setattr(Durations, "of", noted)
    for job, rows in zip(jobs(4), ({1}, {1, 16}), strict=True):
        found.clear()
        run_local(plan, [job], lambda _: None)
        assert sorted(found - {0.0}) == pytest.approx([1e-8 * rows_factor(each) for each in sorted(rows)])


def test_recurrent_states_cannot_branch() -> None:
    config = {
        "model_type": "qwen3_5_text", "architectures": ["Qwen3_5ForCausalLM"], "vocab_size": 32, "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4, "full_attention_interval": 4, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 64, "hidden_act": "silu", "rope_theta": 10_000.0, "tie_word_embeddings": True,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"], "attn_output_gate": True,
    }  # fmt: skip
    with pytest.raises(InputError, match="recurrent states cannot branch yet"):
        StageModel(
            read_architecture(config), RandomWeights(0), 0, 2, (), True, 16, 4, "cpu", torch.float32, "eager", 2, 4
        )
