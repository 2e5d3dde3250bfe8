"""The files of a command appear together or not at all."""

import os
import threading
from pathlib import Path

import pytest

from spdsim.cli.outputs import Outputs
from spdsim.errors import InputError


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    """Until the block ends nothing has the names asked for."""
    with Outputs() as outputs:
        for name in ("a", "b"):
            staged = outputs.reserve(tmp_path / name)
            assert staged is not None
            staged.write_text(name)
            assert not (tmp_path / name).exists()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "a", "b": "b"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_after_an_error_nothing_is_written(tmp_path: Path, error: type[BaseException]) -> None:
    """Ctrl-C is an error here; what was there before stays."""
    (tmp_path / "a").write_text("old")

    def work() -> None:
        with Outputs() as outputs:
            for name in ("a", "b"):
                staged = outputs.reserve(tmp_path / name)
                assert staged is not None
                staged.write_text("half")
            raise error

    with pytest.raises(error):
        work()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_what_is_not_a_file_is_written_into(tmp_path: Path) -> None:
    """To replace a pipe or /dev/null would destroy it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    with Outputs() as outputs:
        staged = outputs.reserve(pipe)
        assert staged is not None
        staged.write_text("through the pipe")
    reader.join(timeout=10.0)
    assert received == ["through the pipe"]
    assert list(tmp_path.iterdir()) == [pipe]
    assert not staged.exists()


def test_paths_that_cannot_work_are_refused_at_once(tmp_path: Path) -> None:
    """A directory, a directory that is missing, an input, and one path for two outputs."""
    source = tmp_path / "scenario.yaml"
    source.touch()
    with Outputs(inputs=[source]) as outputs:
        for path, rule in (
            (tmp_path, "is a directory"),
            (tmp_path / "no" / "such", "does not exist"),
            (source, "is what the command reads"),
        ):
            with pytest.raises(InputError, match=rule):
                outputs.reserve(path)
        outputs.reserve(tmp_path / "a")
        with pytest.raises(InputError, match="named for two outputs"):
            outputs.reserve(tmp_path / "." / "a")


def test_nothing_is_reserved_for_no_path(tmp_path: Path) -> None:
    """An option that is not given is None."""
    with Outputs() as outputs:
        assert outputs.reserve(None) is None
    assert list(tmp_path.iterdir()) == []
