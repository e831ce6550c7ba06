"""Mutations of DICOM objects, tag by tag: missing, of another type, of a value that cannot be, from another frame."""

import io
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from hostile.mutation import Mutation, on_bytes

# Tags that no reader of doses and structures has to look at.
UNREAD = re.compile(
    r"Patient(Name|BirthDate|Sex|SetupNumber)|Study(Date|Time|ID)|Manufacturer|SeriesNumber|InstanceNumber|ROIDisplayColor"
    r"|Label|BeamName|RTPlanGeometry|Observation|Interpreter|Generation|ReferencedBeam|BeamMeterset|Photometric|Modality"
    r"|NominalBeamEnergy|SliceThickness|RescaleType|NumberOf|SamplesPerPixel|ControlPointIndex|FrameIncrementPointer|BeamNumber"
    r"|DoseReference(Number|Structure)|CumulativeMeterset|PatientSetup|HighBit|StudyInstanceUID|ReferencedSOPClassUID|MediaStorage"
)


def _elements(data: Dataset) -> Iterator[tuple[Dataset, DataElement]]:
    for element in data:
        yield data, element
        if element.VR == "SQ":
            for item in element.value[:4]:
                yield from _elements(item)


def _saved(data: Dataset) -> bytes:
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _on_dataset(name: str, change: Callable[[Dataset, random.Random], None], may_differ: bool = False) -> Mutation:
    def apply(data: bytes, rng: random.Random) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(data))
        change(dataset, rng)
        return _saved(dataset)

    return on_bytes(name, apply, may_differ)


def _missing(data: Dataset, rng: random.Random) -> None:
    holder, element = rng.choice([(h, e) for h, e in _elements(data) if not UNREAD.search(keyword_for_tag(e.tag))])
    del holder[element.tag]


def _empty(data: Dataset, rng: random.Random) -> None:
    holder, element = rng.choice([(h, e) for h, e in _elements(data) if not UNREAD.search(keyword_for_tag(e.tag))])
    holder[element.tag] = DataElement(element.tag, element.VR, [] if element.VR == "SQ" else None)


_ODD = {
    "DS": (
        b"NaN",
        b"inf",
        b"-1",
        b"0",
        b"1e999",
        b"abc",
        b"1\\2\\3\\4\\5\\6\\7",
        b"1e308",
        b"0x10",
        b"\xff\xff",
        b"1,5",
    ),
    "IS": (b"-1", b"0", b"2147483648", b"99999999999999", b"abc", b"1.5", b"1\\2", b"NaN"),
    "US": (b"\0\0", b"\xff\xff", b"\x01", b"", b"\0\0\xff\xff"),
    "UI": (b"", b"1.2.3", b"abc", b"1" * 64, b"1.2.3\\4.5.6", b"../../x"),
    "CS": (b"", b"MAGIC", b"\xff", b"a" * 300, b"A\\B"),
    "LO": (b"", b"\xff\xfe", b"a" * 3000, b"../../x"),
    "SH": (b"", b"\xff\xfe", b"a" * 3000),
    "AT": (b"\0\0\0\0", b"\xff"),
}


def _odd_value(data: bytes, rng: random.Random) -> bytes:
    """A value of the right type and length that cannot be, written below pydicom's checks."""
    found = []
    for hit in re.finditer(rb"(DS|IS|US|UI|CS|LO|SH|AT)(..)", data[132:], re.DOTALL):
        at = 132 + hit.start()
        tag, (length,) = struct.unpack_from("<HH", data, at - 4), struct.unpack("<H", hit[2])
        keyword = keyword_for_tag(tag)
        if keyword and not UNREAD.search(keyword) and at + 4 + length <= len(data) and tag[0] != 2:
            found.append((at + 4, length, hit[1].decode()))
    start, length, kind = rng.choice(found)
    odd = rng.choice(_ODD[kind])
    pad = b"\0" if kind in ("US", "UI", "AT") else b" "
    return data[:start] + odd[:length].ljust(length, pad) + data[start + length :]


