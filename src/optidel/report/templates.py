"""The templates of the pages."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(*folders: Path) -> Environment:
    """Where pages find their templates: those of ``folders`` first, then the report's own; a name that is not
    given is an error.
    """
    own_folder = Path(__file__).parent
    loader = FileSystemLoader([*folders, own_folder])
    # A misspelt name is an error, not an empty place on the page; names of files are escaped.
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
