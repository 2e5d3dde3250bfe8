"""One worker: what each op of the schedule means to its roles. The interpreter calls it op by op.

Positions are the schedule's (0 is y_1). Knows nothing of time or of how messages travel.
"""

from collections.abc import Callable
from functools import partial

import torch

from executor.plan import Job, Plan
from executor.transport.message import Views
from executor.worker.draft_role import DraftRole
from executor.worker.emulated import EmulatedJudge
from executor.worker.judge import ShardedHead, WholeHead
from executor.worker.stage_role import StageRole
from spdsim.errors import ScheduleError
from spdsim.schedules.ops import Compute, Recv, Send, Verdict
from spdsim.schedules.spd import PipelineState

Judge = WholeHead | ShardedHead | EmulatedJudge

Act = Callable[[int], None]
"""Compute for a position."""
Move = Callable[[int, Views], None]
"""Fill a message about a position, or take one."""
Commit = Callable[[Verdict], None]
"""What the driver does with a verified token."""


class Worker:
    """The roles of a worker, None where another has them, and the verdict of the cycle at hand."""

    def __init__(
        self, plan: Plan, index: int, device: torch.device,
        stage: StageRole | None, drafts: DraftRole | None, judge: Judge | None, catch_up: Callable[[], None],
    ) -> None:  # fmt: skip
        """catch_up: waits until the device has done what it was asked for; before a verdict is read."""
        layout = plan.layout
        self._plan, self.index, self.device = plan, index, device
        self._stage, self._drafts, self._judge = stage, drafts, judge
        self._catch_up = catch_up
        self._commit: Commit = _ignore
        self._is_source = index == layout.verdict_source
        self._is_last_stage = layout.role(index) == "stage" and layout.stage_of(index) == layout.num_stages - 1
        self._is_speculative = False
        self._verdict: Verdict | None = None
        self._is_tree = layout.width > 1
        # A tree's verdict names the node that is right, too.
        self._verdict_2 = torch.zeros(2 + self._is_tree, dtype=torch.int64)
        # Written as plain memory: to make a tensor of two numbers takes longer than all else that a verdict needs.
        self._verdict_memory = self._verdict_2.numpy()
        self._awaited: int | None = None
        self._num_in_flight = 0
        # What left the last stage is verified after the stage has run on, so it is kept here.
        shape = (layout.verification_lag + 2, 1, plan.scenario.model.hidden_size)
        self._left = torch.empty(shape, dtype=getattr(torch, plan.dtype), device=device)

    def begin(self, job: Job, commit: Commit) -> None:
        """Begin a sequence; `commit` is told of every verified token, on the driver."""
        self._commit = commit
        self._is_speculative = job.method == "spd" and self._plan.layout.num_stages > 1
        if self._stage is not None:
            self._stage.begin(job)
        if self._drafts is not None and self._is_speculative:
            self._drafts.begin(job)
        if self._judge is not None:
            self._judge.begin(job.sequence, has_drafts=self._is_speculative)

    def end(self, job: Job, tokens: tuple[int, ...]) -> None:
        """End a sequence; what plain decoding gave is what forced drafts are right about."""
        if self._drafts is not None and job.method == "plain":
            self._drafts.learn(job.sequence, tokens)

    def begin_cycle(self, state: PipelineState, awaited: int | None) -> None:
        """Begin a cycle, which brings a verdict on position `awaited` if that is not None."""
        self._verdict, self._awaited = None, awaited
        self._num_in_flight = len(state.in_flight)

    def settle(self) -> Verdict | None:
        """Return the verdict of this cycle, None if it has none; where it is found, the host waits for it here."""
        if self._verdict is None and self._awaited is not None:
            if not self._is_source or self._judge is None:
                raise ScheduleError(f"worker {self.index}: the verdict on {self._awaited} is needed before it comes")
            self._catch_up()
            verdict = self._judge.verdict(self._awaited)
            self._verdict_memory[0], self._verdict_memory[1] = verdict.accepted, verdict.token
            if self._is_tree:
                self._verdict_memory[2] = verdict.node
            self._learn(self._awaited, verdict)
        return self._verdict

    # What an op means; looked up once for each shape of the state.

    def act(self, op: Compute) -> Act:
        """Return what to do for a computation."""
        match op.task:
            case "prefill" if self._drafts is not None:
                return self._drafts.prefill
            case "prefill":
                return self._run_prompt
            case "forward":
                return self._run
            case "draft":
                return self._draft
            case "verify":
                return self._judge_here.verify
            case "combine":
                return self._shards_here.combine
            case "commit":
                return self._commit_verified
            case "rollback":
                return _overwrite

    def fill(self, op: Send) -> Move:
        """Return how to fill a message."""
        match op.payload:
            case "hidden":
                return self._stage_here.fill_last_hidden if self._is_last_stage else self._stage_here.fill_hidden
            case "features":
                return self._stage_here.fill_features
            case "draft":
                return self._fill_draft if self._is_tree else self._drafts_here.fill_draft
            case "verdict":
                return self._fill_verdict
            case "partial":
                return self._fill_partial

    def keep(self, op: Recv, *, is_prefill: bool) -> Move:
        """Return how to take a message."""
        layout = self._plan.layout
        match op.payload:
            case "hidden" if op.source == layout.num_stages:
                return partial(self._keep_last_hidden, is_prefill)
            case "hidden":
                return self._stage_here.keep_input
            case "features":
                return partial(self._keep_features, layout.stage_of(op.source), is_prefill)
            case "draft":
                return self._keep_draft
            case "verdict":
                return self._keep_verdict
            case "partial":
                return partial(self._shards_here.keep_partial, op.source)

    # Computations.

    def _run_prompt(self, position: int) -> None:
        self._stage_here.prefill(position)
        self._leave(position)

    def _run(self, position: int) -> None:
        self._stage_here.forward(position)
        self._leave(position)

    def _leave(self, position: int) -> None:
        if self._is_last_stage and self._judge is not None:
            left_1H = self._left[position % len(self._left)].copy_(self._stage_here.output.hidden_TH[-1:])
            self._judge.keep_hidden(position, left_1H)

    def _draft(self, position: int) -> None:
        drafts = self._drafts_here
        drafts.draft(position, self._num_in_flight)
        # A level of a tree is chosen when it is sent, which may be after the verdict.
        if self._judge is not None and not self._is_tree:
            self._judge.keep_draft(position, drafts.token_1, drafts.law)

    def _commit_verified(self, position: int) -> None:
        verdict = self.settle()
        assert verdict is not None, "a commit follows a verdict"
        self._commit(verdict)

    # Messages.

    def _fill_verdict(self, position: int, views: Views) -> None:
        self.settle()
        # In plain decoding a message has no room for a node.
        views[0].copy_(self._verdict_2[: views[0].numel()] if self._is_tree else self._verdict_2)
        if len(views) > 1 and self._is_speculative and position > 0:
            self._fill_draft(position, views[1:])

    def _fill_draft(self, position: int, views: Views) -> None:
        drafts = self._drafts_here
        if self._is_tree and (level := drafts.grow()) is not None and self._judge is not None:
            self._judge.keep_draft(level[0], level[1], None)
        drafts.fill_draft(position, views)

    def _fill_partial(self, position: int, views: Views) -> None:
        for view, found in zip(views, self._shards_here.partial(position), strict=True):
            view.copy_(found)

    def _keep_last_hidden(self, is_prefill: bool, position: int, views: Views) -> None:
        self._judge_here.keep_hidden(position, views[0])
        if len(views) > 1 and self._is_speculative:
            self._take_features(self._plan.layout.num_stages - 1, is_prefill, position, views[1])

    def _keep_features(self, stage: int, is_prefill: bool, position: int, views: Views) -> None:
        # A stage without anchors is heard from in lockstep all the same.
        if views[0].dim() > 1:
            self._take_features(stage, is_prefill, position, views[0])

    def _take_features(self, stage: int, is_prefill: bool, position: int, features_TAH: torch.Tensor) -> None:
        if is_prefill:
            self._drafts_here.keep_prompt_features(stage, features_TAH)
        else:
            self._drafts_here.keep_features(stage, position, features_TAH)

    def _keep_draft(self, position: int, views: Views) -> None:
        if self._stage is not None:
            self._stage.keep_draft(position, views)
        if self._judge is not None:
            self._judge.keep_draft(position, views[0], views[1] if len(views) > 1 else None)

    def _keep_verdict(self, position: int, views: Views) -> None:
        accepted, token, *node = views[0].tolist()
        if len(views) > 1 and self._is_speculative and position > 0:
            # With the verdict on the oldest draft comes the newest one.
            self._keep_draft(position + self._num_in_flight - 1, views[1:])
        self._learn(position, Verdict(bool(accepted), token, *node))

    def _learn(self, position: int, verdict: Verdict) -> None:
        self._verdict = verdict
        if not verdict.accepted or position == 0 or not self._is_speculative:
            if self._stage is not None:
                self._stage.enter(position, verdict.token)
            if self._drafts is not None and self._is_speculative:
                self._drafts.enter(position, verdict.token)
            if self._is_tree and self._judge is not None:
                self._judge.keep_node(0)
        elif self._is_tree:
            for role in (self._stage, self._drafts):
                if role is not None:
                    role.keep_node(position, verdict.node)
            if self._judge is not None:
                self._judge.keep_node(verdict.node)

    # A schedule asks nobody for what he has not.

    @property
    def _stage_here(self) -> StageRole:
        assert self._stage is not None
        return self._stage

    @property
    def _drafts_here(self) -> DraftRole:
        assert self._drafts is not None
        return self._drafts

    @property
    def _judge_here(self) -> Judge:
        assert self._judge is not None
        return self._judge

    @property
    def _shards_here(self) -> ShardedHead | EmulatedJudge:
        assert isinstance(self._judge, ShardedHead | EmulatedJudge)
        return self._judge


def _overwrite(position: int) -> None:
    """All that a rollback needs: caches and rings of states are overwritten by position."""


def _ignore(verdict: Verdict) -> None:
    """What becomes of a verified token before there is a sequence."""
