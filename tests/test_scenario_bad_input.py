"""Bad input: each case gets one line with file, line, key, value and rule, and nothing else."""

from pathlib import Path

import pytest

from spdsim.errors import ScenarioError
from spdsim.scenario import load_scenario
from spdsim.scenario.catalogue import entries

GOOD = """\
model: tiny
devices:
  gpu: {name: gpu, memory_bytes: 1e9}
  count: 3
links:
  intra_node: {latency_s: 1e-6, bandwidth_bytes_per_s: 1e9}
partition:
  stages: 2
  layers: even
acceptance:
  kind: bernoulli
  p: 0.8
timing:
  kind: profile
  profile:
    forward: 1e-3
    draft: 1e-3
    verify: 1e-4
workload:
  new_tokens: 8
seed: 0
"""

KINDS = "bernoulli, by_fill_depth, by_stages, by_draft_layers, by_width, markov, beta, replay"

# What is written in the place of what, and the line that it gives.
CHANGES = {
    "stages that take no time": (
        "forward: 1e-3", "forward: [0, 0]",
        "x.yaml:16: timing.profile.forward takes no time: must be at least a nanosecond in one stage: "
        "there is nothing to speed up",
    ),
    "a duration in the wrong unit": (
        "draft: 1e-3", "draft: 1.5e+6", "x.yaml:17: timing.profile.draft is 1500000.0: must be at most 1e+06"
    ),
    "a spread beyond all sense": (
        "draft: 1e-3", "draft: {kind: gamma, mean_s: 1e-3, cv: 1e+200}",
        "x.yaml:17: timing.profile.draft.cv is 1e+200: must be at most 100",
    ),
    "a key of another duration": (
        "draft: 1e-3", "draft: {kind: gamma, mean_s: 1e-3, cv: 1, std_s: 0}",
        "x.yaml:17: timing.profile.draft.std_s is not a known key: "
        "known here: per_context_token_s, by_fill_depth, kind, mean_s, cv",
    ),
    "a lag without end": (
        "layers: even", "verification_lag: 1000000000",
        "x.yaml:9: partition.verification_lag is 1000000000: must be at most 1000",
    ),
    "a key that is a number": ("seed: 0", "3: 0", "x.yaml:21: [3] is 3: a key must be a word"),
    "a key that is nothing": ("seed: 0", "? \n: 0", "x.yaml:21: a key must be a word"),
    "no stages": ("stages: 2", "stages: 0", "x.yaml:8: partition.stages is 0: must be at least 1"),
    "more stages than layers": (
        "stages: 2", "stages: 9", "x.yaml:8: partition.stages is 9: must be at most the model's 8 layers"
    ),
    "stages in words": ("stages: 2", "stages: two", 'x.yaml:8: partition.stages is "two": must be a whole number'),
    "half a stage": ("stages: 2", "stages: 2.5", "x.yaml:8: partition.stages is 2.5: must be a whole number"),
    "stages true": ("stages: 2", "stages: true", "x.yaml:8: partition.stages is true: must be a whole number"),
    "stages null": ("stages: 2", "stages:", "x.yaml:8: partition.stages is null: must be a whole number"),
    "a cut that does not add up": (
        "layers: even", "layers: [4, 5]",
        "x.yaml:9: partition.layers is [4, 5]: must add up to the model's 8 layers, not 9",
    ),
    "a cut of another length": (
        "layers: even", "layers: [3, 3, 2]",
        "x.yaml:9: partition.layers is [3, 3, 2]: must have 2 entries, one for each of partition.stages",
    ),
    "an empty stage": ("layers: even", "layers: [8, 0]", "x.yaml:9: partition.layers[1] is 0: must be at least 1"),
    "a cut by another name": ("layers: even", "layers: evn", 'x.yaml:9: partition.layers is "evn": must be `even`'),
    "a cut that is a number": (
        "layers: even", "layers: 4", "x.yaml:9: partition.layers is 4: must be a name or a list"
    ),
    "a misspelt key": (
        "stages: 2", "stagse: 2", "x.yaml:8: partition.stagse is not a known key: did you mean `partition.stages`?"
    ),
    "a key of another mapping": (
        "seed: 0", "stages: 4", "x.yaml:21: stages is not a known key: did you mean `partition.stages`?"
    ),
    "a key of another kind": (
        "p: 0.8", "p: 0.8\n  concentration: 3",
        "x.yaml:13: acceptance.concentration is not a known key: known here: origin, source, kind, p",
    ),
    "a probability above 1": ("p: 0.8", "p: 1.2", "x.yaml:12: acceptance.p is 1.2: must be at most 1"),
    "a negative probability": ("p: 0.8", "p: -0.1", "x.yaml:12: acceptance.p is -0.1: must be at least 0"),
    "a probability that is no number": ("p: 0.8", "p: .nan", "x.yaml:12: acceptance.p is .nan: must be finite"),
    "a list of probabilities with one too large": (
        "kind: bernoulli\n  p: 0.8", "kind: by_fill_depth\n  p: [0.8, 8]",
        "x.yaml:12: acceptance.p[1] is 8: must be at most 1",
    ),
    "a misspelt kind": (
        "kind: bernoulli", "kind: bernouli",
        f'x.yaml:11: acceptance.kind is "bernouli": must be one of {KINDS} (did you mean bernoulli?)',
    ),
    "no kind": ("kind: bernoulli\n", "", f"x.yaml:10: acceptance.kind is missing: must be one of {KINDS}"),
    "a negative duration": (
        "draft: 1e-3", "draft: -1e-3", "x.yaml:17: timing.profile.draft is -0.001: must be at least 0"
    ),
    "a negative mean": (
        "draft: 1e-3", "draft: {kind: gamma, mean_s: -1, cv: 1}",
        "x.yaml:17: timing.profile.draft.mean_s is -1: must be at least 0",
    ),
    "a duration that is no number": (
        "draft: 1e-3", "draft: .nan", "x.yaml:17: timing.profile.draft is .nan: must be finite"
    ),
    "an endless duration": ("draft: 1e-3", "draft: .inf", "x.yaml:17: timing.profile.draft is .inf: must be finite"),
    "a duration without its spread": (
        "draft: 1e-3", "draft: {kind: normal, mean_s: 1}",
        "x.yaml:17: timing.profile.draft.std_s is missing: must be given",
    ),
    "no samples": (
        "draft: 1e-3", "draft: {kind: empirical, samples_s: []}",
        "x.yaml:17: timing.profile.draft.samples_s is []: must have at least 1 entry",
    ),
    "zero bandwidth": (
        "bandwidth_bytes_per_s: 1e9", "bandwidth_bytes_per_s: 0",
        "x.yaml:6: links.intra_node.bandwidth_bytes_per_s is 0: must be greater than 0",
    ),
    "a profile without forward": (
        "forward: 1e-3", "commit: 1e-3",
        "x.yaml:15: timing.profile.forward is missing: a profile needs this task (or forward_per_layer)",
    ),
    "a profile without verify": (
        "    verify: 1e-4\n", "", "x.yaml:15: timing.profile.verify is missing: a profile needs this task "
        "(or verify_per_byte_s)"
    ),
    "a profile that lacks two tasks": (
        "    draft: 1e-3\n    verify: 1e-4\n", "",
        "x.yaml:15: timing.profile.draft is missing: a profile needs this task (or draft_per_layer) (and 1 more)",
    ),
    "a list of stage times of another length": (
        "forward: 1e-3", "forward: [1e-3]",
        "x.yaml:16: timing.profile.forward has 1 entry: must have 2, one for each of partition.stages",
    ),
    "a time for a stage and for a layer": (
        "forward: 1e-3", "forward: 1e-3\n    forward_per_layer: 1e-3",
        "x.yaml:16: timing.profile.forward is given beside forward_per_layer: must be one of the two",
    ),
    "a profile that is not there": (
        "timing:\n  kind: profile\n  profile:\n    forward: 1e-3\n    draft: 1e-3\n    verify: 1e-4\n",
        "timing:\n  kind: profile\n  profile: none.yaml\n",
        'x.yaml:15: timing.profile is "none.yaml": there is no such file',
    ),
    "a replay file that is not there": (
        "kind: bernoulli\n  p: 0.8", "kind: replay\n  file: none.jsonl",
        'x.yaml:12: acceptance.file is "none.jsonl": there is no such file',
    ),
    "a replay of nothing": (
        "kind: bernoulli\n  p: 0.8", "kind: replay",
        "x.yaml:10: acceptance.file is missing: must name the recorded verdicts",
    ),
    "verdicts in other letters": (
        "kind: bernoulli\n  p: 0.8", "kind: replay\n  accepted: [AAR, AXR]",
        'x.yaml:12: acceptance.accepted[1] is "AXR": must be written with A (accepted) and R (rejected)',
    ),
    "roofline times of an unknown device": (
        "kind: profile\n  profile:\n    forward: 1e-3\n    draft: 1e-3\n    verify: 1e-4", "kind: roofline",
        "x.yaml:3: devices.gpu.bandwidth_bytes_per_s is missing: must be given for timing of kind roofline "
        "(and 1 more)",
    ),
    "a model that does not fit": (
        "memory_bytes: 1e9", "memory_bytes: 200e3",
        'x.yaml:1: model is "tiny", which needs 1.8 MB where 3 gpu have 0.6 MB: 1.2 MB too much; '
        "no number of these would fit",
    ),
    "a model that fits more devices": (
        "memory_bytes: 1e9}\n  count: 3", "memory_bytes: 900e3}\n  count: 1",
        'x.yaml:1: model is "tiny", which needs 1.7 MB where 1 gpu has 0.9 MB: 0.8 MB too much; 3 devices would fit',
    ),
    "an unknown model": (
        "model: tiny", "model: tini",
        f'x.yaml:1: model is "tini": must be one of {", ".join(entries("models"))} (did you mean tiny?)',
    ),
    "no model": ("model: tiny\n", "", "x.yaml: model is missing: must be given"),
    "no acceptance, misspelt": (
        "acceptance:", "acceptence:", "x.yaml:10: acceptence is not a known key: did you mean `acceptance`?"
    ),
    "a list of devices": (
        "devices:\n  gpu: {name: gpu, memory_bytes: 1e9}\n  count: 3", "devices: [1]",
        "x.yaml:2: devices is [1]: must be a mapping",
    ),
    "no link between nodes": (
        "count: 3", "count: 3\n  per_node: 2", "x.yaml:6: links.inter_node is missing: must be given for several nodes"
    ),
    "no link within a node": (
        "links:\n  intra_node: {latency_s: 1e-6, bandwidth_bytes_per_s: 1e9}\n", "",
        "x.yaml: links.intra_node is missing: must be given for several devices in a node",
    ),
    "anchors that fall": (
        "seed: 0", "draft: {anchors: [0, 4, 2]}",
        "x.yaml:21: draft.anchors is [0, 4, 2]: must start at 0, rise, and end at 8 at most",
    ),
    "a draft vocabulary that is too large": (
        "seed: 0", "draft: {draft_vocab_size: 513}",
        "x.yaml:21: draft.draft_vocab_size is 513: must be at most the model's vocab_size, 512",
    ),
    "no tokens": ("new_tokens: 8", "new_tokens: 0", "x.yaml:20: workload.new_tokens is 0: must be at least 1"),
    "lengths the wrong way round": (
        "new_tokens: 8", "new_tokens: {kind: uniform, low: 9, high: 8}",
        "x.yaml:20: workload.new_tokens.low is 9: must be at most high, 8",
    ),
    "a negative seed": ("seed: 0", "seed: -1", "x.yaml:21: seed is -1: must be at least 0"),
    "a key given twice": ("seed: 0", "seed: 0\nseed: 1", "x.yaml:22: seed is given twice: first in line 21"),
    "two problems": (
        "seed: 0", "seed: -1\nreplications: 0", "x.yaml:21: seed is -1: must be at least 0 (and 1 more)"
    ),
}  # fmt: skip

