"""Small OpenKBP patients, written by hand from the published layout, and one broken file of every kind."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

HEADER = ",data\n"
VOXELS = "3.0\n4.0\n2.5\n"  # mm along OpenKBP's axes 0 (posterior), 1 (left), 2 (caudal)
Place = tuple[int, int, int]  # along OpenKBP's axes


def flat(place: Place) -> int:
    a, b, c = place
    return (a * 128 + b) * 128 + c


def block(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> list[Place]:
    return list(product(range(*a), range(*b), range(*c)))


def rows(values: Iterable[tuple[Place, object]]) -> str:
    return HEADER + "".join(f"{flat(place)},{value}\n" for place, value in values)


BODY = block((40, 50), (50, 66), (60, 72))
PTV = block((43, 46), (55, 59), (62, 66))
LEFT = block((43, 46), (61, 64), (62, 66))
RIGHT = block((43, 46), (51, 54), (62, 66))


def dose_of(place: Place) -> float:
    """A dose with another value in every voxel."""
    a, b, c = place
    return 20.0 + 2.0 * (a - 40) + (b - 50) + 0.125 * (c - 60)


FILES: dict[str, str] = {
    "voxel_dimensions": VOXELS,
    "ct": rows((place, float(900 + place[0] + place[2])) for place in BODY),
    "dose": rows((place, dose_of(place)) for place in BODY),
    "possible_dose_mask": rows((place, "") for place in BODY),
    "PTV70": rows((place, "") for place in PTV),
    "LeftParotid": rows((place, "") for place in LEFT),
    "RightParotid": rows((place, "") for place in RIGHT),
}


def write_patient(folder: Path, **changes: str | bytes | None) -> Path:
    """Write a patient; a change replaces a file's content, None leaves the file out."""
    folder.mkdir(parents=True)
    for stem, content in {**FILES, **changes}.items():
        path = folder / f"{stem}.csv"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            path.write_text(content)
    return folder


def write_split(root: Path, split: str, *names: str) -> Path:
    """Write whole patients `names` into a split; return its folder."""
    for name in names:
        write_patient(root / "provided-data" / f"{split}-pats" / name)
    return root / "provided-data" / f"{split}-pats"


def _with_row(stem: str, row: str) -> str:
    lines = FILES[stem].splitlines()
    return "\n".join([*lines[:3], row, *lines[4:]]) + "\n"


