"""The gallery of a run: a map to look into, images with the reason why each stayed or went, and tags to take
back.
"""

from optidel.gallery.page import write_gallery

__all__ = ["write_gallery"]
