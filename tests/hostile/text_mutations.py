"""Mutations of text: CSV, JSON, XML and the header of an NRRD file."""

import random
import re

from hostile.mutation import Mutation, on_bytes, on_text

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
_ODD_NUMBERS = (
    *("nan", "NaN", "inf", "-Infinity", "1e999", "-1", "-0", "0", "1e-320", "9" * 400, "0x10", "1_000", "٣", "1,5"),
    *("", "true", "null", "--1", "1e", "∞", "99999999999999999999", "2147483648", "-9223372036854775809", "1e308"),
)


def _odd_number(text: str, rng: random.Random) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return text + rng.choice(_ODD_NUMBERS)
    hit = rng.choice(found)
    return text[: hit.start()] + rng.choice(_ODD_NUMBERS) + text[hit.end() :]


def _odd_numbers_everywhere(text: str, rng: random.Random) -> str:
    odd = rng.choice(_ODD_NUMBERS)
    return _NUMBER.sub(lambda _: odd, text)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _delete_lines(text: str, rng: random.Random) -> str:
    lines = _lines(text)
    start = rng.randrange(len(lines))
    return "".join(lines[:start] + lines[start + rng.choice((1, 2, 50)) :])


def _repeat_line(text: str, rng: random.Random) -> str:
    lines = _lines(text)
    at = rng.randrange(len(lines))
    return "".join(lines[:at] + [lines[at]] * rng.choice((2, 3, 100)) + lines[at + 1 :])


def _swap_lines(text: str, rng: random.Random) -> str:
    lines = _lines(text)
    rng.shuffle(lines)
    return "".join(lines)


def _long_line(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(("x", "9", ",", '"', "<", "[", "\t")) * 300_000 + text[at:]


def _odd_letter(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice("\0\x1a\r\x85\u2028\ufeff\ud800\U0001f480'\"\\;%{}<>&=#") + text[at:]


def _word(text: str, rng: random.Random) -> str:
    words = list(re.finditer(r"[A-Za-z_]{2,}", text))
    if not words:
        return text + "x"
    hit = rng.choice(words)
    other = rng.choice(words)
    return text[: hit.start()] + rng.choice((other[0], hit[0][::-1], hit[0] * 50, "", "../../x")) + text[hit.end() :]


TEXT = (
    on_text("odd number", _odd_number, may_differ=True),
    on_text("odd numbers everywhere", _odd_numbers_everywhere, may_differ=True),
    on_text("deleted lines", _delete_lines, may_differ=True),
    on_text("repeated line", _repeat_line, may_differ=True),
    on_text("shuffled lines", _swap_lines, may_differ=True),
    on_text("very long line", _long_line, may_differ=True),
    on_text("odd letter", _odd_letter, may_differ=True),
    on_text("another word", _word, may_differ=True),
)
ENCODINGS = (
    on_bytes("UTF-16", lambda data, rng: data.decode().encode("utf-16")),
    on_bytes("UTF-32", lambda data, rng: data.decode().encode("utf-32-be")),
    on_bytes("EBCDIC", lambda data, rng: data.decode().encode("cp500", "replace")),
    on_bytes("byte order mark", lambda data, rng: b"\xef\xbb\xbf" + data),
    on_bytes(
        "bytes of no encoding",
        lambda data, rng: data.replace(b"e", b"\xe9\xff", 3) if b"e" in data else b"\xff" + data,
        True,
    ),
)


def _nested(opening: str, closing: str) -> Mutation:
    def change(text: str, rng: random.Random) -> str:
        depth = rng.choice((40, 1000, 100_000))
        return opening * depth + text + closing * depth

    return on_text(f"nested in {opening}", change)


def _json_twice(text: str, rng: random.Random) -> str:
    keys = list(re.finditer(r'"(\w+)"\s*:', text))
    if not keys:
        return text
    hit = rng.choice(keys)
    return text[: hit.start()] + f'"{hit[1]}": 1, ' + text[hit.start() :]


def _json_value(text: str, rng: random.Random) -> str:
    values = list(re.finditer(r':\s*("[^"]*"|-?[\d.]+|true|false|null)', text))
    if not values:
        return text
    hit = rng.choice(values)
    odd = rng.choice(("[]", "{}", "null", "true", '""', "[[1]]", '"\\ud800"', "-1", "1e400", '{"a": 1}', "0", '"NaN"'))
    return text[: hit.start()] + f": {odd}" + text[hit.end() :]


JSON = (
    _nested("[", "]"),
    _nested('{"a":', "}"),
    on_text("key twice", _json_twice),
    on_text("another kind of value", _json_value, may_differ=True),
    on_text("comment", lambda text, rng: "// comment\n" + text),
    on_text("no object", lambda text, rng: rng.choice(("[]", "null", "3", '"text"', "true", "{}"))),
)
#: `{secret}` is a file outside that must not be opened.
_ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">'
    '<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">'
    '<!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;"><!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;">]>',
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file://{secret}">]>',
    '<!DOCTYPE x SYSTEM "{secret}">',
    '<!DOCTYPE x [<!ENTITY % p SYSTEM "file://{secret}">%p;]>',
    '<!DOCTYPE x [<!ENTITY a "' + "x" * 50_000 + '">]>',
)


def _entity(text: str, rng: random.Random) -> str:
    head, mark, rest = text.partition("?>")
    body = rest if mark else head
    reference = rng.choice(("&a;", "&g;", "&a;" * 30_000))
    inside = re.sub(r">([^<>]+)<", lambda hit: f">{reference}<", body, count=1)
    return (head + mark if mark else "") + rng.choice(_ENTITIES) + inside


def _tag(text: str, rng: random.Random) -> str:
    tags = list(re.finditer(r"<(/?)(\w+)", text))
    hit = rng.choice(tags)
    return text[: hit.start()] + f"<{hit[1]}{rng.choice(('x', 'Objective', 'Dose', hit[2] * 2))}" + text[hit.end() :]


def _element(text: str, rng: random.Random) -> str:
    found = list(re.finditer(r"<(\w+)[^<>]*>[^<>]*</\1>", text))
    if not found:
        return text
    hit = rng.choice(found)
    return text[: hit.start()] + hit[0] * rng.choice((0, 2, 3)) + text[hit.end() :]


XML = (
    on_text("entities", _entity),
    on_text("another tag", _tag, may_differ=True),
    on_text("element missing or repeated", _element, may_differ=True),
    _nested("<a>", "</a>"),
    on_text(
        "another root", lambda text, rng: "<ObjectiveTemplates>" + text.partition("?>")[2] + "</ObjectiveTemplates>"
    ),
    on_text(
        "encoding that is not so", lambda text, rng: text.replace("utf-8", "utf-7").replace("UTF-8", "UTF-7"), True
    ),
)
