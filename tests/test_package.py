"""The public interface of the package."""

import pytest

import spdsim


def test_every_public_name_can_be_had() -> None:
    """Names come from their modules when first asked for, and `dir` lists them."""
    assert dir(spdsim) == sorted(spdsim.__all__)
    assert [name for name in spdsim.__all__ if getattr(spdsim, name, None) is None] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = spdsim.nothing


def test_errors_are_one_tree() -> None:
    """Catching SpdError catches all that is meant to be caught."""
    errors = [getattr(spdsim, name) for name in spdsim.__all__ if name.endswith("Error")]
    assert all(issubclass(error, spdsim.SpdError) for error in errors)
