"""The templates of the pages."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(*folders: Path) -> Environment:
    """Where pages find their templates: those of ``folders`` first, then the report's own; a name that is not
    given is an error.
    """
    own_folder = Path(__file__).parent
    loader = FileSystemLoader([*folders, own_folder])
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
