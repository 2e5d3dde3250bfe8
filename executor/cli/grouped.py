"""A command whose help has its options in groups: those that name a `rich_help_panel`, without rich."""

from typing import Any

from typer.core import TyperCommand

_OTHERS = "Options"


class GroupedCommand(TyperCommand):
    """A command with a section of its help for each group of options, in the order of their first option."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then every group, those without one last."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                is_argument = param.param_type_name == "argument"
                group = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or _OTHERS
                sections.setdefault(group, []).append(record)
        others = sections.pop(_OTHERS, [])
        for title, records in (*sections.items(), (_OTHERS, others)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