TEXTS = {
    "empty": (b"", "x.yaml: is empty: must be a mapping of keys"),
    "comments only": (b"# nothing\n", "x.yaml: is empty: must be a mapping of keys"),
    "a list": (b"- 1\n- 2\n", "x.yaml: is [1, 2]: must be a mapping of keys"),
    "not UTF-8": (b"name: a\nmodel: \xff\n", "x.yaml:2: is not text in UTF-8"),
    "not YAML": (b"model: tiny\na: b: c\n", "x.yaml:2: is not YAML: mapping values are not allowed here"),
    "a control character": (b"a: 1\nb: \x00\n", "x.yaml:2: is not YAML: has the character #x0000"),
    "two documents": (
        b"a: 1\n---\nb: 1\n",
        "x.yaml:2: is not YAML: expected a single document in the stream but found another document",
    ),
    "an alias that contains itself": (b"a: &a [*a]\n", "x.yaml:1: an alias contains itself"),
    "a tag": (b"a: !!binary aGk=\n", "x.yaml:1: the tag tag:yaml.org,2002:binary is not allowed"),
    "a key that is a list": (b"? [a]\n: 1\n", "x.yaml:1: a key must be a word"),
    "brackets without end": (b"[" * 1500, "x.yaml: is nested too deeply"),
}  # fmt: skip

