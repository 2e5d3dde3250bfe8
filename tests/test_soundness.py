"""Traces that cannot be: a recorder's slip is told, not reported as a figure."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from spdsim.analysis.summary import summarize
from spdsim.errors import TraceError
from spdsim.schedules.spd import Layout, LmHead
from spdsim.trace import Site, Span, Trace
from tests.machines import PLACEMENTS, machine, play

Edit = Callable[[list[Span]], list[Span]]


def rewritten(trace: Trace, edit: Edit) -> Trace:
    """Return `trace` with its spans edited."""
    copy = Trace(trace.header)
    copy.begin_sequence()
    for span in edit(list(trace.spans())):
        site = Site(span.worker, span.op, span.peer, span.bytes, span.accepted)
        copy.record(copy.site_id(site), span.cycle, span.position, span.start_s, span.end_s)
    return copy


def without(op: str, cycle: int) -> Edit:
    """Leave out the first span of `op` in `cycle`."""

    def edit(spans: list[Span]) -> list[Span]:
        spans.remove(next(span for span in spans if (span.op, span.cycle) == (op, cycle)))
        return spans

    return edit


def twice(op: str, cycle: int) -> Edit:
    """Record the first span of `op` in `cycle` twice."""

    def edit(spans: list[Span]) -> list[Span]:
        at = next(i for i, span in enumerate(spans) if (span.op, span.cycle) == (op, cycle))
        return [*spans[: at + 1], spans[at], *spans[at + 1 :]]

    return edit


def longer(spans: list[Span]) -> list[Span]:
    """Let one forward run into what its worker does next."""
    at = next(i for i, span in enumerate(spans) if (span.op, span.cycle) == ("forward", 2))
    spans[at] = replace(spans[at], end_s=spans[at].end_s + 0.5)
    return spans


def renamed(spans: list[Span]) -> list[Span]:
    """Let a commit speak of another position."""
    return [replace(s, position=9) if (s.op, s.cycle) == ("commit", 3) else s for s in spans]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (without("send hidden", 2), r'sequence 0, cycle 2: "recv hidden" of worker 0 .*: the message was never sent'),
        (without("recv features", 2), r'cycle 2: "send features" of worker .* was received 0 times, not once'),
        (twice("send verdict", 2), r'cycle 2: "send verdict" .* was received 0 times, not once'),
        (without("forward", 2), r"sequence 0 has 9 forward spans that led to its 5 verdicts: must be 10"),
        (twice("forward", 2), r'cycle 2: worker 2 begins "forward" before its last op has ended'),
        (without("commit", 2), r"position 3 is committed where position 2 was next"),
        (longer, r'cycle 2: worker 2 begins "send hidden" before its last op has ended'),
        (renamed, r"cycle 3: position 9 is committed where position 3 was next"),
    ],
)
def test_a_trace_with_a_slip_is_refused_and_the_slip_named(edit: Edit, expected: str) -> None:
    """Sequence, cycle, worker and op, so that the recorder can be mended."""
    trace = play(machine(Layout(2), forward=1, draft=0.5, verify=0.2, hop=0.1), "AAAAA")
    assert summarize(trace).num_tokens == 6
    with pytest.raises(TraceError, match=expected):
        summarize(rewritten(trace, edit))


def test_a_header_with_other_stages_than_its_workers_is_refused() -> None:
    """The figures divide by the number of stages."""
    trace = play(machine(Layout(2)), "AA")
    trace.header = replace(trace.header, num_stages=9)
    with pytest.raises(TraceError, match="workers has 2 of role stage: num_stages says 9"):
        summarize(trace)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("lag", [0, 1, 2])
def test_every_trace_of_the_simulator_is_sound(placement: LmHead, lag: int) -> None:
    """With rejections, and several sequences in one trace."""
    layout = Layout(3, placement, lag)
    assert summarize(play(machine(layout, forward=1, draft=0.4, verify=0.3, hop=0.1), "ARRAARA")).num_rejections == 3
