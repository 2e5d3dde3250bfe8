"""Puts a worker together: which parts it has by its place in the layout, loaded, or emulated.

Every worker loads its own layers, its rows of the LM head, and nothing else.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from executor.draft import checkpoint
from executor.draft.cut import Cut
from executor.draft.drafter import Drafter
from executor.draft.module import DraftModule
from executor.draft.runner import Runner
from executor.draft.shape import DraftShape, draft_layer
from executor.draft.tree_drafter import TreeDrafter
from executor.model.architecture import Architecture, read_architecture
from executor.model.head import Embedding, Head, final_norm
from executor.model.rows import RowTable
from executor.model.stage import StageModel
from executor.model.tree import num_levels
from executor.model.weights import Checkpoint, RandomWeights, Weights, load
from executor.plan import Plan
from executor.verify.shards import shard_rows
from executor.worker.channels import DTYPES, channel_of
from executor.worker.draft_role import DraftRole
from executor.worker.emulated import EmulatedJudge, EmulatedStage, NoDrafter
from executor.worker.judge import ShardedHead, WholeHead
from executor.worker.parts import LevelStage
from executor.worker.stage_role import StageRole
from executor.worker.tree_roles import LastOfTreeRole, LevelStageRole, TreeDraftRole
from executor.worker.worker import Worker

CatchUp = Callable[[], None]
"""Waits until a device has done what it was asked for."""


def build_worker(plan: Plan, index: int, device: torch.device, catch_up: CatchUp) -> Worker:
    """Return worker `index`, ready to run. Raises InputError where its part of the model cannot be loaded."""
    if plan.emulated is not None:
        return _emulated(plan, index, device, catch_up)
    return _Builder(plan, index, device).worker(catch_up)


def has_lm_head(plan: Plan, index: int) -> bool:
    """Whether worker `index` has the LM head or a shard of it."""
    layout = plan.layout
    return index == layout.verdict_source or (layout.lm_head == "sharded" and layout.num_stages > 1)


class _Builder:
    """Loads the parts of one worker; a table that several of them need is there once."""

    def __init__(self, plan: Plan, index: int, device: torch.device) -> None:
        self._plan, self._index, self._device = plan, index, device
        self._dtype = DTYPES[plan.dtype]
        self._role = plan.layout.role(index)
        self._target: Architecture = read_architecture(plan.model.config)
        directory, seed = plan.model.directory, plan.model.seed
        self._weights: Weights = RandomWeights(seed) if directory is None else Checkpoint(directory)
        self._cut = Cut(plan.layers, plan.draft.anchors)
        self._saved = None
        is_needed = self._role == "draft" or has_lm_head(plan, index)
        if plan.draft.checkpoint is not None and plan.has_module_drafts and is_needed:
            self._saved = checkpoint.read(plan.draft.checkpoint)
        self._table_VH: Tensor | None = None

    def worker(self, catch_up: CatchUp) -> Worker:
        """Return the worker with all its parts."""
        stage = self._stage() if self._role == "stage" else None
        drafts = self._drafts() if self._role == "draft" else None
        judge = self._judge() if has_lm_head(self._plan, self._index) else None
        return Worker(self._plan, self._index, self._device, stage, drafts, judge, catch_up)

    def _stage(self) -> StageRole:
        plan, number = self._plan, self._plan.layout.stage_of(self._index)
        width = plan.layout.rows_of_stage(number)
        anchors = tuple(self._cut.anchors[anchor] for anchor in self._cut.anchors_of_stage(number))
        model = StageModel(
            self._target, self._weights, sum(plan.layers[:number]), plan.layers[number], anchors, number == 0,
            plan.max_context, plan.layout.capacity + 2, self._device, self._dtype, plan.launch,
            width, num_levels(plan.layout.capacity),
        )  # fmt: skip
        if plan.launch == "cuda_graph":
            model.prepare()
        if model.embedding is not None:
            self._table_VH = model.embedding.table_VH
        return _stage_role(plan, number, model, self._device)

    def _drafts(self) -> DraftRole:
        plan, target = self._plan, self._target
        if plan.draft.is_free:
            make = TreeDraftRole if plan.layout.width > 1 else DraftRole
            return make(plan, NoDrafter(), None, self._device)
        embedding = Embedding(target, self._weights, self._device, self._dtype)
        self._table_VH = embedding.table_VH
        norm = final_norm(target, self._weights, self._device, self._dtype)
        module = DraftModule(self._draft_shape(), norm, self._dtype, self._device)
        if self._saved is not None:
            self._saved.fill(module)
        else:
            load(module, RandomWeights(plan.draft.seed), "draft.")
        if plan.launch == "eager":
            # What is compiled or captured chooses its products itself.
            module.pack()
        table = RowTable(target.rotary, plan.max_context, self._dtype, self._device)
        if plan.layout.width > 1:
            levels = TreeDrafter(module, table, embedding, plan.layout.width)
            return TreeDraftRole(plan, levels, self._draft_token_ids(), self._device)
        runner = Runner(module, table, plan.layout.verification_lag, plan.launch)
        drafter = Drafter(runner, embedding)
        if plan.launch == "cuda_graph":
            # Capturing waits for the device, so it must not happen while messages are awaited.
            drafter.prepare()
        return DraftRole(plan, drafter, self._draft_token_ids(), self._device)

    def _draft_shape(self) -> DraftShape:
        plan, layer = self._plan, draft_layer(self._target.layers[0])
        if self._saved is not None:
            vocab_size, any_cut = self._target.vocab_size, plan.draft.any_cut
            return self._saved.shape_for(self._cut, layer, vocab_size, any_cut=any_cut)
        size = plan.draft.vocab_size
        ids = None if size is None else tuple(range(size))
        return DraftShape(self._cut, layer, plan.draft.num_layers, self._target.vocab_size, ids)

    def _draft_token_ids(self) -> Tensor | None:
        """The token ids that can be drafted, on the device; None: all."""
        plan = self._plan
        if plan.layout.num_stages == 1:
            return None
        if self._saved is not None:
            ids = self._saved.config.draft_token_ids
        else:
            ids = None if plan.draft.vocab_size is None else tuple(range(plan.draft.vocab_size))
        return None if ids is None else torch.tensor(ids, dtype=torch.int64, device=self._device)

    def _judge(self) -> WholeHead | ShardedHead:
        plan, vocab_size = self._plan, self._target.vocab_size
        ids, is_tree = self._draft_token_ids(), plan.layout.width > 1
        if plan.layout.lm_head == "sharded" and plan.layout.num_stages > 1:
            num_shards = plan.layout.num_workers
            first, last = shard_rows(vocab_size, num_shards, self._index)
            head = self._head(first, last - first)
            return ShardedHead(head, first, num_shards, plan.sampling, plan.rule, plan.seed, ids, is_tree=is_tree)
        return WholeHead(self._head(0, vocab_size), plan.sampling, plan.rule, plan.seed, ids, is_tree=is_tree)

    def _head(self, first_row: int, num_rows: int) -> Head:
        return Head(self._target, self._weights, first_row, num_rows, self._device, self._dtype, self._table_VH)


def _stage_role(plan: Plan, number: int, part: LevelStage, device: torch.device) -> StageRole:
    """The role of a stage: of all of a level, of the right node of one, or of a chain."""
    layout, is_first = plan.layout, number == 0
    if layout.width == 1:
        return StageRole(part, is_first=is_first, device=device)
    if number == layout.num_stages - 1:
        return LastOfTreeRole(part, is_first=is_first, device=device)
    return LevelStageRole(part, layout.width, is_first=is_first, device=device)


def _emulated(plan: Plan, index: int, device: torch.device, catch_up: CatchUp) -> Worker:
    layout, model = plan.layout, plan.scenario.model
    stage = drafts = judge = None
    if layout.role(index) == "stage":
        number = layout.stage_of(index)
        anchors = len(Cut(plan.layers, plan.draft.anchors).anchors_of_stage(number))
        part = EmulatedStage(model.hidden_size, anchors, DTYPES[plan.dtype], layout.rows_of_stage(number))
        stage = _stage_role(plan, number, part, device)
    if layout.role(index) == "draft":
        is_tree = layout.width > 1
        make = TreeDraftRole if is_tree else DraftRole
        drafts = make(plan, NoDrafter(), None, device)
    if has_lm_head(plan, index):
        fields = channel_of(plan, "partial", index, 0).fields if layout.lm_head == "sharded" else ()
        zeros = tuple(torch.zeros(field.shape, dtype=field.dtype) for field in fields)
        judge = EmulatedJudge(plan.seed, model.vocab_size, zeros)
    return Worker(plan, index, device, stage, drafts, judge, catch_up)
