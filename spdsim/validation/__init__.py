"""A profile held against a table of published speedups: errors row by row and by group, a grade, known limits."""

from spdsim.validation.document import validation_document
from spdsim.validation.plain import PlainValidation, plain_document, validate_plain
from spdsim.validation.report import Group, Line, Validation
from spdsim.validation.validate import validate_table

__all__ = [
    "Group", "Line", "PlainValidation", "Validation", "plain_document", "validate_plain", "validate_table",
    "validation_document",
]  # fmt: skip
