"""The training forward: what a text teaches is what decoding computes, token by token."""

import gc
from itertools import product

import pytest
import torch
from torch import Tensor

from executor.draft.checkpoint import tensor_sizes
from executor.draft.cut import Cut
from executor.draft.module import DraftModule
from executor.draft.runner import Runner
from executor.draft.shape import DraftShape
from executor.model.architecture import read_architecture
from executor.model.dense import DenseShape
from executor.model.head import Head
from executor.model.parts import RmsNorm
from executor.model.rotary import Rotary
from executor.model.rows import RowTable
from executor.model.small import small_config
from executor.model.weights import RandomWeights
from executor.training import attention
from executor.training.layout import COMPLETED, Block, blocks_of
from executor.training.loss import distillation
from executor.training.student import Student
from executor.training.teacher import Teacher
from spdsim.errors import InputError

torch.set_num_threads(1)

CPU, HIDDEN, VOCAB, TOKENS, EPS = torch.device("cpu"), 16, 12, 14, 1e-6
LAYER = DenseShape(HIDDEN, 24, 4, 2, 8, qk_norm=True, attention_bias=False, rms_eps=EPS)
ROTARY = Rotary(6, 10_000.0)
"""Not all entries of a head are rotated."""

CUTS = [
    Cut((2, 1), (0,)),
    Cut((2, 2), (0, 2, 4)),
    Cut((2, 3, 1), (0, 1, 3, 5)),
    Cut((1, 1, 1), (0, 3)),
    Cut((2, 2, 2, 2), (0, 2, 4, 6, 8)),
    Cut((2, 2, 2, 2), (0, 5, 7)),
    Cut((3, 2, 2, 2, 2), (0, 2, 3, 10)),
]


def norm_of(seed: int) -> RmsNorm:
    norm = RmsNorm(HIDDEN, EPS, torch.float32, CPU)
    norm.scale.normal_(1.0, 0.3, generator=torch.Generator().manual_seed(seed))
    return norm


def student_of(cut: Cut, num_layers: int = 2, ids: tuple[int, ...] | None = None) -> Student:
    student = Student(DraftShape(cut, LAYER, num_layers, VOCAB, ids), ROTARY, norm_of(1), CPU)
    student.initialise(3)
    for parameter in student.parameters():
        if parameter.ndim == 1:
            parameter.data.normal_(1.0, 0.3)
    return student


def features_of(cut: Cut, num_tokens: int = TOKENS) -> Tensor:
    return torch.randn(num_tokens, len(cut.anchors) * HIDDEN, generator=torch.Generator().manual_seed(5))


