"""Names as cells of a CSV that a spreadsheet may open: none is taken for a formula."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def cell(text: str) -> str:
    """Return a text as a cell: what could start a formula gets an apostrophe in front.

    >>> cell("=1+1"), cell("Lt Lung")
    ("'=1+1", 'Lt Lung')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def shown_source(text: str) -> str:
    """Return the text of a cell that `cell` wrote.

    >>> shown_source("'=1+1"), shown_source("Lt Lung")
    ('=1+1', 'Lt Lung')
    """
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
