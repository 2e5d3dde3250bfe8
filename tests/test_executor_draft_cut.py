"""Where a cut puts anchors, and what is known of a token at each depth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.draft.cut import Cut
from spdsim.errors import InputError
from spdsim.scenario.build import build_scenario
from spdsim.scenario.placement import anchors, anchors_in_stages, layers_of_stages, layout_of


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    """Any cut of up to 24 layers, with any anchors."""
    layers = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    others = draw(st.sets(st.integers(1, sum(layers))))
    return Cut(tuple(layers), (0, *sorted(others)))


@given(cuts())
def test_every_anchor_is_put_out_once(cut: Cut) -> None:
    """The embedding by the draft rank itself, every other one by the stage that runs the layer before it."""
    of_stages = [index for stage in range(cut.num_stages) for index in cut.anchors_of_stage(stage)]
    assert [0, *of_stages] == list(range(len(cut.anchors)))
    for stage in range(cut.num_stages):
        layers = range(sum(cut.layers[:stage]), sum(cut.layers[: stage + 1]))
        assert all(cut.anchors[index] - 1 in layers for index in cut.anchors_of_stage(stage))


@given(cuts())
def test_the_type_at_a_depth_uses_all_anchors_that_are_known_and_no_other(cut: Cut) -> None:
    """A token at depth d has the embedding and what its first d stages put out."""
    assert len(cut.types) == cut.num_stages + 1
    for depth, kind in enumerate(cut.types):
        known = {0} | {index for stage in range(depth) for index in cut.anchors_of_stage(stage)}
        assert set(range(kind + 1)) == known


@given(cuts(), st.integers(1, 12))
def test_rows_are_the_tokens_in_stages_and_the_completed_one_before_them(cut: Cut, num_in_flight: int) -> None:
    """Oldest first, and each type's rows in one block."""
    num_rows = cut.num_rows(num_in_flight)
    in_stages = min(num_in_flight, cut.num_stages)
    types = cut.row_types(num_rows)
    assert types == (cut.types[-1], *(cut.types[depth] for depth in reversed(range(in_stages))))
    blocks = cut.row_blocks(num_rows)
    assert [kind for kind, rows in blocks for _ in range(rows.start, rows.stop)] == list(types)
    assert len({kind for kind, _ in blocks}) == len(blocks)


def type_by_largest_stage(cut: Cut, depth: int) -> int:
    """Return the type at a depth as the authors' programs reckon it: as if every stage were the largest."""
    available = min(sum(cut.layers), depth * max(cut.layers))
    return max(kind for kind, anchor in enumerate(cut.anchors) if anchor <= available)


@given(st.integers(1, 8), st.integers(1, 5), st.data())
def test_types_of_an_even_cut_are_the_authors(num_stages: int, each: int, data: st.DataObject) -> None:
    """So that a module that was trained with their programs reads here what it read there."""
    others = data.draw(st.sets(st.integers(1, num_stages * each), max_size=num_stages))
    cut = Cut((each,) * num_stages, (0, *sorted(others)))
    assert list(cut.types) == [type_by_largest_stage(cut, depth) for depth in range(num_stages + 1)]


def test_types_of_an_uneven_cut_are_those_that_a_token_has() -> None:
    """Where the authors' are those of the largest stage: at depth 1, anchor 3 would be read before it is there."""
    cut = Cut((2, 4), (0, 3, 6))
    assert cut.types == (0, 0, 2)
    assert [type_by_largest_stage(cut, depth) for depth in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("stages", [2, 3, 5])
@pytest.mark.parametrize("written", [1, 3, 5, (0, 4, 7, 11)])
def test_the_simulator_cuts_alike(stages: int, written: int | tuple[int, ...]) -> None:
    """The stages that it takes to send features, and how many anchors each."""
    scenario = build_scenario({
        "model": "qwen3-4b",
        "devices": {"gpu": "h100-sxm", "count": stages + 1},
        "links": {"intra_node": "nvlink4"},
        "partition": {"stages": stages},
        "draft": {"anchors": written},
        "acceptance": {"kind": "bernoulli", "p": 0.8},
    })  # fmt: skip
    cut = Cut(layers_of_stages(scenario), anchors(scenario))
    counts = tuple(len(cut.anchors_of_stage(stage)) for stage in range(stages))
    assert counts == anchors_in_stages(scenario)
    assert layout_of(scenario).feature_stages == tuple(stage for stage, count in enumerate(counts) if count)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ((), "must begin with 0"),
        ((1, 2), "must begin with 0"),
        ((0, 2, 2), "must rise"),
        ((0, 3, 1), "must rise"),
        ((0, 5), "must be at most 4, the number of layers"),
    ],
)
def test_anchors_that_no_target_has_are_refused(wrong: tuple[int, ...], rule: str) -> None:
    """As one line that says the rule."""
    with pytest.raises(InputError, match=rule):
        Cut((2, 2), wrong)
