"""The report in a real browser, without a window: what moves, what is seen, what the keys do, and no complaint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from chromium import PROGRAM, Browser
from pages import draw_photo, make_small_preview

from dpdeblur.colour.spaces import SRGB
from dpdeblur.photo import Photo
from dpdeblur.restoration.defocus import DefocusMap
from dpdeblur.writers.preview import Side, make_preview
from dpdeblur.writers.report import Report, Row, Wording

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")

WIDTH_PX, HEIGHT_PX = 2400, 1600
STRIPE_PX = 12
WINDOW = (1200, 800)


def draw_stripes() -> npt.NDArray[np.float32]:
    """Dark upright stripes 12 pixels wide, linear gray."""
    line = np.where((np.arange(WIDTH_PX) // STRIPE_PX) % 2 == 0, 0.03, 0.1)
    return np.repeat(line[None, :, None].astype(np.float32), HEIGHT_PX, axis=0)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos: a large one that became much lighter, all its pixels kept; a failed one; a small one."""
    path = tmp_path_factory.mktemp("report") / "sharp photos.html"
    before = draw_stripes()
    photo = Photo((path.with_name("large & striped.CR2"),), "image", before)
    ramp = np.linspace(-2, 2, 24, dtype=np.float32)[None].repeat(16, axis=0)
    defocus = DefocusMap("disparity", ramp, np.ones_like(ramp))
    after = before + np.float32(0.5)
    after[:100] = 1
    with Report(path, Wording("Restored photos"), keeps_full=True) as page:
        page.begin(1000)
        preview = page.examiner.examine(photo, after, defocus)
        assert preview is not None and preview.full is not None
        facts = [("Camera", [("Camera", "Canon <EOS>")])]
        page.add(Row("large & striped.CR2", "done", "k3dn", facts=facts, warnings=("Careful.",), preview=preview))
        page.add(Row("broken.CR2", "failed", "broken.CR2: is cut short; copy it again"))
        page.add(Row("small.tif", "done", "gkmnet", preview=make_small_preview(300, 200)))
    return path


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests: it takes a second to start."""
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """A browser that must have had nothing to complain of when the test is over."""
    shared_browser.complaints.clear()
    shared_browser.prefer("light")
    shared_browser.resize(*WINDOW)
    yield shared_browser
    assert shared_browser.complaints == []


def show(browser: Browser, report: Path, place: str = "") -> None:
    """Open the page from its file, anew."""
    browser.open("about:blank")
    browser.open(report.as_uri() + place)
    if place:
        browser.wait_for("[...document.querySelectorAll('.world img.whole')].every((one) => one.complete)")


def look(browser: Browser) -> npt.NDArray[np.int64]:
    """What is to be seen, (height, width, 3) BGR."""
    # two frames later everything that was asked for is painted
    browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    picture = cv2.imdecode(np.frombuffer(browser.take_picture(), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(picture, np.int64)


def find_stage(browser: Browser) -> tuple[float, float, float, float]:
    box = browser.find_box("#stage")
    return box["x"], box["y"], box["width"], box["height"]


def read_split(browser: Browser) -> int:
    return int(browser.evaluate("document.querySelector('#handle').ariaValueNow"))


def read_zoom(browser: Browser) -> str:
    return str(browser.evaluate("document.querySelector('#zoom').textContent"))


def test_the_page_opens_from_a_file_without_complaint(browser: Browser, report: Path) -> None:
    show(browser, report)
    assert browser.evaluate("document.title") == "Restored photos"
    assert browser.evaluate("document.querySelector('#viewer').hidden") is True
    assert browser.evaluate("document.querySelectorAll('#photos img').length") == 2


def test_a_photo_opens_by_its_card_and_escape_leads_back_to_it(browser: Browser, report: Path) -> None:
    show(browser, report)
    browser.evaluate("document.querySelectorAll('#photos a')[2].click()")
    browser.wait_for("!document.querySelector('#viewer').hidden")
    assert browser.evaluate("document.querySelector('#title').textContent") == "small.tif"
    browser.press("Escape")
    browser.wait_for("document.querySelector('#viewer').hidden")
    assert browser.evaluate("document.activeElement.querySelector('.name').textContent") == "small.tif"


def test_the_boundary_follows_the_mouse_and_divides_dark_from_light(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    x, y, width, height = find_stage(browser)
    assert read_split(browser) == 50
    row = int(y + height * 0.75)
    left, right = int(x + width * 0.3), int(x + width * 0.7)
    seen = look(browser)
    assert seen[row, left].mean() < 120 < 170 < seen[row, right].mean()
    browser.drag((x + width / 2, y + height / 2), (x + width * 0.1, y + height / 2))
    assert read_split(browser) == 10
    seen = look(browser)
    assert seen[row, left].mean() > 170
    browser.drag((x + width * 0.1, y + height / 2), (x + width * 0.9, y + height / 2))
    assert read_split(browser) == 90
    seen = look(browser)
    assert seen[row, right].mean() < 140


def test_arrows_move_the_boundary_and_stay_within_the_borders(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    for _ in range(3):
        browser.press("ArrowLeft")
    assert read_split(browser) == 44
    browser.press("ArrowRight")
    assert read_split(browser) == 46
    browser.press("Home")
    browser.press("ArrowLeft")
    assert read_split(browser) == 0
    browser.press("End")
    assert read_split(browser) == 100
    assert browser.evaluate("document.querySelector('#handle').getAttribute('aria-valuetext')") == "100 % Before"


@pytest.mark.parametrize("pixel_ratio", [1.0, 2.0])
def test_at_100_percent_a_pixel_of_the_photo_is_one_of_the_screen(
    browser: Browser, report: Path, pixel_ratio: float
) -> None:
    browser.resize(*WINDOW, pixel_ratio=pixel_ratio)
    show(browser, report, "#1")
    browser.press("1")
    assert read_zoom(browser) == "100 %"
    assert browser.find_box("#pane-before .whole")["width"] == pytest.approx(WIDTH_PX / pixel_ratio, abs=0.01)
    browser.wait_for("document.querySelectorAll('img.full:not([hidden])').length === 2")
    x, y, width, height = (round(value * pixel_ratio) for value in find_stage(browser))
    # stripes of the restored picture, right of the boundary: edges must come every 12 pixels of the screen
    line = look(browser)[y + height * 3 // 4, x + width * 6 // 10 : x + width * 9 // 10].mean(axis=1)
    edges = np.flatnonzero(np.abs(np.diff((line > (line.min() + line.max()) / 2).astype(int))))
    assert len(edges) > 8
    np.testing.assert_array_equal(np.diff(edges), STRIPE_PX)


def test_zoom_by_keys_and_wheel_keeps_both_pictures_together(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    browser.press("m")
    fitting = browser.find_box("#pane-before .whole")["width"]
    browser.press("+")
    assert browser.find_box("#pane-before .whole")["width"] == pytest.approx(1.25 * fitting, rel=1e-3)
    browser.press("-")
    assert browser.find_box("#pane-before .whole")["width"] == pytest.approx(fitting, rel=1e-3)
    x, y, width, height = find_stage(browser)
    place = (x + width * 0.25, y + height * 0.4)
    earlier = browser.find_box("#pane-before .whole")
    browser.turn_wheel(place, -600)
    browser.wait_for(f"document.querySelector('#pane-before .whole').getBoundingClientRect().width > {fitting * 1.5}")
    later = browser.find_box("#pane-before .whole")
    for axis, size, at in (("x", "width", place[0]), ("y", "height", place[1])):
        share = (at - earlier[axis]) / earlier[size]
        assert (at - later[axis]) / later[size] == pytest.approx(share, abs=2e-3)
    assert browser.find_box("#pane-after .whole") == later
    assert browser.find_box("#pane-over .map") == later


def test_a_zoomed_photo_is_moved_by_mouse_and_keys_within_its_borders(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    browser.press("1")
    x, y, width, height = find_stage(browser)
    start = browser.find_box("#pane-after .whole")
    browser.drag((x + width * 0.8, y + height * 0.5), (x + width * 0.8 - 60, y + height * 0.5))
    moved = browser.find_box("#pane-after .whole")
    assert moved["x"] == pytest.approx(start["x"] - 60, abs=1)
    assert read_split(browser) == 50
    browser.press("ArrowRight", shift=True)
    assert browser.find_box("#pane-before .whole")["x"] == pytest.approx(moved["x"] - 80, abs=1)
    for _ in range(60):
        browser.press("ArrowLeft", shift=True)
    assert browser.find_box("#pane-before .whole")["x"] == pytest.approx(x, abs=1)
    browser.press("0")
    assert browser.find_box("#pane-before .whole")["height"] <= height + 0.01


def test_all_pixels_are_loaded_only_when_they_are_needed(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    assert browser.evaluate("document.querySelectorAll('img.full').length") == 0
    browser.press("1")
    browser.wait_for("document.querySelectorAll('img.full:not([hidden])').length === 2")
    assert browser.evaluate("document.querySelector('img.full').naturalWidth") == WIDTH_PX
    assert browser.evaluate("document.querySelectorAll('.frame').length") == 0
    assert browser.evaluate("document.querySelector('#note').hidden") is True


def test_without_all_pixels_the_page_says_where_they_are(browser: Browser, tmp_path: Path) -> None:
    with Report(tmp_path / "r.html", Wording("Restored photos")) as page:
        page.begin(1000)
        before = draw_stripes()
        after = before.copy()
        after[700:900, 1500:1700] += 0.2
        sharp = DefocusMap("blur radius", np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32))
        preview = page.examiner.examine(Photo((Path("a.CR2"),), "image", before), after, sharp)
        page.add(Row("a.CR2", "done", "k3dn", preview=preview))
    show(browser, tmp_path / "r.html", "#1")
    browser.press("1")
    assert "only the framed part" in browser.evaluate("document.querySelector('#note').textContent")
    frame, (x, y, width, height) = browser.find_box(".frame"), find_stage(browser)
    assert frame["x"] + frame["width"] / 2 == pytest.approx(x + width / 2, abs=2)
    assert frame["y"] + frame["height"] / 2 == pytest.approx(y + height / 2, abs=2)
    detail = browser.evaluate("document.querySelector('.detail').naturalWidth")
    assert detail == frame["width"]


def test_the_map_and_the_clipped_areas_are_shown_with_their_legends(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    browser.press("End")
    x, y, width, height = find_stage(browser)
    places = [(int(y + height * 0.6), int(x + width * share)) for share in (0.05, 0.95)]
    plain = look(browser)
    browser.press("m")
    mapped = look(browser)
    left, right = (mapped[place] - plain[place] for place in places)
    assert left[0] > left[2] + 60, "negative disparity is blue"
    assert right[2] > right[0] + 60, "positive disparity is orange"
    legend = browser.evaluate("document.querySelector('#legend').innerText")
    assert "Disparity" in legend and "\u22122 px" in legend and "+2 px" in legend and "0, in focus" in legend
    browser.press("m")
    assert browser.evaluate("document.querySelector('#legend').hidden") is True
    browser.press("c")
    top = (int(browser.find_box("#pane-after .whole")["y"] + 8), int(x + width * 0.5))
    clipped = look(browser)[top]
    assert clipped[2] > 200 and clipped[0] < 100
    assert "white 6.25 %" in browser.evaluate("document.querySelector('#clip-legend').innerText")


def test_keys_lead_from_photo_to_photo_past_failed_ones(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    browser.press("n")
    browser.wait_for("document.querySelector('#title').textContent === 'broken.CR2'")
    assert (
        browser.evaluate("document.querySelector('#failure').textContent") == "broken.CR2: is cut short; copy it again"
    )
    for key in ("1", "+", "ArrowLeft", "m", "c", "b", "0"):
        browser.press(key)
    browser.press("PageDown")
    browser.wait_for("document.querySelector('#title').textContent === 'small.tif'")
    assert browser.evaluate("document.querySelector('#place').textContent") == "3 of 3"
    assert browser.evaluate("document.querySelector('#next').disabled") is True
    browser.press("n")
    browser.press("p")
    browser.wait_for("document.querySelector('#title').textContent === 'broken.CR2'")


def test_before_only_and_back(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    x, y, width, height = find_stage(browser)
    place = int(y + height * 0.75), int(x + width * 0.7)
    light = look(browser)[place].mean()
    browser.press("b")
    assert look(browser)[place].mean() < light - 30
    assert browser.evaluate("document.querySelector('#flip').getAttribute('aria-pressed')") == "true"
    browser.press("b")
    assert look(browser)[place].mean() == pytest.approx(light, abs=2)


def test_help_opens_and_closes_and_keeps_the_keys_to_itself(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    browser.press("?")
    assert browser.evaluate("document.querySelector('#help').open") is True
    browser.press("ArrowLeft")
    assert read_split(browser) == 50
    browser.evaluate("document.querySelector('#help button').click()")
    assert browser.evaluate("document.querySelector('#help').open") is False


def test_what_is_told_of_a_photo_is_text(browser: Browser, report: Path) -> None:
    show(browser, report, "#1")
    told = browser.evaluate("document.querySelector('#facts').innerText")
    assert "Canon <EOS>" in told and "Careful." in told
    assert browser.evaluate("document.querySelector('#title').textContent") == "large & striped.CR2"


def find_contrast(browser: Browser, selector: str) -> float:
    """The contrast of an element's text with the first background behind it (WCAG 2.2, relative luminance)."""
    colours = browser.evaluate(
        f"""(() => {{
          const element = document.querySelector({selector!r});
          let behind = element;
          while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
          const numbers = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
          return [numbers(getComputedStyle(element).color), numbers(getComputedStyle(behind).backgroundColor)];
        }})()"""
    )
    shares = np.array(colours) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    bright, dark = sorted(linear @ [0.2126, 0.7152, 0.0722], reverse=True)
    return float((bright + 0.05) / (dark + 0.05))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser: Browser, report: Path, scheme: str) -> None:
    browser.prefer(scheme)
    show(browser, report)
    background = look(browser)[790, 5].mean()
    assert background > 220 if scheme == "light" else background < 40
    for selector in ("h1", "#summary", "#photos .name", "#photos .warned", "#photos .failed .state"):
        assert find_contrast(browser, selector) >= 4.5, selector
    show(browser, report, "#1")
    for selector in ("#title", "#place", "#facts dt", "#facts dd", "#facts li", "#facts h3", "#about", "#fit"):
        assert find_contrast(browser, selector) >= 4.5, selector


