"""Numbers as text that every planning system reads alike."""

from decimal import Decimal


def plain_number(value: float | int) -> str:
    """Return the shortest decimal text that reads back as the same number: no exponent, no thousands, a point.

    >>> plain_number(26.0), plain_number(70.7), plain_number(1e-7)
    ('26', '70.7', '0.0000001')
    """
    text = format(Decimal(repr(float(value) + 0.0)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def times_exactly(value: float | int, factor: int) -> float:
    """Return a decimal number times a whole one without the rounding of binary floats.

    >>> 0.07 * 100, times_exactly(0.07, 100)
    (7.000000000000001, 7.0)
    """
    return float(Decimal(repr(float(value))) * factor)
