"""The templates of the pages."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(*folders: Path) -> Environment:
    """Where pages find their templates: those of ``folders`` first, then the report's own; a name that is not
    given is an error.
    """
    loader = FileSystemLoader([*folders, Path(__file__).parent])
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
