"""All formats of planning systems; conf/format/ builds them."""

from dosewright.objectives.formats.eclipse import EclipseFormat
from dosewright.objectives.formats.esapi import EsapiFormat
from dosewright.objectives.formats.format import AbstractFormat
from dosewright.objectives.formats.matrad import MatRadFormat
from dosewright.objectives.formats.portpy import PortPyFormat
from dosewright.objectives.formats.pyradplan import PyRadPlanFormat
from dosewright.objectives.formats.raystation import RayStationFormat

CLASSES: tuple[type[AbstractFormat], ...] = (
    *(EclipseFormat, EsapiFormat, RayStationFormat),
    *(PortPyFormat, PyRadPlanFormat, MatRadFormat),
)
NAMES = tuple(kind.name for kind in CLASSES)
