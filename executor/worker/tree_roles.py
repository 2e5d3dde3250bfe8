"""What stages and the draft rank do where drafts are levels of a tree. Plain decoding goes as in a chain.

Positions are the schedule's. Shapes: W nodes of a level, H hidden size, V draft vocabulary.
"""

import torch
from torch import Tensor

from executor.draft.tree import Child, Tree
from executor.plan import Job, Plan
from executor.transport.message import Views
from executor.verify.coins import Key
from executor.verify.rule import foreseen
from executor.verify.sampling import Sampling
from executor.verify.warp import best
from executor.worker.draft_role import DraftRole
from executor.worker.parts import LevelDrafter, LevelStage, Stage
from executor.worker.stage_role import StageRole


class LevelStageRole(StageRole):
    """A stage but the last: it runs all nodes of a level at once, and keeps the right one when it hears of it."""

    def __init__(self, stage: LevelStage, width: int, *, is_first: bool, device: torch.device) -> None:
        super().__init__(stage, is_first=is_first, device=device)
        self._levels = stage
        self._parents: dict[int, Tensor] = {}
        self._tokens_W = torch.zeros(width, dtype=torch.int64, device=device)
        self._nobody_W = torch.full((width,), -1, dtype=torch.int64, device=device)
        self._is_tree = False
        self._root = 0

    def begin(self, job: Job) -> None:
        """Begin a sequence."""
        super().begin(job)
        self._is_tree, self._parents_W = job.method == "spd", self._nobody_W
        self._parents.clear()

    def forward(self, position: int) -> None:
        """Run a level; what was flushed after it is overwritten when its position comes again."""
        if not self._is_tree:
            super().forward(position)
            return
        is_root = position == self._root
        # Parents of a verified token that was flushed before it came are none of its own.
        parents_W = self._parents.pop(position, self._nobody_W).to(self._device)
        inputs = self._inputs.pop(position).to(self._device)
        row = self._prompt_tokens + position
        self.output = self._levels.forward_level(inputs, row, None if is_root else parents_W)
        self._parents_W = parents_W

    def enter(self, position: int, token: int) -> None:
        """Let the tree begin with a token that the host knows."""
        if not self._is_tree:
            super().enter(position, token)
            return
        self._root = position
        if self._is_first:
            self._inputs[position] = self._tokens_W.fill_(token)

    def keep_node(self, position: int, node: int) -> None:
        """Take a node as the right one at `position`, which this stage has run."""
        self._levels.keep(self._prompt_tokens + position, node)

    def fill_hidden(self, position: int, views: Views) -> None:
        """Send all nodes' hidden states on, and whose children they are to who runs them all."""
        views[0].copy_(self.output.hidden_TH)
        if len(views) > 1:
            views[1].copy_(self._parents_W)

    def keep_input(self, position: int, views: Views) -> None:
        """Take the hidden states that this stage runs next."""
        self._inputs[position] = views[0]
        if len(views) > 1:
            self._parents[position] = views[1]

    def keep_draft(self, position: int, views: Views) -> None:
        """Take a level: the first stage runs it next."""
        if self._is_first:
            self._inputs[position], self._parents[position] = views[0]


class LastOfTreeRole(StageRole):
    """The last stage: of the level that comes next the right node is known, and it runs this one only."""

    def __init__(self, stage: Stage, *, is_first: bool, device: torch.device) -> None:
        super().__init__(stage, is_first=is_first, device=device)
        self._node = 0

    def begin(self, job: Job) -> None:
        """Begin a sequence."""
        super().begin(job)
        self._node = 0

    def forward(self, position: int) -> None:
        """Run the right node of the position, which was the last to be verified."""
        self._inputs[position] = self._inputs[position][self._node : self._node + 1]
        super().forward(position)

    def enter(self, position: int, token: int) -> None:
        """Take note that the tree begins anew."""
        super().enter(position, token)
        self._node = 0

    def keep_node(self, position: int, node: int) -> None:
        """Take a node as the right one at `position`."""
        self._node = node


class TreeDraftRole(DraftRole):
    """The draft module and the tree that it grows.

    A level is chosen when it is sent: where that is after the verdict of its cycle, of chains that are alive only.
    """

    def __init__(self, plan: Plan, drafter: LevelDrafter, draft_token_ids: Tensor | None, device: torch.device) -> None:
        super().__init__(plan, drafter, draft_token_ids, device)
        self._levels, self._device, self._tree = drafter, device, Tree(plan.layout.width)
        self._level_2W = torch.zeros(2, plan.layout.width, dtype=torch.int64, device=device)
        self._children: list[list[Child]] | None = None
        self._position = 0

    def draft(self, position: int, num_in_flight: int) -> None:
        """Find what may follow each node of the newest level; forced, it is one token after the first."""
        logits_RV = self._levels.draft(self._prompt_tokens + position - 1, num_in_flight)
        self._position = position
        if self._coins is not None:
            token_1 = self._forced(position, self._coins.accepts(position, num_in_flight))
            self._children = [[(0.0, int(token_1))]]
        else:
            plan = self._plan
            key = Key(plan.seed, self._sequence, position)
            self._children = children_of(logits_RV, plan.layout.width, plan.sampling, key, self._draft_token_ids)

    def grow(self) -> tuple[int, Tensor] | None:
        """Choose the level that is to be sent, once: return its position and level_2W, its tokens and parents.

        None where it is chosen already, or flushed before it was.
        """
        if self._children is None:
            return None
        level = self._tree.grow(self._children)
        self._children = None
        # A new tensor each time: who verifies holds it until its position comes.
        self._level_2W = level_2W = torch.tensor((level.tokens, level.parents)).to(self._device)
        self._levels.grow(self._prompt_tokens + self._position, level_2W[0], level_2W[1])
        return self._position, level_2W

    def enter(self, position: int, token: int) -> None:
        """Let the tree begin anew with a token that the host knows: y_1, or a corrected one."""
        self._children = None
        self._tree.begin(token)
        super().enter(position, token)

    def keep_node(self, position: int, node: int) -> None:
        """Take a node as the right one at `position`, and cut off all that does not descend from it."""
        self._tree.keep(node)
        self._levels.keep(self._prompt_tokens + position, node)

    def fill_draft(self, position: int, views: Views) -> None:
        """Send the level that was chosen last."""
        views[0].copy_(self._level_2W)

    def keep_features(self, stage: int, position: int, features_TAH: Tensor) -> None:
        """Take what a stage put out for a level."""
        self._levels.put_features(stage, self._prompt_tokens + position, features_TAH)


def children_of(
    logits_RV: Tensor, width: int, sampling: Sampling, key: Key, draft_token_ids_V: Tensor | None = None
) -> list[list[Child]]:
    """Return the `width` likeliest choices of the target after each row at the position of `key`, likeliest first.

    Each with its log-probability; of equals the lowest token.
    """
    size = logits_RV.shape[-1]
    log_p_RV = foreseen(logits_RV, sampling, key, draft_token_ids_V)
    found = best(log_p_RV, min(width, size), torch.arange(size, device=logits_RV.device))
    id_RW = found.id_C if draft_token_ids_V is None else draft_token_ids_V[found.id_C]
    return [list(zip(*row, strict=True)) for row in zip(found.value_C.tolist(), id_RW.tolist(), strict=True)]