@pytest.mark.parametrize("place", ["", "#1", "#2"])
@pytest.mark.parametrize("width", [320, 390, 700, 1600])
def test_nothing_is_wider_than_the_window(browser: Browser, report: Path, width: int, place: str) -> None:
    browser.resize(width, 700)
    show(browser, report, place)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    outside = browser.evaluate(
        "[...document.querySelectorAll('button, input, select, h1, h2')].filter((one) => one.offsetParent)"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML)"
    )
    assert outside == []


def test_what_has_the_focus_is_to_be_seen(browser: Browser, report: Path) -> None:
    show(browser, report)
    browser.press("Tab")
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert browser.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2


def test_the_policy_stops_scripts_and_pictures_from_elsewhere(browser: Browser, report: Path) -> None:
    show(browser, report)
    browser.evaluate(
        """(() => {
          const script = document.createElement("script");
          script.textContent = "window.isHacked = true";
          document.body.append(script);
          const image = document.createElement("img");
          image.src = "https://example.invalid/x.png";
          document.body.append(image);
          document.body.insertAdjacentHTML("beforeend", "<b onclick='window.isHacked = true'>x</b>");
          document.body.lastElementChild.click();
        })()"""
    )
    assert browser.evaluate("window.isHacked") is None
    assert len(browser.complaints) == 3
    assert all("Content Security Policy" in complaint for complaint in browser.complaints)
    browser.complaints.clear()


