"""The viewer in a real browser: Debian's packages chromium and chromium-driver, driven by selenium.

What is drawn is read off the canvas: the image is grey, so a coloured pixel is a box's line.
"""

import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import SODA_D
from sodkit.viz.palette import class_colour
from sodkit.viz.report import write_report
from sodkit.viz.viewer import write_viewer

webdriver = pytest.importorskip("selenium.webdriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with chromedriver")

FIND_PIXELS = """
const [red, green, blue, done] = arguments;
requestAnimationFrame(() => requestAnimationFrame(() => {
  const canvas = document.getElementById("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = [];
  for (let k = 0; k < data.length; k += 4) {
    const off = [data[k] - red, data[k + 1] - green, data[k + 2] - blue];
    if (Math.abs(off[0]) + Math.abs(off[1]) + Math.abs(off[2]) <= 150) found.push(k / 4);
  }
  done([found, canvas.width, canvas.height]);
}));
"""
READ_KINDS = """
const rows = [...document.querySelectorAll("#kinds tbody tr")];
return rows.map((row) => [...row.cells].map((cell) => cell.textContent));
"""
WHITE = (255, 255, 255)
TIMES = "\u00d7"
NAMES = ("car", "<b>行人</b>")


@dataclass
class Page:
    """A page in the browser, as its reader sees it."""

    driver: object

    def text(self, name):
        return self.driver.find_element("id", name).text

    def click(self, name):
        self.driver.find_element("id", name).click()

    def press(self, keys):
        self.driver.find_element("tag name", "body").send_keys(keys)

    def kinds(self):
        """Return the counts on this image and on all, by kind."""
        cells = self.driver.execute_script(READ_KINDS)
        return {name: (int(here), int(every)) for name, here, every in cells}

    def score(self, value):
        self.driver.execute_script(
            "const e = document.getElementById('score'); e.value = arguments[0];"
            "e.dispatchEvent(new Event('input'));",
            value,
        )

    def switch_class(self, label):
        self.driver.find_element("css selector", f"#classes tr[data-label='{label}'] input").click()

    def mask(self, colour):
        """Return where on the canvas (H, W) there is about this colour."""
        found, width, height = self.driver.execute_async_script(FIND_PIXELS, *colour)
        mask = np.zeros(height * width, bool)
        mask[found] = True
        return mask.reshape(height, width)

    def count(self, colour):
        return self.mask(colour).sum()

    def extent(self, colour):
        return float(np.ptp(np.nonzero(self.mask(colour))[1]))


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                 "--disable-software-rasterizer", "--window-size=900,640"):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


