"""Reading XML that came from elsewhere: no DOCTYPE, so no entities, and bounded in size, depth and count."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from dosewright.core import InputError
from dosewright.core.files import read_at_most

BYTES_MAX = 10_000_000
DEPTH_MAX = 32
ELEMENTS_MAX = 100_000


def read_safe_xml(path: str | Path) -> ET.Element:
    """Return the root of an XML file; names in a namespace are {namespace}name, comments are gone.

    Raises:
        InputError: If the file cannot be read, is larger than 10 MB, is not well-formed, has a DOCTYPE, or is nested
            more than 32 deep or made of more than 100 000 elements.
    """
    path = Path(path)
    try:
        return _Builder().parse(read_at_most(path, BYTES_MAX))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", argument="file", path=path) from error
    except InputError as error:
        raise InputError.located(error, path) from error
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: encodings that expat leaves to Python
        raise InputError(f"must be well-formed XML ({error})", argument="content", path=path) from error


class _Builder:
    """Builds a tree from expat's events, and stops at what it refuses before expat acts on it."""

    def __init__(self) -> None:
        self.tree = ET.TreeBuilder()
        self.depth = self.elements = 0

    def parse(self, content: bytes) -> ET.Element:
        parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self.tree.data
        parser.StartDoctypeDeclHandler = self._doctype
        parser.Parse(content, True)
        return self.tree.close()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        if self.depth > DEPTH_MAX:
            raise InputError(f"must be nested at most {DEPTH_MAX} deep", argument="elements", value=self.depth)
        if self.elements > ELEMENTS_MAX:
            raise InputError(f"must be at most {ELEMENTS_MAX}", argument="number of elements", value=self.elements)
        self.tree.start(_qualified(tag), {_qualified(name): text for name, text in attributes.items()})

    def _end(self, tag: str) -> None:
        self.depth -= 1
        self.tree.end(_qualified(tag))

    @staticmethod
    def _doctype(name: str, *_: object) -> NoReturn:
        raise InputError("must have no DOCTYPE, as it may define entities", argument="content", value=name)


def _qualified(name: str) -> str:
    return "{" + name if "}" in name else name
