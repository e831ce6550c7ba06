"""DICOM-RT: patients in, doses and structures out."""

from dosewright.io.dicom.read_report import DicomReport
from dosewright.io.dicom.reader import DicomReader

__all__ = ["DicomReader", "DicomReport"]