SETTINGS = {
    "a misspelt section": (
        "partiton.stages=2", "--set partiton.stages: partiton is not a known key: did you mean `partition`?"
    ),
    "a directory for a profile": (
        "timing.profile=.", '--set timing.profile: timing.profile is ".": is a directory: must be a file'
    ),
    "no value": ("seed", "--set seed: must be KEY=VALUE, such as partition.stages=8"),
    "no key": ("=1", "--set =1: must be KEY=VALUE, such as partition.stages=8"),
    "out of range": ("partition.stages=0", "--set partition.stages: partition.stages is 0: must be at least 1"),
    "too many": (
        "partition.stages=9", "--set partition.stages: partition.stages is 9: must be at most the model's 8 layers"
    ),
    "misspelt": (
        "partition.stage=4",
        "--set partition.stage: partition.stage is not a known key: did you mean `partition.stages`?",
    ),
    "in the wrong place": ("stages=4", "--set stages: stages is not a known key: did you mean `partition.stages`?"),
    "below a number": ("seed.x=4", "--set seed.x: seed is 0: has no keys below it"),
    "a list that is not there": (
        "partition.layers.0=4", '--set partition.layers.0: partition.layers is "even": has no keys below it'
    ),
    "not YAML": ("seed=[1", "--set seed: is not YAML: expected ',' or ']', but got '<stream end>'"),
    "of another kind, which needs more": (
        "acceptance.kind=beta", "x.yaml:10: acceptance.concentration is missing: must be given"
    ),
}  # fmt: skip