def objects(folder, rows, *, images=2, size=(400, 300)):
    """Return annotations of grey images from rows of (image, label, x, y); write the images."""
    records = tuple(ImageRecord(k + 5, f"图<i>{k}.jpg", *size) for k in range(images))
    for image in records:
        write_image(folder / image.file_name, np.full((size[1], size[0], 3), 90, np.uint8))
    index, labels, x, y = np.array(rows).T
    xywh = np.stack([x, y, np.full(len(x), 20), np.full(len(x), 16)], axis=1).astype(float)
    none = np.zeros(len(rows), bool)
    categories = tuple(Category(k + 1, name) for k, name in enumerate(NAMES))
    ids = np.arange(len(rows)) + 1
    return Annotations(records, categories, ids, index, labels, xywh, xywh[:, 2:].prod(1), none)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two images: cars found at .9 and .4 and one never, a false one at .6; a person, missed."""
    folder = tmp_path_factory.mktemp("viewer")
    cars, persons = [(0, 0, 40, 40), (0, 0, 200, 40), (0, 0, 40, 200)], [(0, 1, 300, 200)]
    truth = objects(folder, [*cars, *persons, (1, 1, 9, 9)])
    xywh = np.concatenate([truth.xywh[[0, 1, 3]], [[200.0, 200, 20, 16]]])
    ids, labels = np.full(4, truth.images[0].id), np.array([0, 0, 1, 0])
    found = Detections(ids, labels, np.array([0.9, 0.4, 0.8, 0.6]), xywh)
    return write_viewer(truth, folder, folder / "out", detections=found, title="<u>测试</u>").path


@pytest.fixture
def page(driver, small):
    driver.get("about:blank")
    driver.get(small.as_uri())
    yield Page(driver)
    errors = [one for one in driver.get_log("browser") if one["level"] == "SEVERE"]
    assert errors == []  # neither of the script, nor anything that the policy forbids


def test_score_and_classes_change_what_is_drawn(page):
    kinds = page.kinds()
    assert kinds == {
        "found": (3, 3), "false": (1, 1), "missed": (1, 2), "ground truth (found)": (3, 3),
    }  # fmt: skip
    cars, persons = page.count(class_colour(0)), page.count(class_colour(1))
    assert cars > 100
    assert persons > 30
    page.score(0.41)  # the second car's detection is below: the object is missed
    assert page.kinds()["found"] == (2, 2)
    assert page.kinds()["missed"] == (2, 3)
    page.score(1)
    assert page.kinds()["found"] == (0, 0)
    assert page.kinds()["missed"] == (4, 5)
    assert page.count(class_colour(1)) > 10  # corners now
    page.switch_class(1)
    assert page.count(class_colour(1)) == 0
    assert page.count(class_colour(0)) > 30
    page.press("m")
    assert page.count(class_colour(0)) == 0


def test_kinds_have_lines_of_their_own(page):
    page.score(0.5)  # one car is found, one false, two are missed
    lines = {}
    for key, others in (("f", "xm"), ("x", "fx"), ("m", "xm")):
        for other in others:
            page.press(other)
        lines[key] = page.count(class_colour(0))
    assert 0.3 * lines["f"] < lines["x"] < 0.85 * lines["f"]  # dashes
    assert 0.5 * lines["f"] < lines["m"] / 2 < 0.9 * lines["f"]  # corners, farther out


def test_zoom_keeps_what_is_in_the_middle(page):
    page.press("m")  # missed and false go: the found cars stand 160 px apart
    page.press("x")
    apart = page.extent(class_colour(0))
    page.click("smaller")
    assert page.extent(class_colour(0)) == pytest.approx(apart / 1.3, rel=0.04)
    page.press("+")
    assert page.extent(class_colour(0)) == pytest.approx(apart, rel=0.02)
    page.press("1")
    assert page.extent(class_colour(0)) == pytest.approx(180 + 5, abs=4)


def test_errors_are_stepped_through(page):
    assert page.count(WHITE) == 0
    seen = []
    for _ in range(4):
        page.press("n")
        seen.append((page.text("current").split(" · ")[:2], page.text("summary")[:12]))
        assert page.count(WHITE) > 50  # a ring around it
    assert seen == [
        (["1 of 3: missed", "car"], "image 1 of 2"),
        (["2 of 3: false", "car"], "image 1 of 2"),
        (["3 of 3: missed", NAMES[1]], "image 2 of 2"),
        (["1 of 3: missed", "car"], "image 1 of 2"),
    ]
    page.press("p")
    assert page.text("current").startswith("3 of 3")
    page.press("m")
    page.click("step-on")
    assert page.text("current").startswith(f"1 of 1: false · car · 20 {TIMES} 16 px · score .60")


def test_images_and_names(page):
    assert page.text("summary") == f"image 1 of 2 · 400 {TIMES} 300 px"
    page.press("\ue014")  # the right arrow
    assert page.text("summary").startswith("image 2 of 2")
    assert page.count(class_colour(0)) == 0
    assert page.driver.current_url.endswith("#image=6")
    page.click("previous")
    assert page.text("summary").startswith("image 1 of 2")
    assert page.driver.title == page.text("title") == "<u>测试</u>"
    assert NAMES[1] in page.text("classes")
    assert not page.driver.find_elements("css selector", "#panel b, #panel i, #panel u")
    page.driver.get(page.driver.current_url.split("#")[0] + "#image=6")
    assert page.text("summary").startswith("image 2 of 2")


def test_a_report_opens_the_viewer_at_its_image(driver, tmp_path):
    """The link of the second worst image is followed by the keyboard."""
    from selenium.webdriver.common.keys import Keys

    truth = objects(tmp_path, [(0, 0, 40, 40), (1, 0, 9, 9), (1, 1, 90, 90)])
    found = Detections.empty()
    evaluation = evaluate(truth, found, SODA_D)
    report = write_report(
        tmp_path / "out", evaluation, truth, found, images=tmp_path, viewer=True, title="a"
    )
    driver.get(report.as_uri())
    names = [one.text for one in driver.find_elements("css selector", ".worst figcaption a")]
    assert names == ["图<i>1.jpg", "图<i>0.jpg"]
    driver.find_elements("css selector", ".worst figcaption a")[1].send_keys(Keys.ENTER)
    page = Page(driver)
    assert driver.current_url.endswith("/viewer.html#image=5")
    assert page.text("summary").startswith("image 2 of 2")
    assert page.kinds()["missed"] == (1, 3)
    assert page.text("title") == "a"


def test_a_click_names_a_box(page):
    from selenium.webdriver.common.action_chains import ActionChains

    page.press("1")
    canvas = page.driver.find_element("id", "canvas")
    chain = ActionChains(page.driver)  # places are from the middle, image point (200, 150)
    chain.move_to_element_with_offset(canvas, 310 - 200, 208 - 150).click().perform()
    assert page.text("current") == f"found · {NAMES[1]} · 20 {TIMES} 16 px · score .80"
    chain.move_to_element_with_offset(canvas, 0, 0).click().perform()
    assert page.text("current") == ""


def test_2000_boxes_are_drawn(driver, tmp_path):
    """Each has a line above it in its class's colour; its neighbours are of the other class."""
    rows = [(0, (k + k // 50) % 2, 40 * (k % 50), 50 * (k // 50)) for k in range(2000)]
    truth = objects(tmp_path, rows, images=1, size=(2000, 2000))
    driver.get(write_viewer(truth, tmp_path, tmp_path / "out").path.as_uri())
    page = Page(driver)
    assert page.kinds() == {"objects": (2000, 2000)}
    masks = [page.mask(class_colour(label)) for label in (0, 1)]
    height, width = masks[0].shape
    scale = 0.97 * min(width, height) / 2000
    drawn = 0
    for _, label, x, y in rows:
        column = round((x + 10 - 1000) * scale + width / 2)
        row = round((y - 1000) * scale + height / 2 - 2.75)
        drawn += masks[label][row - 2 : row + 2, column - 1 : column + 2].any()
    assert drawn == 2000
    assert not driver.find_element("id", "score").is_displayed()
