"""What the numbers of a machine rest on: listed where used, refused where said of nothing."""

import json
from pathlib import Path

import pytest

from spdsim.errors import ScenarioError
from spdsim.machine import Origin
from spdsim.scenario import Scenario, load_scenario
from spdsim.scenario.document import scenario_document
from spdsim.timing import machine_of

BASE = """\
model: tiny
devices: {gpu: h100-sxm, nodes: 2, per_node: 2}
links: {intra_node: nvlink4, inter_node: infiniband-ndr}
partition: {stages: 2}
acceptance: {kind: bernoulli, p: 0.8}
workload: {new_tokens: 8}
"""
PROFILE = "forward: 1e-3, draft: 1e-3, verify: 1e-4, origin: measured, source: a run"


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(BASE)
    return path


def profile(*more: str) -> str:
    """Return the setting of a profile with some more keys."""
    return f"timing={{kind: profile, profile: {{{', '.join((PROFILE, *more))}}}}}"


def origins(path: Path, *settings: str) -> dict[str, Origin]:
    """Return the origins of a machine by what they are of."""
    return {origin.what: origin for origin in machine_of(load_scenario(path, settings)).origins}


# Profiles


def test_a_profile_without_origins_of_figures_is_one_line(path: Path) -> None:
    """Its own origin and source."""
    found = origins(path, profile())
    assert found["profile"] == Origin("profile", "measured", "a run")
    assert not any(what.startswith(("profile ", "profile,")) for what in found)


def test_figures_of_a_profile_have_origins_of_their_own(path: Path) -> None:
    """And the others the profile's."""
    found = origins(path, profile("figures: {draft: {origin: assumed, source: a guess}}"))
    assert found["profile draft"] == Origin("profile draft", "assumed", "a guess")
    assert found["profile, other figures"] == Origin("profile, other figures", "measured", "a run")
    assert "profile" not in found


def test_nothing_is_left_for_the_profile_where_every_figure_has_its_own(path: Path) -> None:
    """A line on no figure would count as evidence."""
    known = "{origin: published, source: x}"
    found = origins(path, profile(f"figures: {{draft: {known}, forward: {known}, verify.mean_s: {known}}}"))
    assert not {"profile", "profile, other figures"} & found.keys()


def test_figures_that_no_task_uses_are_not_listed(path: Path) -> None:
    """Sampling when greedy, drafts with one stage, messages that cross no link, other nodes."""
    known = "{origin: assumed, source: x}"
    keys = ("draft", "draft_sampling", "messages.hidden.post_s", "messages.hidden.inter_node_post_s")
    figures = ", ".join(f"{key}: {known}" for key in keys)
    given = "draft_sampling: 1e-4, messages: {hidden: {post_s: 1e-5, inter_node_post_s: 2e-5}}"
    written = profile(given, f"figures: {{{figures}}}")

    def listed(*settings: str) -> set[str]:
        return {what.removeprefix("profile ") for what in origins(path, written, *settings) if "profile " in what}

    assert listed() == {"draft", "messages.hidden.post_s", "messages.hidden.inter_node_post_s"}
    assert "draft_sampling" in listed("runtime.sampling=sampled")
    assert "messages.hidden.inter_node_post_s" not in listed("devices={gpu: h100-sxm, count: 3}")
    assert listed("partition.stages=1", "devices={gpu: h100-sxm, count: 3}") == set()


# Links


def link_keys(path: Path, *settings: str) -> set[str]:
    """Return the figures of links that are listed, without the link's name in the catalogue."""
    words = [what.split() for what in origins(path, *settings) if what.startswith("links.")]
    return {f"{word[0].removeprefix('links.')}.{word[-1]}" for word in words}


ALL = ("latency_s", "bandwidth_bytes_per_s", "post_s", "receive_s")


def test_a_link_that_nothing_crosses_is_not_listed(path: Path) -> None:
    """The draft rank and stage 0 share a node here, and stage 1 is on another."""
    both = {f"{link}.{key}" for link in ("intra_node", "inter_node") for key in ALL}
    assert link_keys(path) == both
    assert link_keys(path, "devices={gpu: h100-sxm, count: 3}") == {f"intra_node.{key}" for key in ALL}
    assert link_keys(path, "devices={gpu: h100-sxm, count: 1}") == set()


def test_a_profile_that_times_every_message_needs_no_figure_of_a_link(path: Path) -> None:
    """One that leaves out something of one payload needs that figure."""
    times = "{post_s: 1e-5, transit_s: 1e-5, receive_s: 0}"
    three = ", ".join(f"{payload}: {times}" for payload in ("features", "draft", "verdict"))
    assert link_keys(path, profile(f"messages: {{hidden: {times}, {three}}}")) == set()
    hidden = "{inter_node_post_s: 1e-5, transit_s: 1e-5, receive_s: 0}"
    # Between nodes its post is known; within one it is the link's.
    known = profile(f"messages: {{hidden: {hidden}, {three}}}")
    assert link_keys(path, known) == set()
    assert link_keys(path, known, "devices={gpu: h100-sxm, count: 3}") == {"intra_node.post_s"}
    without = "{post_s: 1e-5, receive_s: 0}"
    found = link_keys(path, profile(f"messages: {{hidden: {without}, {three}}}"), "devices={gpu: h100-sxm, count: 3}")
    assert found == {"intra_node.latency_s", "intra_node.bandwidth_bytes_per_s"}


# Models


