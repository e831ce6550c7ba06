"""Cases as NIfTI and NRRD volumes, for 3D Slicer and other viewers, and doses read back from such files."""

from dosewright.io.volumes.folder_writer import FolderWriter
from dosewright.io.volumes.read import open_volume, read_volume
from dosewright.io.volumes.volume_file import VolumeFile

__all__ = ["FolderWriter", "VolumeFile", "open_volume", "read_volume"]
