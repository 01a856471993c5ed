"""A training set or an encoder as other libraries read it: one literal table of formats for each.

Pixels go out as PNG, 8 bits a channel, freshly encoded at the size of the originals: nothing of a file but
its pixels comes along. The one file of an export that names the originals is ``manifest.csv``.
"""

from optidel.export.encoder import ENCODERS, export_encoder
from optidel.export.formats import FORMATS
from optidel.export.selection import ExportedSelection, find_selection
from optidel.export.write import Export, export

__all__ = [
    "ENCODERS",
    "FORMATS",
    "Export",
    "ExportedSelection",
    "export",
    "export_encoder",
    "find_selection",
]