def _other_type(data: bytes, rng: random.Random) -> bytes:
    """The two letters of a tag's type are others."""
    places = [hit.start() for hit in re.finditer(rb"(?<=[\x00-\xff]{4})(DS|IS|US|UI|CS|LO|SQ|OW|SH|UL)", data[132:])]
    at = 132 + rng.choice(places)
    return data[:at] + rng.choice((b"DS", b"SQ", b"OW", b"US", b"UN", b"XX", b"FD", b"AT", b"\0\0")) + data[at + 2 :]


def _length(data: bytes, rng: random.Random) -> bytes:
    """The length of a tag is another."""
    places = [hit.start() for hit in re.finditer(rb"(DS|IS|US|UI|CS|LO|SH|UL)(?=[\x00-\xff]\x00)", data[132:])]
    at = 132 + rng.choice(places) + 2
    return data[:at] + struct.pack("<H", rng.choice((0, 1, 3, 0xFFFF, 0x7FFE, 4))) + data[at + 2 :]


def _long_length(data: bytes, rng: random.Random) -> bytes:
    """The length of a sequence, an item or the pixels is another."""
    places = [hit.end() for hit in re.finditer(rb"(SQ\0\0|OW\0\0|\xfe\xff\x00\xe0)", data)]
    if not places:
        return data[:-4]
    at = rng.choice(places)
    odd = rng.choice((0, 1, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 8))
    return data[:at] + struct.pack("<I", odd) + data[at + 4 :]


def _set(**values: object) -> Callable[[Dataset, random.Random], None]:
    def change(data: Dataset, rng: random.Random) -> None:
        known = [key for key in values if key in data]
        key = rng.choice(known or list(values))
        setattr(data, key, values[key])

    return change