_HALF = FILES["dose"][: FILES["dose"].index("\n", len(FILES["dose"]) // 2) + 1]  # ends with a whole row

#: What is broken → changed files, and what the error says after the patient's folder.
BROKEN: dict[str, tuple[dict[str, str | bytes | None], str]] = {
    "missing dose": ({"dose": None}, r": dose\.csv must exist; got 'no such file'"),
    "missing ct": ({"ct": None}, r": ct\.csv must exist; got 'no such file'"),
    "missing dose mask": ({"possible_dose_mask": None}, r": possible_dose_mask\.csv must exist"),
    "missing voxel size": ({"voxel_dimensions": None}, r": voxel_dimensions\.csv must exist"),
    "no target": ({"PTV70": None}, r": structures must include a target \(PTV70, PTV63, PTV56\); got \['LeftParotid'"),
    "index too large": (
        {"dose": _with_row("dose", "2097152,1.0")},
        r"/dose\.csv: index in row 4 must be a whole number in \[0, 2097152\); got 2097152\.0",
    ),
    "negative index": ({"PTV70": _with_row("PTV70", "-1,")}, r"/PTV70\.csv: index in row 4 must be .*; got -1\.0"),
    "broken index": ({"ct": _with_row("ct", "12.5,1")}, r"/ct\.csv: index in row 4 must be .*; got 12\.5"),
    "index not a number": ({"ct": _with_row("ct", "nan,1")}, r"/ct\.csv: index in row 4 must be .*; got nan"),
    "repeated index": (
        {"ct": FILES["ct"] + f"{flat(BODY[7])},3\n"},
        r"/ct\.csv: index must be unique; got '1 repeated'",
    ),
    "not numeric": (
        {"dose": _with_row("dose", "700000,high")},
        r"/dose\.csv: content must be rows of index,value; .*high",
    ),
    "no value": (
        {"dose": FILES["PTV70"]},
        r"/dose\.csv: content must be rows of index,value; got .*string '' to float",
    ),
    "one column": ({"dose": _with_row("dose", "700000")}, r"/dose\.csv: row 4 must be index,value; got '700000'"),
    "three columns": (
        {"dose": _with_row("dose", "700000,56,3")},
        r"/dose\.csv: row 4 must be index,value; got '700000,56,3'",
    ),
    "three columns in all rows": (
        {"ct": HEADER + "".join(f"{flat(place)},900,1\n\n" for place in BODY)},
        r"/ct\.csv: row 2 must be index,value; got '\d+,900,1'",
    ),
    "three columns and a blank line": (
        {"ct": _with_row("ct", "700000,56,3\n")},
        r"/ct\.csv: content must be rows of index,value; got .*columns changed from 2 to 3",
    ),
    "mask with other values": (
        {"PTV70": _with_row("PTV70", "700000,0.5")},
        r"/PTV70\.csv: row 4 must be an index and a comma; got '700000,0\.5'",
    ),
    "mask with more columns": (
        {"possible_dose_mask": _with_row("possible_dose_mask", "700000,,")},
        r"/possible_dose_mask\.csv: row 4 must be an index and a comma; got '700000,,'",
    ),
    "mask without comma": (
        {"LeftParotid": _with_row("LeftParotid", "700000")},
        r"/LeftParotid\.csv: row 4 must be an index and a comma; got '700000'",
    ),
    "NaN": ({"dose": _with_row("dose", "700000,nan")}, r"/dose\.csv: data in row 4 must be finite; got nan"),
    "infinite": ({"ct": _with_row("ct", "700000,inf")}, r"/ct\.csv: data in row 4 must be finite; got inf"),
    "truncated in a row": (
        {"dose": FILES["dose"][:-3]},
        r"/dose\.csv: last line must end with a newline: the file is truncated; got .*,54\.3'",
    ),
    "truncated between rows": (
        {"dose": _HALF},
        r"/dose\.csv: rows must reach the last voxels of the dose mask: the file is truncated; got 'none for the l",
    ),
    "truncated after the header": (
        {"dose": HEADER},
        r"/dose\.csv: rows must reach the last voxels .*; got 'none for the last 1920 of 1920 voxels'",
    ),
    "truncated dose mask": (
        {"possible_dose_mask": "\n".join(FILES["possible_dose_mask"].splitlines()[:1500]) + "\n"},
        r"/possible_dose_mask\.csv: rows must reach the last voxels with dose: .*; got 'none for the last 421 voxels",
    ),
    "truncated ct": (
        {"ct": "\n".join(FILES["ct"].splitlines()[:1500]) + "\n"},
        r"/ct\.csv: rows must reach the last voxels .*; got 'none for the last 421 of 1920 voxels'",
    ),
    "empty file": ({"dose": ""}, r"/dose\.csv: last line must end with a newline: the file is truncated; got ''"),
    "empty target": ({"PTV70": HEADER}, r"/PTV70\.csv: mask must hold at least one voxel; got '0 rows'"),
    "empty organ": ({"LeftParotid": HEADER}, r"/LeftParotid\.csv: mask must hold at least one voxel"),
    "unknown structure": (
        {"Tongue": FILES["PTV70"]},
        r"/Tongue\.csv: structure file must be one of \[.*'PTV70'.*\]; got \['Tongue'\]",
    ),
    "two voxel sizes": (
        {"voxel_dimensions": "3.9\n3.9\n"},
        r"/voxel_dimensions\.csv: voxel dimensions must be three lengths in \[0\.5, 20\] mm; got \[3\.9, 3\.9\]",
    ),
    "zero voxel size": (
        {"voxel_dimensions": "3.9\n0\n2.5\n"},
        r"/voxel_dimensions\.csv: voxel dimensions must be three lengths .*; got \[3\.9, 0\.0, 2\.5\]",
    ),
    "voxel size in m": (
        {"voxel_dimensions": ".003\n.003\n.002\n"},
        r"/voxel_dimensions\.csv: .* must be three lengths",
    ),
    "voxel size not numeric": (
        {"voxel_dimensions": "3.9\n3.9\nthin\n"},
        r"/voxel_dimensions\.csv: voxel dimensions must be three numbers; got '3\.9",
    ),
    "wrong header": (
        {"dose": FILES["dose"].replace(HEADER, "index,dose\n")},
        r"/dose\.csv: header must be ',data'; got 'index,dose'",
    ),
    "binary": (
        {"ct": bytes(range(256)) * 40},
        r"/ct\.csv: file must be readable ASCII text; got .*can't decode byte 0x80 in position 128",
    ),
    "negative dose": (
        {"dose": _with_row("dose", f"{flat((0, 0, 0))},-0.5")},
        r"/dose\.csv: dose must not be negative; got -0\.5",
    ),
    "dose in cGy": (
        {"dose": rows((place, 100 * dose_of(place)) for place in BODY)},
        r": dose_gy must be in \[0, 250\] Gy total; got \(0\.0, 5437\.5\)",
    ),
    "negative ct": ({"ct": _with_row("ct", "700000,-1")}, r"/ct\.csv: ct must not be negative; got -1\.0"),
}
