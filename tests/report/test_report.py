"""The page as a file: its structure, what is escaped, how large it gets, and that it appears whole or not at all."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import re
import tracemalloc
from pathlib import Path

import pytest
from pages import Page, make_small_preview

from dpdeblur.errors import ReadError, UsageError
from dpdeblur.writers.report import Report, Row, Wording

WORDING = Wording("Restored photos")
HOSTILE = "<script>alert(1)</script>\"'&amp;</li>\u2028 \u202e.tif"


def write_report(path: Path, *rows: Row, wording: Wording = WORDING, keeps_full: bool = False) -> Report:
    with Report(path, wording, keeps_full=keeps_full) as report:
        report.begin(len(rows))
        for row in rows:
            report.add(row)
    assert report.failure is None
    return report


def list_folder(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_photo_has_its_row_whatever_became_of_it(tmp_path: Path) -> None:
    rows = (
        Row("a.CR2", "done", "k3dn", preview=make_small_preview(), warnings=("First.", "Second.")),
        Row("b.CR2", "failed", "b.CR2: is cut short; copy it again"),
        Row("c.CR2", "skipped", "made in another run"),
    )
    write_report(tmp_path / "r.html", *rows)
    page = Page(tmp_path / "r.html")
    assert page.names == ["a.CR2", "b.CR2", "c.CR2"]
    assert page.states == [
        "Restored: k3dn · 2 warnings",
        "Failed: b.CR2: is cut short; copy it again",
        "Done before: made in another run",
    ]
    assert [row.attributes["data-status"] for row in page.find("li") if "data-key" in row.attributes] == [
        "done",
        "failed",
        "skipped",
    ]
    assert [link.attributes["href"] for link in page.find("a")] == ["#1", "#2", "#3"]
    summary = page.find("p", id="summary")[0].text
    assert summary.startswith("1 restored, 1 failed, 1 done before · dpdeblur ")


def test_the_pictures_of_a_row_are_jpeg_and_png(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", Row("a.CR2", "done", preview=make_small_preview(3000, 2000)))
    record = Page(tmp_path / "r.html").records[0]
    assert (record["width"], record["height"]) == (3000, 2000)
    for part in ("whole", "detail"):
        for side in ("before", "after"):
            assert base64.b64decode(record[part][side]).startswith(b"\xff\xd8\xff")
    assert base64.b64decode(record["defocus"]["png"]).startswith(b"\x89PNG")
    assert (record["defocus"]["low"], record["defocus"]["high"]) == (-2, 2)


@pytest.mark.parametrize("where", ["name", "line", "warning", "fact", "heading", "label"])
def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path, where: str) -> None:
    row = Row(
        HOSTILE if where == "name" else "a.CR2",
        "failed",
        HOSTILE if where == "line" else "line",
        facts=[("Files", [("File", HOSTILE if where == "fact" else "a")])],
        warnings=(HOSTILE if where == "warning" else "warning",),
    )
    labels = (HOSTILE, HOSTILE) if where == "label" else ("Before", "After")
    write_report(tmp_path / "r.html", row, wording=Wording(HOSTILE if where == "heading" else "Heading", *labels))
    page = Page(tmp_path / "r.html")
    # one script of the page's own and one block of data: nothing that was written as text became an element
    assert [script.attributes for script in page.find("script")] == [{"type": "application/json"}, {}]
    assert len(page.find("li")) == 1
    record = page.records[0]
    assert record["name"] == row.name
    assert record["line"] == row.line
    assert record["warnings"] == list(row.warnings)
    assert record["facts"] == [["Files", [["File", row.facts[0][1][0][1]]]]]
    assert page.names == [" ".join(row.name.split())]
    assert page.find("body")[0].attributes["data-before"] == labels[0]


def test_a_name_that_is_no_text_is_shown_with_escapes(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", Row("caf\udce9.tif", "failed", "caf\udce9.tif: no"))
    assert Page(tmp_path / "r.html").names == ["caf\\udce9.tif"]


def test_nothing_on_the_page_comes_from_elsewhere(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", Row("a.CR2", "done", preview=make_small_preview()))
    page = Page(tmp_path / "r.html")
    for element in page.elements:
        assert not any(name.startswith("on") for name in element.attributes), element
        assert "style" not in element.attributes, element
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            address = element.attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), element
    text = (tmp_path / "r.html").read_text()
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text


@pytest.mark.parametrize(("keeps_full", "pictures"), [(False, "img-src data:;"), (True, "img-src data: file: 'self';")])
def test_the_policy_allows_this_script_and_style_alone(tmp_path: Path, keeps_full: bool, pictures: str) -> None:
    write_report(tmp_path / "r.html", Row("a.CR2", "failed"), keeps_full=keeps_full)
    page = Page(tmp_path / "r.html")
    policy = page.find("meta", http_equiv="Content-Security-Policy")[0].attributes["content"]
    assert policy is not None and policy.startswith("default-src 'none';") and pictures in policy
    for tag in ("script", "style"):
        element = next(one for one in page.find(tag) if not one.attributes)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy and "*" not in policy


def test_pictures_that_an_earlier_report_left_beside_it_may_be_shown(tmp_path: Path) -> None:
    (tmp_path / "r_files").mkdir()
    write_report(tmp_path / "r.html", Row("a.CR2", "failed"))
    policy = Page(tmp_path / "r.html").find("meta", http_equiv="Content-Security-Policy")[0].attributes["content"]
    assert policy is not None and "img-src data: file: 'self';" in policy


def test_the_page_is_named_and_labelled_for_those_who_hear_it(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", Row("a.CR2", "done", preview=make_small_preview()))
    page = Page(tmp_path / "r.html")
    assert page.find("html")[0].attributes["lang"] == "en"
    assert page.find("title")[0].text == page.find("h1")[0].text == "Restored photos"
    assert page.find("div", role="slider")[0].attributes["aria-label"]
    labelled = {element.attributes.get("for") for element in page.find("label")}
    for element in [*page.find("button"), *page.find("input"), *page.find("select")]:
        named = element.text.strip() or element.attributes.get("aria-label") or element.attributes.get("id") in labelled
        assert named, element
    assert all("alt" in element.attributes for element in page.find("img"))
    assert all(element.attributes["loading"] == "lazy" for element in page.find("img"))
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("photos", "limit"), [(1, 1_600_000), (100, 1_280_000), (1000, 128_000), (5000, 128_000)])
def test_a_photo_takes_no_more_of_the_page_than_its_share(tmp_path: Path, photos: int, limit: int) -> None:
    report = Report(tmp_path / "r.html", WORDING)
    report.begin(photos)
    assert report.examiner.budget_bytes == limit
    noisy = make_small_preview(1800, 1200, budget_bytes=limit)
    with report:
        report.add(Row("a.CR2", "done", preview=noisy))
    row = next(line for line in (tmp_path / "r.html").read_bytes().splitlines() if line.startswith(b"<li"))
    assert len(row) < limit


def test_memory_does_not_grow_with_the_batch(tmp_path: Path) -> None:
    preview = make_small_preview(900, 600)
    size = len(preview.whole.after) + len(preview.whole.before)

    def write_rows(count: int) -> int:
        tracemalloc.start()
        write_report(tmp_path / "r.html", *(Row(f"{i}.CR2", "done", preview=preview) for i in range(count)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = write_rows(5), write_rows(205)
    assert (tmp_path / "r.html").stat().st_size > 200 * size
    assert many - few < 200 * size / 20


def test_the_page_appears_with_its_last_row_and_leaves_nothing_else(tmp_path: Path) -> None:
    with Report(tmp_path / "r.html", WORDING) as report:
        report.add(Row("a.CR2", "failed", "no"))
        assert "r.html" not in list_folder(tmp_path)
    assert list_folder(tmp_path) == ["r.html"]


def test_an_interrupted_batch_leaves_a_page_of_what_was_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Report(tmp_path / "r.html", WORDING) as report:
        report.begin(7)
        report.add(Row("a.CR2", "done", preview=make_small_preview()))
        report.add(Row("b.CR2", "failed", "no"))
        raise KeyboardInterrupt
    page = Page(tmp_path / "r.html")
    assert page.names == ["a.CR2", "b.CR2"]
    assert "interrupted: 5 of 7 were not reached" in page.find("p", id="summary")[0].text
    assert list_folder(tmp_path) == ["r.html"]


def test_without_any_photo_there_is_no_page(tmp_path: Path) -> None:
    report = write_report(tmp_path / "r.html")
    assert list_folder(tmp_path) == []
    assert not report.is_written


def test_a_file_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text("<!doctype html><title>My diary</title>")
    with pytest.raises(UsageError, match="was not written by dpdeblur"):
        Report(tmp_path / "r.html", WORDING)
    assert (tmp_path / "r.html").read_text().endswith("diary</title>")


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "r.html").symlink_to(tmp_path / "nowhere.html")
    with pytest.raises(ReadError, match="cannot be read"):
        Report(tmp_path / "r.html", WORDING)


@pytest.mark.parametrize(("name", "reason"), [("IMG_1.CR2", "HTML file"), ("gone/r.html", "no folder"), ("r", "HTML")])
def test_a_name_that_cannot_be_a_page_is_wrong_use(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Report(tmp_path / name, WORDING)


def test_our_own_page_is_replaced(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", Row("a.CR2", "failed", "no"))
    write_report(tmp_path / "r.html", Row("b.CR2", "failed", "no"))
    assert Page(tmp_path / "r.html").names == ["b.CR2"]


def test_a_photo_that_was_done_before_keeps_its_pictures(tmp_path: Path) -> None:
    result = tmp_path / "a.tif"
    result.write_bytes(b"result")
    done = Row("a.CR2", "done", "k3dn", (result,), [("Files", [("File", "x")])], ("Careful.",), make_small_preview())
    write_report(tmp_path / "r.html", done, Row("b.CR2", "failed", "no"))
    before = Page(tmp_path / "r.html")
    again = Row("a.CR2", "skipped", "its pictures are elsewhere", (result,))
    write_report(tmp_path / "r.html", again, Row("c.CR2", "failed", "no"))
    after = Page(tmp_path / "r.html")
    assert after.records[0] == before.records[0]
    assert after.states[0] == "Done before · 1 warning"
    assert after.find("img")[0].attributes["src"] == before.find("img")[0].attributes["src"]
    write_report(tmp_path / "r.html", again)
    assert Page(tmp_path / "r.html").records[0] == before.records[0]


def test_pictures_of_a_result_that_changed_since_are_not_kept(tmp_path: Path) -> None:
    result = tmp_path / "a.tif"
    result.write_bytes(b"result")
    write_report(tmp_path / "r.html", Row("a.CR2", "done", "k3dn", (result,), preview=make_small_preview()))
    result.write_bytes(b"another result")
    write_report(tmp_path / "r.html", Row("a.CR2", "skipped", "its pictures are elsewhere", (result,)))
    page = Page(tmp_path / "r.html")
    assert "whole" not in page.records[0]
    assert page.states == ["Done before: its pictures are elsewhere"]


@pytest.mark.parametrize(
    ("find", "put"),
    [
        (b'"name":"a.CR2"', b'"name":'),
        (b'"warnings":[]', b'"warningz":[]'),
        (b"base64,", b"base64,!"),
        (b'{"name"', b'</script><img src=x onerror=alert(1)><script type="application/json">{"name"'),
    ],
)
def test_a_row_that_somebody_changed_is_not_taken_over_as_it_is(tmp_path: Path, find: bytes, put: bytes) -> None:
    result = tmp_path / "a.tif"
    result.write_bytes(b"result")
    write_report(tmp_path / "r.html", Row("a.CR2", "done", "k3dn", (result,), preview=make_small_preview()))
    content = (tmp_path / "r.html").read_bytes()
    assert find in content
    (tmp_path / "r.html").write_bytes(content.replace(find, put, 1))
    write_report(tmp_path / "r.html", Row("a.CR2", "skipped", "", (result,)))
    page = Page(tmp_path / "r.html")
    assert all("onerror" not in element.attributes for element in page.elements)
    assert page.names == ["a.CR2"]


def test_a_page_that_cannot_be_written_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up after the first row: the batch goes on, and the earlier page stays."""
    write_report(tmp_path / "r.html", Row("old.CR2", "failed", "no"))
    rendered: list[int] = []

    def fill_disk(*arguments: object, **options: object) -> bytes:
        rendered.append(1)
        if len(rendered) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return b"<li></li>\n"

    monkeypatch.setattr("dpdeblur.writers.report.render_row", fill_disk)
    with Report(tmp_path / "r.html", WORDING) as report:
        for name in "abc":
            report.add(Row(name, "failed", "no"))
    assert "the disk is full" in str(report.failure)
    assert len(rendered) == 2
    assert Page(tmp_path / "r.html").names == ["old.CR2"]
    assert list_folder(tmp_path) == ["r.html"]


def test_a_folder_that_vanished_is_said_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with Report(folder / "r.html", WORDING) as report:
        folder.rmdir()
        report.add(Row("a", "failed", "no"))
        report.add(Row("b", "failed", "no"))
    assert "the folder is gone" in str(report.failure)


def test_a_page_whose_elements_are_not_closed_in_order_is_found(tmp_path: Path) -> None:
    """The checker itself can fail."""
    (tmp_path / "r.html").write_text("<p><b></p>")
    with pytest.raises(AssertionError, match="closes nothing"):
        Page(tmp_path / "r.html")


def test_rows_are_lines_of_their_own_so_that_they_are_found_again(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", *(Row(f"a\n{i}", "failed", "x\ny") for i in range(3)))
    lines = [line for line in (tmp_path / "r.html").read_text().splitlines() if line.startswith("<li ")]
    assert [json.loads(re.findall(r"json\">(.*)</script>", line)[0])["name"] for line in lines] == [
        "a\n0",
        "a\n1",
        "a\n2",
    ]
