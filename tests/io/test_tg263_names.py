"""What names are read as."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosewright.core import KNOWN, Role, role_of
from dosewright.io.tg263 import TG263Matcher
from dosewright.io.tg263.read_name import read_name
from dosewright.io.tg263.vocabulary import vocabulary

ROLES = {
    "target": Role.TARGET,
    "organ": Role.OAR,
    "device": Role.OAR,
    "helper": Role.HELPER,
    "external": Role.EXTERNAL,
}
# {} is an organ's name in words, side the letter L or R, word "left" or "right".
PATTERNS = ("{side} {}", "{}_{side}", "{word} {}", "{}-{word}", "{} ({side})", "{side}t_{}", "{} {side}T", "{word}_{}")


def test_names_of_the_standard_and_of_the_package_are_kept() -> None:
    for name in (*vocabulary().names, *KNOWN):
        reading = read_name(name)
        assert (reading.name, reading.how, reading.confidence) == (name, "exact", 1.0), name


def test_every_synonym_means_its_structure_in_every_spelling_of_its_side() -> None:
    """Names that are listed nowhere, each with one right answer: a fortieth of 20 710."""
    count, total = 0, 0
    for words, phrase in list(vocabulary().phrases.items())[::40]:
        structure = phrase.structure
        text = " ".join(words)
        if not structure.sided:
            spellings = {text, text.upper(), text.title(), text.replace(" ", "_"), text.title().replace(" ", "")}
            expected = dict.fromkeys(spellings, structure.name)
        else:
            expected = {
                pattern.format(spelling, side=side, word=word): f"{structure.name}_{side}"
                for pattern in PATTERNS
                for side, word in (("L", "left"), ("R", "right"))
                for spelling in (text, text.upper(), text.title().replace(" ", ""), text.replace(" ", "_"))
            }
        for spelling, name in expected.items():
            reading = read_name(spelling)
            assert reading.name in (name, None), (spelling, reading.name, name)
            count += reading.name == name and reading.how in ("exact", "synonym")
            total += 1
    assert total > 400
    assert count > 0.97 * total


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("BODY", "External"),
        ("Lt Lung", "Lung_L"),
        ("lungr", "Lung_R"),
        ("lparotid", "Parotid_L"),
        ("LeftParotid", "Parotid_L"),
        ("SubmandR", "Glnd_Submand_R"),
        ("r sub mandibular", "Glnd_Submand_R"),
        ("T_M_Joint_L", "Joint_TM_L"),
        ("B stem", "Brainstem"),
        ("OpticNerve_R", "OpticNrv_R"),
        ("Chiasim", "OpticChiasm"),
        ("OCavity", "Cavity_Oral"),
        ("PharConst", "Musc_Constrict"),
        ("PHAR_CON_LOW", "Musc_Constrict_I"),
        ("GREATVESSELS", "GreatVes"),
        ("L ON", "OpticNrv_L"),
        ("total lung", "Lungs"),
        ("Lung L+R", "Lungs"),
        ("both kidneys", "Kidneys"),
        ("left lower lobe", "Lung_LLL"),
        ("base of tongue", "Tongue_Base"),
        ("Rückenmark", "SpinalCord"),
        ("Niere li", "Kidney_L"),
        ("tête fémorale gauche", "Femur_Head_L"),
        ("nerf optique droit", "OpticNrv_R"),
        ("l'oeil gauche", "Eye_L"),
        ("Œsophage", "Esophagus"),
        ("polmone dx", "Lung_R"),
        ("ojo izq", "Eye_L"),
        ("heupkop links", "Femur_Head_L"),
        ("lumbar vertebrae", "VB_L"),
        ("Brain.partial", "Brain~"),
        ("Lt lung partial", "Lung~_L"),
        ("lt lung^ex GTV", "Lung_L^ex_GTV"),
    ],
)
def test_organs(source: str, name: str) -> None:
    reading = read_name(source)
    assert (reading.name, reading.how) == (name, "synonym")


@pytest.mark.parametrize(
    "source",
    [
        "Brain mets",
        "Brain sub",
        "Brain Push",
        "Heart ant wall",
        "cochlear",
        "retinal",
        "Orbital",
        "SC",
        "OC",
        "BP",
        "ON",
        "L HIP",
        "Larynx-Glottis",
        "Uterus+Cervix",
        "Bladder - Prostate",
        "Prostate SVs",
        "Eye/Lens",
        "Brain and cord",
        "left rt eye",
        "Lt Pros",
        "SpinalCord_01x",
        "medulla",
        "ventricles",
        "Body-3mm",
        "L nodes",
        "Urether",
        "Hip",
        "PTV+Urethra",
        "PTV-Urethra",
        "CTV-UrethraPRV",
        "PTV-Boost",
        "PTV inside",
        "Brain PTV",
        "PTV 66 60",
        "PTV160",
        "PTV154Gy",
        "PTV 60 old",
        "PTV_L",
        "GTV High",
        "PTV70+PTV60",
        "PTV < 60",
        "ROI-1",
        "-",
        "   ",
        "12",
        "Cord< 45",
        "x" * 129,
    ],
)
def test_what_is_not_wholly_understood_stays_unmatched(source: str) -> None:
    reading = read_name(source)
    assert (reading.name, reading.how, reading.confidence) == (None, "unmatched", 0.0)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("Parotid", ("Parotid_L", "Parotid_R", "Parotids")),
        ("ParotidCon", ("Parotid_L", "Parotid_R", "")),
        ("Parotidlps", ("Parotid_L", "Parotid_R", "")),
        ("contralateral parotid PRV", ("Parotid_PRV_L", "Parotid_PRV_R", "")),
        ("Submand-PTV", ("zGlnd_Submand_L-PTV", "zGlnd_Submand_R-PTV", "zGlnd_Submands-PTV")),
        ("Lung - GTV", ("Lung_L-GTV", "Lung_R-GTV", "Lungs-GTV")),
    ],
)
def test_paired_organs_without_a_side_stay_open(source: str, names: tuple[str, ...]) -> None:
    reading = read_name(source)
    assert (reading.name, reading.how, reading.candidates) == (None, "unmatched", names)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("PTV", "PTV"),
        ("ptv 70", "PTV_7000"),
        ("PTV70", "PTV_7000"),
        ("PTV_7000", "PTV_7000"),
        ("PTV 70Gy", "PTV_7000"),
        ("PTV_70.0 Gy", "PTV_7000"),
        ("PTV69.96", "PTV_6996"),
        ("PTV 5040cGy", "PTV_5040"),
        ("PTVHigh", "PTV_High"),
        ("PTV_mid", "PTV_Mid"),
        ("PTV low", "PTV_Low"),
        ("PTV 1 60", "PTV1_6000"),
        ("CTVn2", "CTVn2"),
        ("GTV-T", "GTVp"),
        ("GTV nodes", "GTVn"),
        ("rctv60nodes", "CTVn_R_6000"),
        ("CTV54-L", "CTV_L_5400"),
        ("GTV lt", "GTV_L"),
        ("PTV breast L 5040", "PTV_Breast_L_5040"),
        ("CTV prostate", "CTV_Prostate"),
        ("ptv_boost", "PTV_Boost"),
        ("ITV", "ITV"),
        ("PTVeval", "PTV_Eval"),
        ("PTV_7000-05", "PTV_7000-05"),
        ("PTV!_6000", "PTV!_6000"),
        ("PTV_Mid01", "PTV_Mid01"),
    ],
)
def test_targets(source: str, name: str) -> None:
    reading = read_name(source)
    assert (reading.name, reading.kind) == (name, "target")
    assert reading.how in ("exact", "synonym")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("PTVHighOPT", "zPTV_High_Opt"),
        ("opti.PTV60", "zPTV_6000_Opt"),
        ("L Lens opt", "zLens_L_Opt"),
        ("RingPTVLow", "Ring_PTV_Low"),
        ("PTV shell", "Ring_PTV"),
        ("PTV ring 1", "zPTV_ring_1"),
        ("Mandible - PTV", "zBone_Mandible-PTV"),
        ("PTVMid-PTVHigh", "zPTV_Mid-PTV_High"),
        ("TOTAL LUNG - GTV", "Lungs-GTV"),
        ("Dose 95[%]", "zDose_95"),
        ("COLD PTV6996", "zCOLD_PTV6996"),
        ("Density Override", "zDensity_Override"),
        ("z_Avoid 56", "z_Avoid_56"),
        ("Tumor Bed Block", "zTumor_Bed_Block"),
    ],
)
def test_helpers(source: str, name: str) -> None:
    assert read_name(source).name == name


@pytest.mark.parametrize(
    ("source", "name", "how"),
    [
        ("Cord PRV 5mm", "SpinalCord_PRV05", "synonym"),
        ("Cord.PRV", "SpinalCord_PRV", "synonym"),
        ("Cord + 0.5cm", "SpinalCord_PRV05", "synonym"),
        ("PRV_OpticNrv_L", "OpticNrv_PRV_L", "synonym"),
        ("Cochlea Lt + 3mm", "Cochlea_PRV03_L", "synonym"),
        ("Brainstem expd", "Brainstem_PRV", "synonym"),
        ("BrainStem_03", "Brainstem_PRV03", "synonym"),
        ("OpticNrv_PRV03_L", "OpticNrv_PRV03_L", "exact"),
        ("Liver_03", "Liver_PRV03", "fuzzy"),
        ("Cord+3", "SpinalCord_PRV03", "fuzzy"),
        ("ESOPHAGUS_2CM", "Esophagus_PRV20", "fuzzy"),
        ("Cord + 31mm", None, "unmatched"),
        ("Cord + 0.25mm", None, "unmatched"),
        ("Skin 5mm", None, "unmatched"),
    ],
)
def test_margins(source: str, name: str | None, how: str) -> None:
    reading = read_name(source)
    assert (reading.name, reading.how) == (name, how)


@pytest.mark.parametrize(
    ("source", "name", "note"),
    [
        ("Esophogus", "Esophagus", "'esophogus' taken for 'esophagus'"),
        ("Brachail plexus L", "BrachialPlex_L", "'brachail' taken for 'brachial'"),
        ("Brrainstem PRV", "Brainstem_PRV", "'brrainstem' taken for 'brainstem'"),
        ("Brain1", "Brain", "disregarded '1'"),
        ("parotid l new", "Parotid_L", "disregarded 'new'"),
        ("Temporal lobes L", "Lobe_Temporal_L", "a plural with a side"),
        ("3PTV_5600", "PTV_5600", "disregarded '3'"),
        ("PTV-HR", "PTV_High", "taken for a dose level"),
    ],
)
def test_guesses_say_what_they_assume(source: str, name: str, note: str) -> None:
    reading = read_name(source)
    assert (reading.name, reading.how) == (name, "fuzzy")
    assert note in reading.note
    assert 0.5 < reading.confidence <= 0.9


def test_an_internal_target_is_no_organ() -> None:
    """`role_of` must call it a target before it may have its name."""
    reading = read_name("IGTV")
    assert reading.name is None or role_of(reading.name) is Role.TARGET


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z _+\-.0-9]{1,24}", fullmatch=True))
@settings(max_examples=80, deadline=None)
def test_any_text_is_read_without_an_error_and_to_a_legal_name(source: str) -> None:
    match = TG263Matcher().match([source]).matches[0]
    assert match.source == source
    if match.name is None:
        assert match.confidence == 0
    else:
        assert role_of(match.name) is ROLES[match.kind]
        assert read_name(match.name).how == "exact"


@given(st.sampled_from(sorted(vocabulary().words)), st.sampled_from(sorted(vocabulary().words)), st.booleans())
@settings(max_examples=50, deadline=None)
def test_what_a_name_is_read_as_is_a_name_of_its_own(first: str, second: str, target: bool) -> None:
    for source in (
        f"{first} {second}",
        f"{first}_{second}_L",
        f"PTV {first} 50" if target else f"{first}-PTV",
        f"{first} PRV",
    ):
        reading = read_name(source)
        if reading.name is not None:
            assert role_of(reading.name) is ROLES[reading.kind], source
            assert read_name(reading.name).how == "exact", source


def test_words_with_two_meanings_are_refused() -> None:
    from dosewright.io.tg263 import vocabulary as module

    with pytest.raises(ValueError, match="'cord' stands for both"):
        module._add_word({"cord": ("cord",)}, set(), "cord", ("spine",))
    with pytest.raises(ValueError, match="'tronc cerebral' stands for both"):
        module._add_spelling({}, {("tronc", "cerebral"): ("brainstem",)}, set(), "tronc cerebral", ("brain",))
    phrases = dict(vocabulary().phrases)
    brain, heart = phrases["brain",], phrases["heart",]
    with pytest.raises(ValueError, match="'brain' means both Brain and Heart"):
        module._add_phrase({("brain",): brain}, ("brain",), heart)
