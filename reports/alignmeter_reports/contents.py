"""What is in the page: its sections in order, how many things each lists, and which say nothing.

A section's template says all that itself, in variables of its own: ``heading``; ``count``, of the
things that it lists, where it lists any; ``absent``, why it is not there, where its body is empty.
"""

__all__ = ["SECTIONS", "Section", "contents"]

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, UndefinedError
from markupsafe import Markup

SECTIONS = (
    "nights",
    "answer",
    "claims",
    "baseline",
    "delta",
    "memory",
    "plan",
    "capacity",
    "scaling",
    "ranks",
    "pareto",
    "kernels",
    "timelines",
    "changes",
    "explore",
    "matrix",
    "bill",
    "cost",
    "vendors",
    "coverage",
    "reported",
    "phases",
    "failures",
    "portability",
    "command",
    "provenance",
)
"""Names of modules and templates, and anchors in the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One section. ``name``: its anchor. ``body``: markup, empty where it has nothing to say, and
    then ``absent`` says why. ``count``: of what it lists; ``None``: nothing is counted.
    """

    name: str
    heading: str
    count: int | None
    absent: str
    body: Markup


def contents(environment: Environment, context: Mapping[str, object]) -> list[Section]:
    """Every section in the order of the page.

    Raises `jinja2.UndefinedError` if a template has no heading, or neither a body nor a reason.
    """
    return [_section(environment, name, context) for name in SECTIONS]


def _section(environment: Environment, name: str, context: Mapping[str, object]) -> Section:
    source = f"sections/{name}.html.j2"
    module = environment.get_template(source).make_module(dict(context))
    body = Markup(str(module).strip())  # noqa: S704 - rendered with autoescape
    said = vars(module)
    for wanted in ("heading",) if body else ("heading", "absent"):
        if not said.get(wanted):
            raise UndefinedError(f"{source} sets no {wanted!r}; see {__name__}")
    return Section(
        name=name,
        heading=said["heading"],
        count=said.get("count"),
        absent=said.get("absent", ""),
        body=body,
    )