PROFILE_HEAD = "format: spd-profile\nversion: 1\norigin: measured\nsource: a test\n"
PROFILES = {
    "no head": (
        "forward: 1\n", "p.yaml: format is missing: a profile file begins with format: spd-profile, version: 1, "
        "origin and source",
    ),
    "another version": (PROFILE_HEAD.replace("1", "2"), "p.yaml:2: version is 2: this spdsim reads version 1"),
    "a negative duration": (PROFILE_HEAD + "verify: -1\n", "p.yaml:5: verify is -1: must be at least 0"),
    "an unknown task": (
        PROFILE_HEAD + "verfy: 1\n", "p.yaml:5: verfy is not a known key: did you mean `timing.profile.verify`?"
    ),
    "a task too few": (
        PROFILE_HEAD + "forward: 1\ndraft: 1\n", "p.yaml: verify is missing: a profile needs this task "
        "(or verify_per_byte_s)"
    ),
}  # fmt: skip

RECORDS = {
    "empty": ("\n", "r.jsonl: is empty: must have a line for each sequence"),
    "not JSON": ('{"sequence": 0, "accepted": [true]}\n{"sequence": 1,\n', "r.jsonl:2: is not JSON"),
    "not a mapping": ("[true]\n", 'r.jsonl:1: is [true]: must be {"sequence": 0, "accepted": [true, …]}'),
    "no verdicts": ('{"sequence": 0}\n', "r.jsonl:1: accepted is missing: must be given"),
    "numbers": (
        '{"sequence": 0, "accepted": [1, 0]}\n', "r.jsonl:1: accepted is [1, 0]: must be a list of true and false"
    ),
    "a sequence twice": (
        '{"sequence": 0, "accepted": []}\n' * 2, "r.jsonl:2: sequence is 0: is given twice"
    ),
    "a sequence in words": (
        '{"sequence": "0", "accepted": []}\n', 'r.jsonl:1: sequence is "0": must be a whole number, at least 0'
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as a user would, relative to where they stand."""
    monkeypatch.chdir(tmp_path)


def complaint(text: str | bytes, *settings: str) -> str:
    """Return the one line that a scenario file gives."""
    Path("x.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ScenarioError) as error:
        load_scenario("x.yaml", settings)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_the_good_scenario_is_good() -> None:
    """Every case below differs from it in one thing."""
    Path("x.yaml").write_text(GOOD)
    assert load_scenario("x.yaml").partition.stages == 2


@pytest.mark.parametrize("case", CHANGES)
def test_a_wrong_value_is_told_in_one_line(case: str) -> None:
    """File, line, key, value, rule."""
    old, new, expected = CHANGES[case]
    assert old in GOOD
    assert complaint(GOOD.replace(old, new, 1)) == expected


@pytest.mark.parametrize("case", TEXTS)
def test_a_file_that_is_no_scenario_is_told_in_one_line(case: str) -> None:
    """With the line, where there is one."""
    text, expected = TEXTS[case]
    assert complaint(text) == expected


@pytest.mark.parametrize("case", SETTINGS)
def test_a_wrong_setting_is_named_as_the_option(case: str) -> None:
    """The reader looks for it on the command line, not in the file."""
    setting, expected = SETTINGS[case]
    assert complaint(GOOD, setting) == expected


@pytest.mark.parametrize("case", PROFILES)
def test_a_wrong_profile_is_told_with_its_own_file_and_line(case: str) -> None:
    """Keys are those of the profile, as they stand in its file."""
    text, expected = PROFILES[case]
    Path("p.yaml").write_text(text)
    assert complaint(GOOD, "timing.profile=p.yaml") == expected


@pytest.mark.parametrize("case", RECORDS)
def test_a_wrong_replay_file_is_told_with_its_line(case: str) -> None:
    """JSON lines: one mapping a sequence."""
    text, expected = RECORDS[case]
    Path("r.jsonl").write_text(text)
    assert complaint(GOOD, "acceptance={kind: replay, file: r.jsonl}").startswith(expected)


def test_a_file_that_cannot_be_read_is_told() -> None:
    """Missing, or a directory."""
    Path("d.yaml").mkdir()
    for name, expected in (("d.yaml", "is a directory: must be a file"), ("n.yaml", "there is no such file")):
        with pytest.raises(ScenarioError) as error:
            load_scenario(name)
        assert str(error.value) == f"{name}: {expected}"


def test_a_binary_profile_is_told_by_its_own_name() -> None:
    """A named file is read with the same care as the scenario."""
    Path("p.yaml").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert complaint(GOOD, "timing.profile=p.yaml") == "p.yaml:1: is not text in UTF-8"