@pytest.fixture(scope="module")
def large_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand photos, every hundredth failed."""
    path = tmp_path_factory.mktemp("large") / "r.html"
    side = Side(draw_photo(900, 600), SRGB, 1)
    with Report(path, Wording("Restored photos")) as page:
        page.begin(1000)
        preview = make_preview(side, side, None, 10_000)
        for number in range(1, 1001):
            name = f"IMG_{number:04}.CR2"
            if number % 100:
                page.add(Row(name, "done", "k3dn", preview=preview))
            else:
                page.add(Row(name, "failed", f"{name}: is cut short"))
    return path


def test_a_thousand_photos_are_found_by_name_and_by_how_they_ended(browser: Browser, large_report: Path) -> None:
    show(browser, large_report)
    shown = "[...document.querySelectorAll('#photos > li')].filter((one) => !one.hidden).length"
    assert browser.evaluate(shown) == 1000
    browser.evaluate(
        "(() => { const find = document.querySelector('#find'); find.value = 'img_012';"
        " find.dispatchEvent(new Event('input')); })()"
    )
    assert browser.evaluate(shown) == 10
    browser.evaluate(
        "(() => { const state = document.querySelector('#state'); state.value = 'failed';"
        " state.dispatchEvent(new Event('change')); })()"
    )
    assert browser.evaluate(shown) == 0
    assert browser.evaluate("document.querySelector('#none').hidden") is False
    browser.evaluate(
        "(() => { const find = document.querySelector('#find'); find.value = '';"
        " find.dispatchEvent(new Event('input')); })()"
    )
    assert browser.evaluate(shown) == 10
    browser.evaluate("document.querySelectorAll('#photos a')[299].click()")
    browser.wait_for("document.querySelector('#title').textContent === 'IMG_0300.CR2'")
    browser.press("n")
    browser.wait_for("document.querySelector('#title').textContent === 'IMG_0400.CR2'")
    assert browser.evaluate("document.querySelector('#place').textContent") == "4 of 10"


def test_the_place_in_a_thousand_photos_is_kept(browser: Browser, large_report: Path) -> None:
    show(browser, large_report)
    find_card = "document.querySelectorAll('#photos a')[{}].getBoundingClientRect()"
    browser.evaluate("document.querySelectorAll('#photos a')[700].scrollIntoView({block: 'center'})")
    assert browser.evaluate("scrollY") > 1000
    browser.evaluate("document.querySelectorAll('#photos a')[700].click()")
    browser.wait_for("document.querySelector('#title').textContent === 'IMG_0701.CR2'")
    for key, number in (("n", 702), ("Escape", 702)):
        browser.press(key)
        browser.wait_for(f"document.querySelector('#title').textContent === 'IMG_0{number}.CR2'")
    browser.wait_for("document.querySelector('#viewer').hidden")
    assert browser.evaluate(find_card.format(701) + ".top") >= 0
    assert browser.evaluate(find_card.format(701) + ".bottom") <= WINDOW[1]


def test_a_single_photo_is_shown_at_once(browser: Browser, tmp_path: Path) -> None:
    with Report(tmp_path / "r.html", Wording("a and b", "a", "b", done="Compared")) as page:
        page.begin(1)
        page.add(Row("one.tif", "done", preview=make_small_preview()))
    show(browser, tmp_path / "r.html")
    assert browser.evaluate("document.querySelector('#viewer').hidden") is False
    assert browser.evaluate("document.querySelector('#back').hidden") is True
    assert browser.evaluate("document.querySelector('#tag-after').textContent") == "b"
    browser.press("Escape")
    assert browser.evaluate("document.querySelector('#viewer').hidden") is False