def _pixels(data: Dataset, rng: random.Random) -> None:
    if "PixelData" not in data:
        data.PixelData = b"12"
        data["PixelData"].VR = "OW"
        return
    content = data.PixelData
    data.PixelData = rng.choice((content[:-2], content[: len(content) // 2], b"", content + b"\0" * 1000, content * 2))


def _sizes(data: Dataset, rng: random.Random) -> None:
    key = rng.choice(
        [k for k in ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored") if k in data] or ["Rows"]
    )
    setattr(data, key, rng.choice((0, 1, 65535, 3, 12, 64)))


def _frame(data: Dataset, _: random.Random) -> None:
    data.FrameOfReferenceUID = "1.2.3.4"
    for item in data.get("ReferencedFrameOfReferenceSequence", []):
        item.FrameOfReferenceUID = "1.2.3.4"
    for item in data.get("StructureSetROISequence", []):
        item.ReferencedFrameOfReferenceUID = "1.2.3.4"


def _oblique(data: Dataset, rng: random.Random) -> None:
    if "ImageOrientationPatient" in data:
        data.ImageOrientationPatient = rng.choice(
            (
                [1, 0, 0, 0, 0.998, 0.0632],
                [0, 1, 0, 0, 0, -1],
                [1, 0, 0, 1, 0, 0],
                [0, 0, 0, 0, 0, 0],
                [2, 0, 0, 0, 2, 0],
            )
        )
    else:
        data.PatientPosition = "FFP"
        for item in data.get("PatientSetupSequence", []):
            item.PatientPosition = rng.choice(("FFP", "HFDL", "UP", ""))
        for roi in data.get("ROIContourSequence", []):
            for contour in roi.get("ContourSequence", [])[:1]:
                contour.ContourData = [str(v) for v in (0, 0, 0, 10, 0, 5, 10, 10, -5)]


def _contours(data: Dataset, rng: random.Random) -> None:
    """Contours of one point, of no point, far away, of numbers that do not come in threes."""
    rois = data.get("ROIContourSequence", [])
    odd = rng.choice(([], ["1", "2", "3"], ["1", "2"], ["1e30"] * 9, ["5"] * 300, ["0", "0", "1e9"] * 3))
    for roi in rois[: rng.choice((1, 10))]:
        for contour in roi.get("ContourSequence", []):
            contour.ContourData = list(odd)
    if not rois:
        data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"


def _syntax(data: Dataset, rng: random.Random) -> None:
    data.file_meta.TransferSyntaxUID = rng.choice(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2"))


def _syntax_name(data: bytes, rng: random.Random) -> bytes:
    """The transfer syntax is another than what follows is in."""
    old = b"1.2.840.10008.1.2.1"
    new = rng.choice(
        (b"1.2.840.10008.1.2\0\0", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5", b"1.2.840.10008.9.9.9", b"1.2.3")
    )
    return data.replace(old, new, 1)


def _deep(data: bytes, rng: random.Random) -> bytes:
    """Sequences in sequences in sequences, of undefined length, before all else."""
    depth = rng.choice((50, 400, 20_000))
    opening = struct.pack("<HH", 0x0008, 0x1140) + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    start = 132 + 12 + struct.unpack_from("<I", data, 132 + 8)[0]  # behind the file's own group
    return data[:start] + opening * depth + closing * depth + data[start:]


def _same_uid(path: Path, rng: random.Random) -> None:
    """Two objects that say they are the same one."""
    data = pydicom.dcmread(path)
    others = sorted(p for p in path.parent.iterdir() if p != path)
    data.SOPInstanceUID = pydicom.dcmread(rng.choice(others), stop_before_pixels=True).SOPInstanceUID
    data.save_as(path, enforce_file_format=True)


def _moved(data: Dataset, rng: random.Random) -> None:
    """A slice or a dose that lies elsewhere."""
    if "ImagePositionPatient" in data:
        x, y, z = (float(v) for v in data.ImagePositionPatient)
        data.ImagePositionPatient = rng.choice(([x + 1, y, z], [x, y, z + 1.3], [x, y, z + 1e6], [x, y + 1e9, z]))
    else:
        _frame(data, rng)


def _dose(data: Dataset, rng: random.Random) -> None:
    odd = {
        "DoseGridScaling": rng.choice((0, -1, "1e30", "1e-30")),
        "DoseUnits": rng.choice(("RELATIVE", "CGY", "")),
        "DoseType": "ERROR",
        "DoseSummationType": rng.choice(("BEAM", "FRACTION", "MAGIC")),
        "GridFrameOffsetVector": rng.choice(
            ([0, 1], [], [0.0] * 18, [5.0 * (-1) ** k for k in range(18)], ["1e9"] * 18)
        ),
        "RescaleSlope": rng.choice((0, "1e30")),
        "RescaleIntercept": "1e30",
        "PixelSpacing": rng.choice(([0, 0], [-1, 1], [1], ["1e9", "1e9"])),
    }
    known = [key for key in odd if key in data]
    if known:
        key = rng.choice(known)
        setattr(data, key, odd[key])
    else:
        _frame(data, rng)


DICOM = (
    _on_dataset("missing tag", _missing, may_differ=True),
    _on_dataset("empty tag", _empty, may_differ=True),
    on_bytes("value that cannot be", _odd_value, may_differ=True),
    on_bytes("another VR", _other_type, may_differ=True),
    on_bytes("another length", _length, may_differ=True),
    on_bytes("another length of a sequence or of pixels", _long_length, may_differ=True),
    _on_dataset("pixels too short or too long", _pixels),
    _on_dataset("sizes of the image", _sizes),
    _on_dataset("another frame of reference", _frame),
    _on_dataset("oblique or of another position", _oblique),
    _on_dataset("contours that are none", _contours, may_differ=True),
    _on_dataset("re-encoded in another transfer syntax", _syntax),
    on_bytes("named another transfer syntax", _syntax_name),
    on_bytes("sequences in sequences", _deep),
    Mutation("the UID of another object", _same_uid),
    _on_dataset("moved", _moved, may_differ=True),
    _on_dataset("doses, units and scales", _dose),
    on_bytes("no preamble", lambda data, rng: data[132:]),
    on_bytes("another preamble", lambda data, rng: rng.randbytes(128) + data[128:]),
)