def test_changed_keys_of_a_model_are_assumed(path: Path) -> None:
    """The base keeps its origin and its source."""
    found = origins(path, "model={base: qwen3-4b, weight_bits: 4, weight_group_size: 128, name: mine}")
    assert found["model (mine)"] == Origin("model (mine)", "published", "config.json of Qwen/Qwen3-4B")
    for key in ("weight_bits", "weight_group_size"):
        what = f"model (mine) {key}"
        assert found[what] == Origin(what, "assumed", "given in the scenario")


def test_a_source_of_ones_own_is_not_taken_apart(path: Path) -> None:
    """Only what the program itself adds to a source names keys."""
    found = origins(path, 'model={base: tiny, num_layers: 12, source: "a; b as the scenario says"}')
    assert found["model (tiny)"].source == "a; b as the scenario says"
    assert [what for what in found if what.startswith("model")] == ["model (tiny)"]


def test_the_bandwidth_of_quantised_weights_is_an_assumption(path: Path) -> None:
    """No published table of products has them; a profile does not need the fraction."""
    what = "timing bandwidth_fraction of quantised weights"
    quantised = "model={base: tiny, weight_bits: 8}"
    assert origins(path, quantised)[what] == Origin(what, "assumed", "as that of 16-bit weights")
    assert what not in origins(path)
    assert what not in origins(path, "model={base: tiny, weight_bits: 16}")
    assert what not in origins(path, quantised, profile())


# What is refused


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("timing={kind: roofline, provenance: {host_per_ops_s: {}}}",
         "timing.provenance.host_per_ops_s is the origin of no figure: did you mean host_per_op_s?"),
        ("timing={kind: roofline, provenance: {host_per_op_s: {}}}",
         "timing.provenance.host_per_op_s is given for a figure that is not: give the figure too"),
        ("timing={kind: roofline, host_per_op_s: null, provenance: {host_per_op_s: {}}}",
         "timing.provenance.host_per_op_s is given for a figure that is not: give the figure too"),
        ("timing={kind: roofline, provenance: {rollback_s: {}}}",
         "timing.provenance.rollback_s is given for a figure that is not: give the figure too"),
        ("devices.gpu={base: h100-sxm, provenance: {flop_per_s: {}}}",
         "devices.gpu.provenance.flop_per_s is the origin of no figure: did you mean flops_per_s?"),
        ("devices.gpu={name: x, bandwidth_bytes_per_s: 1e12, flops_per_s: 1e12, provenance: {memory_bytes: {}}}",
         "devices.gpu.provenance.memory_bytes is given for a figure that is not: give the figure too"),
        ("links.intra_node={base: nvlink4, provenance: {xyz: {}}}",
         "links.intra_node.provenance.xyz is the origin of no figure: must be one of latency_s, bandwidth_bytes_per_s"),
        ("links.inter_node={latency_s: 1e-6, bandwidth_bytes_per_s: 1e9, provenance: {post_s: {}}}",
         "links.inter_node.provenance.post_s is given for a figure that is not: give the figure too"),
        ("devices.gpu={base: h100-sxm, provenance: null}", "devices.gpu.provenance is null: must be a mapping"),
        (profile("figures: {draft_fixed: {}}"),
         "timing.profile.figures.draft_fixed is no figure of this profile: must be the dotted key of a number in it"),
        (profile("backing: {uncertainty: [{says: x, shifts: {drift: 1e-6}}]}"),
         "timing.profile.backing.uncertainty[0].shifts.drift is no figure of this profile: "),
        (profile("backing: {alternatives: [{says: x, figures: {control.per_rank_s: 1e-6}}]}"),
         "timing.profile.backing.alternatives[0].figures.control.per_rank_s is no figure of this profile: "),
        (f"timing={{kind: profile, profile: {{{PROFILE.replace('draft: 1e-3', 'draft: 0.5 ms')}}}}}",
         'timing.profile.draft is "0.5 ms": must be a number of seconds, or a mapping with a `kind`'),
        ("devices.gpu=h101", "(did you mean h100-sxm?), or give its figures"),
        ("links.intra_node=wire", "loopback, or give its figures"),
    ],
)  # fmt: skip
def test_what_would_be_lost_without_a_word_is_refused(path: Path, setting: str, expected: str) -> None:
    """One line, with the nearest name or what to do."""
    with pytest.raises(ScenarioError) as raised:
        load_scenario(path, [setting])
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_figures_of_a_profile_in_a_file_are_refused_at_their_line(path: Path) -> None:
    """As `spdsim validate` refuses them."""
    lines = ["format: spd-profile", "version: 1", *PROFILE.split(", "), "figures:", "  drafts: {origin: measured}"]
    path.with_name("p.yaml").write_text("\n".join(lines))
    path.write_text(f"{BASE}timing: {{kind: profile, profile: p.yaml}}\n")
    with pytest.raises(ScenarioError, match=r"p\.yaml:9: figures\.drafts is no figure of this profile"):
        load_scenario(path)


@pytest.mark.parametrize(
    "setting",
    [
        "timing={kind: roofline, host_per_op_s: 1e-6, provenance: {host_per_op_s: {origin: measured, source: x}}}",
        "model={base: tiny, weight_bits: 4}",
        profile("figures: {draft: {origin: assumed, source: a guess}}"),
    ],
)
def test_a_dumped_scenario_has_the_same_origins(path: Path, setting: str) -> None:
    """The document that `--json` shows loads again and rests on the same, but for defaults, which it gives."""
    first = load_scenario(path, [setting])
    again = path.with_name("again.yaml")
    again.write_text(json.dumps(scenario_document(first)))

    def told(scenario: Scenario) -> list[Origin]:
        return [origin for origin in machine_of(scenario).origins if origin.what != "timing rollback_s"]

    assert told(load_scenario(again)) == told(first)
