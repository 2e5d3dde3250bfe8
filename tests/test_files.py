"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from spdsim.errors import InputError
from spdsim.files import atomic_writer


def test_a_file_appears_complete_when_the_block_ends(tmp_path: Path) -> None:
    """Until then the old content stays, and no temporary file is left behind."""
    path = tmp_path / "out.txt"
    path.write_text("old")
    with atomic_writer(path) as file:
        file.write("new\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == b"new\n"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path, interruption: type[BaseException]) -> None:
    with atomic_writer(path) as file:
        file.write("half")
        raise interruption


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, interruption: type[BaseException]) -> None:
    """Ctrl-C included: neither the file nor its temporary one exists afterwards."""
    with pytest.raises(interruption):
        write_half(tmp_path / "out.txt", interruption)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    """A reader never sees half of the new file."""
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path, KeyboardInterrupt)
    assert path.read_text() == "old"


def test_a_missing_directory_is_named_in_one_line(tmp_path: Path) -> None:
    """The directory is not made: a typing error should not build a tree."""
    path = tmp_path / "nowhere" / "out.txt"
    with pytest.raises(InputError) as error, atomic_writer(path):
        pass
    assert str(error.value) == f"{path}: directory {path.parent} does not exist: must exist"


def test_a_directory_is_no_file_to_write(tmp_path: Path) -> None:
    """Said before anything is computed into it."""
    with pytest.raises(InputError, match="is a directory: must be a file to write"), atomic_writer(tmp_path):
        pass


def test_a_refusal_of_the_operating_system_is_one_line(tmp_path: Path) -> None:
    """A name that is too long is such a refusal, whoever runs the test (root may write anywhere)."""
    with pytest.raises(InputError, match=r"cannot be written: .+") as error, atomic_writer(tmp_path / ("x" * 300)):
        pass
    assert "\n" not in str(error.value)


def test_what_is_not_a_regular_file_is_written_directly() -> None:
    """Replacing /dev/null by a file would break the machine."""
    with atomic_writer("/dev/null") as file:
        file.write("gone")
    assert not Path("/dev/null").is_file()


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    """The file it points to is replaced."""
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    with atomic_writer(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
