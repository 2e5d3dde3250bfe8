"""`spdsim models`: the list, one model, JSON, and errors."""

import json
from pathlib import Path

import pytest

from spdsim.scenario.catalogue import entries
from spdsim.scenario.target_files import load_model
from tests.commands import spdsim
from tests.test_target import config


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_list_has_a_line_for_every_model_and_fits(columns: str) -> None:
    """Without colour on what is no terminal."""
    done = spdsim("models", COLUMNS=columns)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in lines[1:-1]] == list(entries("models"))
    assert max(map(len, lines)) <= int(columns)
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert ("config.json of Qwen/Qwen3-4B" in done.stdout) == (columns == "120")


@pytest.mark.parametrize("name", entries("models"))
def test_a_model_is_shown_within_80_columns(name: str) -> None:
    """Every kind of layer, and the bytes that a token reads."""
    done = spdsim("models", "show", name.upper(), COLUMNS="80")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.splitlines()[0] == name
    assert ("MoE" in done.stdout) == any(layer.is_moe for layer in load_model(name).layers)
    assert "on a device of 1 TB/s" in done.stdout


def test_json_has_the_figures_of_the_model(tmp_path: Path) -> None:
    """Layers add up to the whole; its shape loads again."""
    (tmp_path / "config.json").write_text(json.dumps(config("qwen3_5_moe", _name_or_path="some/Hybrid-MoE")))
    document = json.loads(spdsim("models", "show", tmp_path, "--json").stdout)
    layers = document["layers"]
    assert (document["name"], document["architecture"]) == ("Hybrid-MoE", "MoE hybrid")
    assert sum(kind["num_layers"] for kind in layers) == document["num_layers"] == 8
    read = sum(kind["num_layers"] * kind["read_bytes_per_token"] for kind in layers) + document["head_bytes"]
    assert read == document["read_bytes_per_token"] == document["flops_per_token"]
    assert document["shape"]["hidden_size"] == document["hidden_size"] == 64
    names = [model["name"] for model in json.loads(spdsim("models", "--json").stdout)["models"]]
    assert names == list(entries("models"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lama-2-7b", 'model is "lama-2-7b": must be one of llama-2-7b, '),
        ("no/such", 'model is "no/such": there is no such file'),
        (".", 'model is ".": has no config.json'),
        ("bad.json", "bad.json: hidden_size is missing: a llama config must have it"),
        ("text.json", "text.json: is not JSON: "),
    ],
)
def test_wrong_input_is_one_line_and_code_2(name: str, expected: str, tmp_path: Path) -> None:
    """As for every command."""
    (tmp_path / "bad.json").write_text('{"model_type": "llama"}')
    (tmp_path / "text.json").write_text("model: tiny")
    done = spdsim("models", "show", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"spdsim: error: {expected}")
    assert done.stderr.count("\n") == 1