def decoded(student: Student, features_TF: Tensor, newest: int, fill: int) -> Tensor:
    """What the executor's module drafts after `newest`: rows before those in flight are cached, the others drafted.

    What a token has not passed yet is NaN, so that a draft that reads it is NaN, too.
    """
    cut = student.shape.cut
    module = DraftModule(student.shape, student._norm[0], torch.float32, CPU)
    module.load_state_dict(student.state_dict())
    runner = Runner(module, RowTable(ROTARY, TOKENS + 1, torch.float32, CPU), 0, "eager")
    completed = newest - fill
    with torch.inference_mode():
        runner.prefill(features_TF[: completed + 1], 0)
        for position in range(completed, newest + 1):
            depth = cut.num_stages if position == completed else newest - position
            known = [anchor <= sum(cut.layers[:depth]) for anchor in cut.anchors]
            seen = features_TF[position].unflatten(0, (-1, HIDDEN)).clone()  # type: ignore[no-untyped-call]
            seen[[not is_known for is_known in known]] = float("nan")
            runner.ring.put(position, 0, seen)
        return runner.draft(newest, fill + 1)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_a_text_at_once_drafts_what_decoding_drafts_token_by_token(cut: Cut) -> None:
    """With a block for each depth, whatever the anchors; it sees nothing that a token has not passed yet."""
    student, features_TF = student_of(cut, ids=(0, 2, 3, 7, 11)), features_of(cut)
    with torch.no_grad():
        for fill in range(1, cut.num_stages + 1):
            logits_TV = student.logits(student(features_TF, fill))
            for newest in range(fill, TOKENS):
                expected = decoded(student, features_TF, newest, fill)
                torch.testing.assert_close(logits_TV[newest], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_a_block_for_each_type_is_the_same_where_each_type_serves_one_depth(cut: Cut) -> None:
    """And for one layer, where only the newest rows are asked; else the two differ, or the choice would be none."""
    types = [kind for kind in cut.types if kind != cut.deepest_type]
    serves_one = len(set(types)) == len(types)
    for fill, num_layers in product(range(1, cut.num_stages + 1), (1, 2)):
        student, features_TF = student_of(cut, num_layers), features_of(cut)
        with torch.no_grad():
            exact, cheap = student(features_TF, fill), student(features_TF, fill, per_depth=False)
        is_full = fill == cut.num_stages
        if serves_one or num_layers == 1:
            torch.testing.assert_close(exact, cheap, atol=2e-5, rtol=1e-4)
        elif is_full:
            assert not torch.allclose(exact, cheap, atol=1e-3)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_every_row_looks_where_its_token_is_at_that_distance(cut: Cut) -> None:
    """Block by block against the rule itself: depth d sees at distance δ the type of depth d + δ, in flight or not."""
    for fill in range(1, cut.num_stages + 1):
        blocks = blocks_of(cut, fill, per_depth=True)
        assert blocks[COMPLETED] == Block(cut.deepest_type, ())
        for depth in range(min(fill, cut.num_stages)):
            kinds = [cut.types[depth + distance] for distance in range(fill - depth)]
            if cut.types[depth] == cut.deepest_type:
                assert set(kinds) == {cut.deepest_type}
                continue
            block = next(block for block in blocks[1:] if len(block.near) == len(blocks) - 1 - depth)
            seen = [blocks[other].kind for other in block.near]
            assert seen == [kind for kind in kinds if kind != cut.deepest_type]
        cheap = blocks_of(cut, fill, per_depth=False)
        assert [block.kind for block in cheap] == sorted({block.kind for block in blocks}, reverse=True)


@pytest.mark.parametrize("fill", [0, 4])
def test_a_fill_that_no_pipeline_has_is_refused(fill: int) -> None:
    with pytest.raises(InputError, match=f"fill is {fill}: must be 1 to 3, the number of stages"):
        blocks_of(Cut((1, 1, 1), (0, 1)), fill, per_depth=True)


@pytest.mark.parametrize("per_depth", [True, False])
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_gradient_reaches_every_weight_that_decoding_uses(cut: Cut, per_depth: bool) -> None:
    student, features_TF = student_of(cut), features_of(cut)
    for fill in range(1, cut.num_stages + 1):
        student.logits(student(features_TF, fill, per_depth)).square().sum().backward()  # type: ignore[no-untyped-call]
    unused = {f"aggr_projs.{kind}.weight" for kind in range(len(cut.anchors)) if kind not in cut.types}
    for name, parameter in student.named_parameters():
        is_reached = parameter.grad is not None and bool((parameter.grad != 0).any())
        assert is_reached != (name in unused), name


def test_the_weights_have_the_names_and_sizes_of_checkpoints() -> None:
    student = student_of(CUTS[2], ids=(1, 4))
    assert {name: tuple(w.shape) for name, w in student.state_dict().items()} == tensor_sizes(student.shape)


def test_taking_a_few_rows_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what comes out nor any gradient."""
    cut = CUTS[4]

    def run() -> list[Tensor]:
        student, features_TF = student_of(cut), features_of(cut)
        hidden_TH = student(features_TF, 3)
        hidden_TH.square().sum().backward()
        return [hidden_TH.detach(), *(w.grad for w in student.parameters() if w.grad is not None)]

    torch.manual_seed(0)
    whole = run()
    monkeypatch.setattr(attention, "CHUNK_ROWS", 4)
    torch.manual_seed(0)
    pieces = run()
    assert len(whole) == len(pieces)
    for left, right in zip(whole, pieces, strict=True):
        torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-3)


def test_products_in_fewer_bits_change_little() -> None:
    """And what is computed is in the bits asked for: the two are not equal, and no norm warns."""
    cut = CUTS[4]
    student, features_TF = student_of(cut), features_of(cut)
    exact = student.logits(student(features_TF, 4))
    with torch.autocast("cpu", torch.bfloat16):
        rough = student.logits(student(features_TF.bfloat16(), 4))
    torch.autograd.backward(rough.square().sum())
    assert rough.dtype is torch.float32
    assert 0.0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()
    assert all(weight.grad is None or weight.grad.dtype is torch.float32 for weight in student.parameters())


def kept_bytes(num_tokens: int) -> int:
    """What is kept for the backward pass of a sequence."""
    student, features_TF = student_of(CUTS[4]), features_of(CUTS[4], num_tokens)
    gc.collect()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden_TH = student(features_TF, 4)
    assert hidden_TH.requires_grad
    return sum(kept.values())


def test_memory_is_linear_in_the_sequence() -> None:
    short, long = kept_bytes(1024), kept_bytes(2048)
    assert long < 2.2 * short
    # A mask of rows times keys alone would be more.
    assert long < (5 * 2048) ** 2


def test_a_lesson_is_the_target_as_it_decodes() -> None:
    """Features are hidden states after the anchors' layers, and the logits those of the executor's own head."""
    architecture, weights = read_architecture(small_config(32, 4, 4, 2, 40)), RandomWeights(7)
    tokens_T = torch.randint(40, (9,), generator=torch.Generator().manual_seed(2))
    teacher = Teacher(architecture, weights, (0, 1, 4), 16, CPU, torch.float32)
    lesson = teacher(tokens_T)
    table_VH = torch.empty(40, 32)
    weights.fill("model.embed_tokens.weight", table_VH)
    assert torch.equal(lesson.features_TF[:, :32], table_VH[tokens_T])
    assert torch.equal(lesson.features_TF[:, 64:], lesson.hidden_TH)
    deeper = Teacher(architecture, weights, (0, 2), 16, CPU, torch.float32)(tokens_T)
    assert not torch.equal(deeper.features_TF[:, 32:], lesson.features_TF[:, 32:64])
    head = Head(architecture, weights, 0, 40, CPU, torch.float32)
    ids_V = torch.tensor([3, 8, 39])
    for row in range(9):
        expected = head(lesson.hidden_TH[row : row + 1])
        torch.testing.assert_close(teacher.logits(lesson.hidden_TH)[row], expected)
        torch.testing.assert_close(teacher.logits(lesson.hidden_TH, ids_V)[row], expected[ids_V])
    again = teacher(tokens_T[:4])
    torch.testing.assert_close(again.features_TF, lesson.features_TF[:4], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ids", [None, (0, 5, 9)])
def test_the_loss_is_the_divergence_from_the_target_on_the_draft_vocabulary(ids: tuple[int, ...] | None) -> None:
    architecture = read_architecture(small_config(HIDDEN, 2, 4, 2, VOCAB))
    teacher = Teacher(architecture, RandomWeights(7), (0, 1), 400, CPU, torch.float32)
    cut = Cut((1, 1), (0, 1))
    shape = DraftShape(cut, LAYER, 1, VOCAB, ids)
    student = Student(shape, ROTARY, teacher.norm, CPU)
    student.initialise(0)
    # More rows than are taken at a time.
    lesson = teacher(torch.randint(VOCAB, (300,), generator=torch.Generator().manual_seed(2)))
    weights_T = torch.rand(300)
    ids_V = None if ids is None else torch.tensor(ids)
    hidden_TH = student(lesson.features_TF, 2)
    loss = distillation(student, hidden_TH, teacher, lesson, ids_V, weights_T)
    theirs_TV = teacher.logits(lesson.hidden_TH)[:, list(ids) if ids else slice(None)].double().softmax(-1)
    ours_TV = student.logits(hidden_TH).double().softmax(-1)
    expected = ((theirs_TV * (theirs_TV / ours_TV).log()).sum(-1) * weights_T).sum() / weights_T.sum()
    torch.testing.assert_close(loss.double(), expected, atol=1e-6, rtol=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    of_head = student.lm_head.weight.grad
    assert of_head is not None and bool((of_head != 0).any())
    nothing = distillation(student, hidden_TH.detach(), teacher, lesson, ids_V, torch.zeros(300))
    assert nothing.item() == 0.0
