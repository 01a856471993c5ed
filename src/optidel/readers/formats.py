"""Which reader reads which file, by content and by ending. A new format is one function and one line in
``READERS``.
"""

from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import PurePosixPath

from optidel.readers.decoded import Decoded, DecodeOptions, Reader, ending
from optidel.readers.raster import read_raster
from optidel.readers.signature import kind_of
from optidel.readers.source import Source


def _late(module: str, name: str) -> Reader:
    """A reader whose libraries are imported with the first file that needs them: together they take a second
    at every start.
    """

    def read(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
        reader: Reader = getattr(import_module(f"optidel.readers.{module}"), name)
        return reader(source, options, locators)

    return read


read_dicom = _late("dicom", "read_dicom")
read_jpeg2000 = _late("jpeg2000", "read_jpeg2000")
read_metaimage = _late("metaimage", "read_metaimage")
read_nifti = _late("nifti", "read_nifti")
read_nifti_pair = _late("nifti", "read_nifti_pair")
read_npy = _late("arrays", "read_npy")
read_npz = _late("arrays", "read_npz")
read_nrrd = _late("nrrd", "read_nrrd")
read_tiff = _late("tiff", "read_tiff")
read_video = _late("video", "read_video")

READERS: dict[str, Reader] = {
    ".3gp": read_video,
    ".asf": read_video,
    ".avi": read_video,
    ".bmp": read_raster,
    ".dcm": read_dicom,
    ".dicom": read_dicom,
    ".gif": read_raster,
    ".hdr": read_nifti_pair,
    ".ima": read_dicom,
    ".img": read_nifti_pair,
    ".j2c": read_jpeg2000,
    ".j2k": read_jpeg2000,
    ".jp2": read_jpeg2000,
    ".jpeg": read_raster,
    ".jpf": read_jpeg2000,
    ".jpg": read_raster,
    ".jpx": read_jpeg2000,
    ".m2ts": read_video,
    ".m4v": read_video,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
    ".mkv": read_video,
    ".mov": read_video,
    ".mp4": read_video,
    ".mpeg": read_video,
    ".mpg": read_video,
    ".mts": read_video,
    ".nhdr": read_nrrd,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".npy": read_npy,
    ".npz": read_npz,
    ".nrrd": read_nrrd,
    ".ogv": read_video,
    ".png": read_raster,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".ts": read_video,
    ".vob": read_video,
    ".webm": read_video,
    ".webp": read_raster,
    ".wmv": read_video,
}

RASTER = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Endings of pictures that hold one frame, as labelled sets are made of."""

_PICTURE = "convert it to PNG or TIFF, for instance with ImageMagick"
_SLIDE = "export it as OME-TIFF, for instance with Bio-Formats' bfconvert, at most 100 megapixels a page"
_VOLUME = "convert it to NIfTI (.nii.gz) or MetaImage (.mha)"
_UNPACK = "unpack it"

UNREAD: dict[str, tuple[str, str]] = {
    ".7z": ("a 7-Zip archive", _UNPACK),
    ".avif": ("an AVIF picture", _PICTURE),
    ".czi": ("a Zeiss microscope's file", _SLIDE),
    ".dng": ("a camera's raw picture", _PICTURE),
    ".exr": ("an OpenEXR picture", _PICTURE),
    ".flv": ("Flash video", "convert it to MP4, for instance with ffmpeg"),
    ".gz": ("a packed file", "unpack it with gunzip"),
    ".h5": ("an HDF5 file", "save its images as .npy, .npz or PNG"),
    ".hdf5": ("an HDF5 file", "save its images as .npy, .npz or PNG"),
    ".heic": ("an HEIC picture", _PICTURE),
    ".heif": ("an HEIF picture", _PICTURE),
    ".jxl": ("a JPEG XL picture", _PICTURE),
    ".jxr": ("a JPEG XR picture", _PICTURE),
    ".lif": ("a Leica microscope's file", _SLIDE),
    ".mat": ("a MATLAB file", "save its images as .npy, .npz or PNG"),
    ".mgh": ("a FreeSurfer volume", "convert it to NIfTI with mri_convert"),
    ".mgz": ("a FreeSurfer volume", "convert it to NIfTI with mri_convert"),
    ".mnc": ("a MINC volume", _VOLUME),
    ".mrxs": ("a whole slide in several files", _SLIDE),
    ".nd2": ("a Nikon microscope's file", _SLIDE),
    ".oib": ("an Olympus microscope's file", _SLIDE),
    ".par": ("the header of a Philips volume", _VOLUME),
    ".pbm": ("a portable bitmap", _PICTURE),
    ".pdf": ("a document", "extract its pictures, for instance with pdfimages"),
    ".pgm": ("a portable graymap", _PICTURE),
    ".ppm": ("a portable pixmap", _PICTURE),
    ".psd": ("a Photoshop picture", _PICTURE),
    ".rar": ("a RAR archive", _UNPACK),
    ".raw": ("raw values, which are read through the .mhd or .nhdr that names them", "add that header"),
    ".rec": ("the values of a Philips volume", _VOLUME),
    ".svg": ("a drawing", _PICTURE),
    ".tga": ("a Targa picture", _PICTURE),
    ".vsi": ("an Olympus slide in several files", _SLIDE),
    ".vti": ("a VTK volume", _VOLUME),
    ".vtk": ("a VTK file", _VOLUME),
    ".zraw": ("raw values, which are read through the .mhd that names them", "add that header"),
    ".zst": ("a packed file", "unpack it with zstd"),
}
"""Endings of images that are not read: what they are, and what makes an image of them."""


def reader_for(source: Source) -> Reader | None:
    """The reader of a file by its contents, else by its ending (MetaImage, headerless DICOM and others
    have no mark of their own); None where neither is known, or where it is known and not read.
    """
    kind = kind_of(source)
    # MetaImage and headerless DICOM have no mark; there the ending decides.
    if kind in READERS:
        return READERS[kind]
    if kind in UNREAD and kind != ".gz":  # a packed file may be a damaged .nii.gz, whose reader says so
        return None
    return READERS.get(ending(source.name))


def unread(source: Source) -> str:
    """Why a file has no reader, and what to do with it, as the end of a sentence that begins with its
    name.
    """
    suffix = PurePosixPath(source.name).suffix.lower()
    # What a file is says more than what it is called.
    for kind in (kind_of(source), suffix):
        if kind in UNREAD:
            what, remedy = UNREAD[kind]
            return f"is {what}, which is not read; {remedy}"
    return f"has the ending {PurePosixPath(source.name).suffix!r}, which no reader knows"
