"""A training set as other trainers read it: one file a format, one literal table of them.

Pixels go out as PNG, 8 bits a channel, freshly encoded at the size of the originals: nothing of a file but
its pixels comes along. The one file of an export that names the originals is ``manifest.csv``.
"""

from optidel.export.formats import FORMATS
from optidel.export.selection import ExportedSelection, find_selection
from optidel.export.write import Export, export

__all__ = ["FORMATS", "Export", "ExportedSelection", "export", "find_selection"]
