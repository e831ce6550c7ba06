"""Names of real plans: those printed in the AIRTP paper's Table 1, and those of the reference data.

What each is read as was gone through by eye: a name that is not understood may stay unmatched, but none may get
another's.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dosewright.io.tg263 import TG263Matcher
from dosewright.io.tg263.read_name import read_name

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

# arXiv:2501.11803, Table 1 → name, and how it was come by; None where only a person who knows the plan could say.
TABLE_1: dict[str, tuple[str | None, str]] = {
    "PTV5000": ("PTV_5000", "synonym"),
    "ptv inside": (None, "unmatched"),
    "3PTV_5600": ("PTV_5600", "fuzzy"),
    "2PTV w ON": (None, "unmatched"),
    "PTVplanning": ("PTV", "fuzzy"),
    "PTV 70": ("PTV_7000", "synonym"),
    "2PTV_4800Uniform": ("PTV_4800", "fuzzy"),
    "2PTV_P": ("PTVp", "fuzzy"),
    "ptv-temp": (None, "unmatched"),
    "lptv w": (None, "unmatched"),
    "lptv inf": (None, "unmatched"),
    "PTV46 Original": ("PTV_4600", "fuzzy"),
    "lleft PTV": (None, "unmatched"),
    "Brain1": ("Brain", "fuzzy"),
    "Brain.partial": ("Brain~", "synonym"),
    "BrainStem.PRV": ("Brainstem_PRV", "synonym"),
    "Cord High + .5": (None, "unmatched"),
    "Cord": ("SpinalCord", "synonym"),
    "LarynxGSL": (None, "unmatched"),
    "Left BP": ("BrachialPlex_L", "synonym"),
    "OC": (None, "unmatched"),
    "OC uninvolved": (None, "unmatched"),
    "OC wo": (None, "unmatched"),
    "OC-lips": (None, "unmatched"),
    "OC.Lips": (None, "unmatched"),
    "ON.03": (None, "unmatched"),
    "OralCavity": ("Cavity_Oral", "synonym"),
    "OralCavity.JJC": (None, "unmatched"),
    "OralCavity with 5445 PTV": (None, "unmatched"),
    "COLD PTV6996": ("zCOLD_PTV6996", "synonym"),
    "FINAL PTV69": ("PTV_6900", "fuzzy"),
    "MIN PTV66": (None, "unmatched"),
    "Opti.PTV60": ("zPTV_6000_Opt", "synonym"),
    "PTV 60 OPTI.AP.0.AP": ("zPTV_60_OPTI.AP.0.AP", "synonym"),
    "PTV 60 old": (None, "unmatched"),
    "PTV 66 Sup": (None, "unmatched"),
    "PTV EXP": (None, "unmatched"),
    "PTV HD": (None, "unmatched"),
    "PTV NECK": (None, "unmatched"),
    "PTV": ("PTV", "exact"),
    "PAROTIDES": ("Parotids", "synonym"),
    "Brain DNU": (None, "unmatched"),
    "Brain Push": (None, "unmatched"),
    "Brachial Plexus": (None, "unmatched"),
    "Brain sub": (None, "unmatched"),
    "Brain2": ("Brain", "fuzzy"),
    "Brainstem expd": ("Brainstem_PRV", "synonym"),
    "Bstem.PRV": ("Brainstem_PRV", "synonym"),
    "Cord + 0.5cm": ("SpinalCord_PRV05", "synonym"),
    "Cord< 45": (None, "unmatched"),
    "Cord.PRV": ("SpinalCord_PRV", "synonym"),
    "Cord+3": ("SpinalCord_PRV03", "fuzzy"),
    "Cord+5mm": ("SpinalCord_PRV05", "synonym"),
}
# Of the reference data: what keeps no name.
UNMATCHED = {
    "gdp": {  # all but the last have two sides, or one that only the masks can tell
        "BrachialPlexus",
        "Submandibular",
        "Submand-PTV",
        "ParotidCon-PTV",
        "ParotidIps-PTV",
        "Posterior_Neck",
    },
    "cards": {"BRACHIALPLEXUS", "CTV-UrethraPRV", "PTV+Urethra", "PTV-UrethraPRV"},
    "dicom": {"Areola", "Borders", "Breast", "Nodes", "ROI-1", "ROI-2", "ROI-3", "ROI-4"},
}


@pytest.mark.parametrize("source", TABLE_1)
def test_table_1_of_airtp(source: str) -> None:
    reading = read_name(source)
    assert (reading.name, reading.how) == TABLE_1[source]


def test_shares_of_table_1() -> None:
    assert Counter(read_name(source).how for source in TABLE_1) == {
        "synonym": 16,
        "exact": 1,
        "fuzzy": 9,
        "unmatched": 27,
    }


def texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from texts(value)


def gdp_names() -> set[str]:
    folder = DATA / "gdp-hmm-meta"
    targets = json.loads((folder / "PTV_DICT.json").read_text())
    names = set(texts(json.loads((folder / "Pat_Obj_DICT.json").read_text())))
    for levels in targets.values():
        names |= {name for level, entry in levels.items() for name in (level, *texts(entry))}
    return names


def card_names() -> set[str]:
    cards = [json.loads(path.read_text()) for path in sorted((DATA / "scorecards").glob("*.json"))]
    keys = ("StructureId", "TemplateStructureId")
    return {item["Structure"][key] for card in cards for item in card["ScoreTemplates"] for key in keys} - {None, ""}


def dicom_names() -> set[str]:
    files = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((DATA / "dicom").rglob("*.dcm"))]
    return {str(roi.ROIName) for file in files for roi in file.get("StructureSetROISequence", [])}


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["gdp", "cards", "dicom"])
def test_names_of_the_reference_data(kind: str) -> None:
    if not DATA.exists():
        pytest.skip("the reference data is not beside the project (../shared/data)")
    names = {"gdp": gdp_names, "cards": card_names, "dicom": dicom_names}[kind]()
    readings = {name: read_name(name) for name in names}
    assert {name for name, reading in readings.items() if reading.name is None} == UNMATCHED[kind]
    assert not [name for name, reading in readings.items() if reading.how == "fuzzy"]


def test_names_of_openkbp() -> None:
    organs = "Brainstem SpinalCord RightParotid LeftParotid Esophagus Larynx Mandible PTV56 PTV63 PTV70"
    names = "Brainstem SpinalCord Parotid_R Parotid_L Esophagus Larynx Bone_Mandible PTV_5600 PTV_6300 PTV_7000"
    assert TG263Matcher().match(organs.split()).mapping == dict(zip(organs.split(), names.split()))
