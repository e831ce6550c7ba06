"""Small DICOM-RT patients, built element by element with pydicom: what reading and writing are tested on.

`DicomPhantom` holds the truth (CT, contours, dose, plan) and turns it into datasets that a test may spoil before it
saves them: `phantom.ct_slices()`, `.structure_set()`, `.plan()`, `.dose()`, `phantom.write(folder)` for all of them.
Nothing here uses `dosewright.io.dicom`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from dicom_beams import PlanBeam, beam_item, beam_reference
from dicom_contours import Roi, box, circle, keyhole
from dosewright.core import Grid

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
STRUCTURE_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
PLAN_CLASS = "1.2.840.10008.5.1.4.1.1.481.5"
ION_PLAN_CLASS = "1.2.840.10008.5.1.4.1.1.481.8"
DOSE_CLASS = "1.2.840.10008.5.1.4.1.1.481.2"
__all__ = ["DicomPhantom", "PlanBeam", "Roi", "box", "circle", "keyhole", "save", "set_pixels", "uid"]

CONTOUR_DATA = Tag(0x3006, 0x0050)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
GRID = Grid((16, 44, 48), (3.0, 3.5, 4.0), (-70.0, -72.0, -28.0))
DOSE_GRID = Grid((18, 32, 36), (4.0, 4.5, 4.5), (-69.3, -70.1, -31.7))


def uid(*parts: object) -> str:
    """A legal UID that depends on nothing but `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return f"2.25.{int(digest[:30], 16)}"


def _dose_truth(grid: Grid) -> np.ndarray:
    z, y, x = (grid.axis_mm(a) for a in "zyx")
    cx, cy, cz = 4.0, 6.0, 2.0
    r2 = ((z - cz) / 30)[:, None, None] ** 2 + ((y - cy) / 40)[None, :, None] ** 2 + ((x - cx) / 40)[None, None] ** 2
    return (62.0 * np.exp(-0.5 * r2)).astype(np.float32)


@dataclass(frozen=True)
class DicomPhantom:
    """A patient: voxel arrays (z, y, x) in LPS, all positions in mm. Every field may be replaced.

    `name` seeds all UIDs, so two phantoms of other names are two patients.
    """

    name: str = "phantom"
    grid: Grid = GRID
    dose_grid: Grid = DOSE_GRID
    rois: tuple[Roi, ...] | None = None
    beams: tuple[PlanBeam, ...] = tuple(PlanBeam((a,), beam_dose_gy=0.4) for a in (0.0, 72.0, 144.0, 216.0, 288.0))
    fractions: int = 30
    prescription_gy: float = 60.0
    patient_position: str = "HFS"
    intercept: float = -1024.0
    frame: str = ""  # seeds the FrameOfReferenceUID; empty: the name
    labels: dict[str, str] = field(default_factory=dict)

    # --- the truth -------------------------------------------------------------------------------------------------

    @property
    def structures(self) -> tuple[Roi, ...]:
        """The structures: `rois`, or body, target, cord and left parotid on every slice."""
        if self.rois is not None:
            return self.rois
        zs = self.grid.axis_mm("z")
        return (
            Roi.cylinder("BODY", 0.0, 2.0, zs, 60.0, "EXTERNAL", count=200),
            Roi.sphere("PTV", (4.0, 6.0, 2.0), zs, 20.0),
            Roi.cylinder("SpinalCord", 0.0, 40.0, zs, 8.0),
            Roi.cylinder("Parotid_L", 38.0, -5.0, zs[4:10], 11.0),
        )

    @property
    def ct_hu(self) -> np.ndarray:
        """HU, int16: air at −1000 and a body of about 0 HU in which every voxel differs from its neighbours."""
        _, y, x = np.meshgrid(*(self.grid.axis_mm(a) for a in "zyx"), indexing="ij")
        index = np.arange(x.size).reshape(x.shape)
        return np.where(x**2 + (y - 2) ** 2 < 60**2, (index * 7) % 61 - 30, -1000).astype(np.int16)

    @property
    def dose_gy(self) -> np.ndarray:
        """Dose on `dose_grid`, Gy, before it is rounded to pixel values."""
        return _dose_truth(self.dose_grid)

    @property
    def series_uid(self) -> str:
        return uid(self.name, "series")

    @property
    def frame_uid(self) -> str:
        return uid(self.frame or self.name, "frame")

    def slice_uid(self, index: int) -> str:
        return uid(self.name, "slice", index)

    def object_uid(self, kind: str) -> str:
        """SOP instance UID of "structure_set", "plan" or "dose"."""
        return uid(self.name, kind)

    def renamed(self, name: str) -> "DicomPhantom":
        return replace(self, name=name)

    # --- as datasets -----------------------------------------------------------------------------------------------

    def ct_slices(self, orientation: Sequence[float] = AXIAL) -> list[FileDataset]:
        """One dataset per slice, caudal first; `orientation` may flip or swap the in-plane axes."""
        return [self._ct_slice(k, plane, tuple(orientation)) for k, plane in enumerate(self.ct_hu)]

    def _ct_slice(self, k: int, plane: np.ndarray, orientation: tuple[float, ...]) -> FileDataset:
        data = self._object(CT_CLASS, self.slice_uid(k), "CT", self.series_uid)
        data.FrameOfReferenceUID = self.frame_uid
        data.PatientPosition = self.patient_position
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.InstanceNumber = k + 1
        x0, y0, z0 = self.grid.origin_xyz_mm
        dx, dy, dz = self.grid.spacing_xyz_mm
        along = {"x": (x0, dx, self.grid.shape_zyx[2]), "y": (y0, dy, self.grid.shape_zyx[1])}
        row, column = np.array(orientation[:3]), np.array(orientation[3:])
        swapped = bool(abs(row[1]) > 0.5)
        start = {}
        for axis, direction in (("x", row[0] + column[0]), ("y", row[1] + column[1])):
            first, step, count = along[axis]
            start[axis] = first if direction > 0 else first + step * (count - 1)
            if direction < 0:
                plane = plane[:, ::-1] if axis == "x" else plane[::-1]
        pixels = plane.T if swapped else plane
        data.ImagePositionPatient = [start["x"], start["y"], z0 + k * dz]
        data.ImageOrientationPatient = list(orientation)
        data.PixelSpacing = [dx, dy] if swapped else [dy, dx]
        data.SliceThickness = dz
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, self.intercept, "HU"
        set_pixels(data, pixels.astype(np.int32) - int(self.intercept), signed=False)
        return data

    def structure_set(self) -> FileDataset:
        """RTSTRUCT that refers to the CT series slice by slice."""
        data = self._object(STRUCTURE_CLASS, self.object_uid("structure_set"), "RTSTRUCT", uid(self.name, "ss series"))
        data.StructureSetLabel = self.labels.get("structure_set", "structures")
        series = Dataset()
        series.SeriesInstanceUID = self.series_uid
        series.ContourImageSequence = [_reference(CT_CLASS, self.slice_uid(k)) for k in range(self.grid.shape_zyx[0])]
        study = _reference("1.2.840.10008.3.1.2.3.1", uid(self.name, "study"))
        study.RTReferencedSeriesSequence = [series]
        frame = Dataset()
        frame.FrameOfReferenceUID = self.frame_uid
        frame.RTReferencedStudySequence = [study]
        data.ReferencedFrameOfReferenceSequence = [frame]
        data.StructureSetROISequence, data.ROIContourSequence, data.RTROIObservationsSequence = [], [], []
        for number, roi in enumerate(self.structures, 1):
            self._add_roi(data, number, roi)
        return data

    def _add_roi(self, data: Dataset, number: int, roi: Roi) -> None:
        item = Dataset()
        item.ROINumber, item.ROIName, item.ROIGenerationAlgorithm = number, roi.name, "MANUAL"
        item.ReferencedFrameOfReferenceUID = self.frame_uid
        data.StructureSetROISequence.append(item)
        contours = Dataset()
        contours.ReferencedROINumber = number
        contours.ROIDisplayColor = [255, 0, 0]
        contours.ContourSequence = [self._contour(roi, points) for points in roi.contours]
        data.ROIContourSequence.append(contours)
        observation = Dataset()
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType, observation.ROIInterpreter = roi.type, ""
        data.RTROIObservationsSequence.append(observation)

    def _contour(self, roi: Roi, points: np.ndarray) -> Dataset:
        contour = Dataset()
        contour.ContourGeometricType = roi.geometry
        contour.NumberOfContourPoints = len(points)
        text = "\\".join(f"{v:.4f}" for v in np.ravel(points)).encode()
        content = text + b" " * (len(text) % 2)
        # Not as numbers: pydicom would check each of them, which takes most of the time of the tests.
        contour[CONTOUR_DATA] = RawDataElement(CONTOUR_DATA, "DS", len(content), content, 0, False, True)
        k = int(np.argmin(np.abs(self.grid.axis_mm("z") - points[0, 2])))
        if abs(self.grid.axis_mm("z")[k] - points[0, 2]) < 1e-3:
            contour.ContourImageSequence = [_reference(CT_CLASS, self.slice_uid(k))]
        return contour

    def plan(self, rois: Sequence[tuple[str, float]] | None = None) -> FileDataset:
        """RTPLAN; `rois` are the targets it prescribes to, by default the one called PTV."""
        ion = any(beam.radiation == "PROTON" for beam in self.beams)
        data = self._object(
            ION_PLAN_CLASS if ion else PLAN_CLASS, self.object_uid("plan"), "RTPLAN", uid(self.name, "plan series")
        )
        data.FrameOfReferenceUID = self.frame_uid
        data.RTPlanLabel, data.RTPlanGeometry = self.labels.get("plan", "plan"), "PATIENT"
        data.ReferencedStructureSetSequence = [_reference(STRUCTURE_CLASS, self.object_uid("structure_set"))]
        numbers = {roi.name: number for number, roi in enumerate(self.structures, 1)}
        data.DoseReferenceSequence = []
        for index, (name, dose) in enumerate([("PTV", self.prescription_gy)] if rois is None else rois, 1):
            item = Dataset()
            item.DoseReferenceNumber, item.DoseReferenceStructureType = index, "VOLUME"
            item.ReferencedROINumber, item.DoseReferenceType = numbers[name], "TARGET"
            item.TargetPrescriptionDose = dose
            data.DoseReferenceSequence.append(item)
        setup = Dataset()
        setup.PatientSetupNumber, setup.PatientPosition = 1, self.patient_position
        data.PatientSetupSequence = [setup]
        group = Dataset()
        group.FractionGroupNumber, group.NumberOfFractionsPlanned = 1, self.fractions
        group.NumberOfBeams, group.NumberOfBrachyApplicationSetups = len(self.beams), 0
        group.ReferencedBeamSequence = [beam_reference(n, beam) for n, beam in enumerate(self.beams, 1)]
        data.FractionGroupSequence = [group]
        beams = [beam_item(n, beam) for n, beam in enumerate(self.beams, 1)]
        if ion:
            data.IonBeamSequence = beams
        else:
            data.BeamSequence = beams
        return data

    def dose(
        self,
        values_gy: np.ndarray | None = None,
        summation: str = "PLAN",
        bits: int = 32,
        absolute_offsets: bool = False,
        kind: str = "dose",
        scaling: float | None = None,
    ) -> FileDataset:
        """RTDOSE on `dose_grid` that refers to the plan and the structure set."""
        values = self.dose_gy if values_gy is None else values_gy
        data = self._object(DOSE_CLASS, self.object_uid(kind), "RTDOSE", uid(self.name, "dose series"))
        data.FrameOfReferenceUID = self.frame_uid
        data.ImagePositionPatient = list(self.dose_grid.origin_xyz_mm)
        data.ImageOrientationPatient = list(AXIAL)
        dx, dy, dz = self.dose_grid.spacing_xyz_mm
        data.PixelSpacing = [dy, dx]
        data.SliceThickness = dz
        data.NumberOfFrames = values.shape[0]
        data.FrameIncrementPointer = 0x3004000C
        first = self.dose_grid.origin_xyz_mm[2] if absolute_offsets else 0.0
        data.GridFrameOffsetVector = [first + dz * k for k in range(values.shape[0])]
        data.DoseUnits, data.DoseType, data.DoseSummationType = "GY", "PHYSICAL", summation
        scaling = float(f"{max(float(values.max()), 1e-6) / (2**bits - 2):.9e}") if scaling is None else scaling
        data.DoseGridScaling = scaling
        set_pixels(data, np.round(np.asarray(values, float) / scaling), signed=False, bits=bits)
        data.ReferencedRTPlanSequence = [_reference(PLAN_CLASS, self.object_uid("plan"))]
        data.ReferencedStructureSetSequence = [_reference(STRUCTURE_CLASS, self.object_uid("structure_set"))]
        return data

    def write(self, folder: Path, plan: bool = True, dose: bool = True) -> Path:
        """Write all objects, names in order of the slices; return the folder."""
        for k, data in enumerate(self.ct_slices()):
            save(data, folder / f"ct_{k:03d}.dcm")
        save(self.structure_set(), folder / "structures.dcm")
        if plan:
            save(self.plan(), folder / "plan.dcm")
        if dose:
            save(self.dose(), folder / "dose.dcm")
        return folder

    def _object(self, sop_class: str, sop_uid: str, modality: str, series_uid: str) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, sop_uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID, data.Modality = sop_class, sop_uid, modality
        data.PatientID, data.PatientName = f"ID-{self.name}", f"Doe^{self.name}"
        data.PatientBirthDate, data.PatientSex = "", ""
        data.StudyInstanceUID, data.SeriesInstanceUID = uid(self.name, "study"), series_uid
        data.StudyDate, data.StudyTime, data.StudyID = "20200101", "120000", "1"
        data.Manufacturer, data.SeriesNumber = "test", 1
        return data


def set_pixels(data: Dataset, pixels: np.ndarray, signed: bool, bits: int = 16) -> None:
    """Store integers as pixel data, with the attributes that describe them."""
    kind = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    if pixels.min() < np.iinfo(kind).min or pixels.max() > np.iinfo(kind).max:
        raise ValueError(f"{bits} bits do not hold {pixels.min()} … {pixels.max()}")
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(signed)
    data["PixelData"] = _pixel_element(pixels.astype(kind).tobytes())


def save(data: FileDataset, path: Path) -> Path:
    """Write a dataset as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def _pixel_element(content: bytes) -> DataElement:
    return DataElement(0x7FE00010, "OW", content)


def _reference(sop_class: str, sop_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
    return item
