"""The sentences of a report on its losses."""

from dataclasses import replace

from spdsim.analysis.report import STEPS, WaterfallStep
from spdsim.render.look import Look
from spdsim.render.losses import largest_loss
from tests.reports import report

LOOK = Look()


def told(**factors: float) -> str:
    """Return what is said of a waterfall with these factors, 1 where none is given."""
    steps = tuple(WaterfallStep(step, 7.0, factors.get(step, 1.0)) for step in STEPS)
    return largest_loss(replace(report(), waterfall=steps), LOOK)


def test_after_rejections_the_next_loss_is_named() -> None:
    """Rejections lead almost everywhere: the next loss is what a machine's owner can change."""
    assert told(rejections=0.5, draft=0.73, links=0.9).endswith(
        f"would help most. After it: draft ({LOOK.times}0.730)."
    )


def test_a_small_next_loss_is_left_out() -> None:
    """A few per cent are not worth a sentence."""
    assert "After it" not in told(rejections=0.5, draft=0.97)
    assert "After it" not in told(rejections=0.5)


def test_nothing_follows_another_loss() -> None:
    """A largest loss that the machine's owner can change is enough."""
    assert "After it" not in told(draft=0.5, rejections=0.7)


def test_fewer_stages_are_not_advised_against_rejections() -> None:
    """A longer pipeline loses more to rejections and is faster all the same."""
    assert "fewer stages" not in told(rejections=0.5)
