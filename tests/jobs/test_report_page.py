import base64
from pathlib import Path

import pytest

from dosewright.jobs import report_page


def test_text_is_escaped_everywhere(tmp_path: Path) -> None:
    nasty = "<script>&'"
    parts = [
        report_page.tiles([(nasty, nasty, nasty)]),
        report_page.remarks([nasty], nasty),
        report_page.table([nasty], [[nasty]], 1),
    ]
    page = report_page.write_page(tmp_path / "page.html", nasty, parts).read_text()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;&amp;&#x27;") == 8


def test_cells_get_their_classes() -> None:
    table = report_page.table(["a", "b"], [["x", "1"], ["y", "2"]], 1, [["first", "worse"], ["", ""]])
    assert "<tr><td class='text first'>x</td><td class='worse'>1</td></tr>" in table
    assert "<tr><td class='text'>y</td><td>2</td></tr>" in table


def test_no_remarks_no_box() -> None:
    assert report_page.remarks([]) == ""


@pytest.mark.parametrize(("name", "kind"), [("a.png", "image/png"), ("a.svg", "image/svg+xml")])
def test_pictures_are_inside_the_page(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    code = base64.b64encode(b"content").decode()
    assert report_page.picture(path) == f"<img alt='a' src='data:{kind};base64,{code}'>"
