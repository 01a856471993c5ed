"""The codecs of imagecodecs, an extra: without it, what it alone can decode is quarantined with what to
install.
"""

from functools import cache
from types import ModuleType

from optidel.errors import InputError


@cache
def load_codecs() -> ModuleType:
    """The module ``imagecodecs``; it takes a tenth of a second, so it is imported by the first file that
    needs it.

    Raises:
        InputError: it is not installed.
    """
    try:
        import imagecodecs
    except ModuleNotFoundError as error:
        raise InputError(
            "is compressed in a way that imagecodecs decodes, which is missing: install optidel[codecs]"
        ) from error
    module: ModuleType = imagecodecs
    return module
