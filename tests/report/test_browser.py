"""The page in a real browser: what a person sees, hovers over, types and copies."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from svcca.compare.result import LayerSummary, SimilarityMatrix

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")

REQUIRED = "SVCCA_REQUIRE_BROWSER" in os.environ  # set where a missing browser is a failure, not a skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="no chromium on the path"),
    pytest.mark.skipif(CHROMEDRIVER is None and not REQUIRED, reason="no chromedriver on the path"),
]

EVIL = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
QUOTES = "\"'></th><script>window.pwned = 1</script>"
VALUES = np.array([[0.71312345678, 0.2, 0.05], [1 / 3, 0.05, 0.6]])


def layers(*names):
    return tuple(LayerSummary(name, 64, 20, "pool") for name in names)


def matrix_of(values, rows, columns, **options):
    return SimilarityMatrix(
        values, layers(*rows), layers(*columns), "svcca", 0.99, 2000, np.full(values.shape, 0.1), **options
    )


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(executable_path=CHROMEDRIVER, log_output=subprocess.DEVNULL, env=dict(os.environ))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_window_size(1280, 1000)
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, tmp_path):
    """Open a matrix's page from disk; afterwards the console must be empty and nothing must have been fetched."""

    def show(matrix=None, path=tmp_path / "report.html"):
        matrix = matrix or matrix_of(VALUES, ("conv1", "fc"), ("conv1", "conv2", "out"))
        driver.get(matrix.report(path).as_uri())
        return driver

    driver.get_log("browser")
    yield show
    assert driver.get_log("browser") == []
    assert driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)") == []


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def cells(driver):
    return find(driver, "#heatmap tbody td")


def tip(driver):
    (box,) = find(driver, "#tip")
    return box.text if box.is_displayed() else None


def press(driver, *keys, held=None):
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(driver)
    if held:
        actions.key_down(held)
    actions.send_keys(*keys)
    if held:
        actions.key_up(held)
    actions.perform()


def hover(driver, element):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).move_to_element(element).perform()


def test_the_table_shows_the_matrixs_numbers(page):
    shown = [[float(cell.text) for cell in row.find_elements("css selector", "td")]
             for row in find(page(), ".numbers tbody tr")]  # fmt: skip
    assert shown == VALUES.round(3).tolist()


def test_hovering_over_a_cell_shows_its_value_layers_and_chance(page):
    driver = page()
    assert tip(driver) is None
    hover(driver, cells(driver)[3])
    assert tip(driver) == "0.333\nfc × conv1\nchance 0.100"
    hover(driver, cells(driver)[4])
    assert tip(driver) == "0.050\nfc × conv2\nchance 0.100, not clearly above it"
    hover(driver, find(driver, "h1")[0])
    assert tip(driver) is None


def test_hovering_over_labels_and_corners_shows_nothing(page):
    driver = page()
    for element in find(driver, "#heatmap th"):
        hover(driver, element)
        assert tip(driver) is None


def test_hovering_marks_the_value_on_the_legend(page):
    driver = page()
    hover(driver, cells(driver)[3])
    mark = driver.execute_script("return document.getElementById('mark').style.left")
    assert float(mark.rstrip("%")) == pytest.approx(100 / 3, abs=0.1)


def test_arrow_keys_move_through_the_cells_and_show_each(page):
    from selenium.webdriver.common.keys import Keys

    driver = page()
    driver.execute_script("arguments[0].focus()", cells(driver)[0])
    assert tip(driver).startswith("0.713\nconv1 × conv1")
    for key, expected in [
        (Keys.ARROW_RIGHT, "conv1 × conv2"),
        (Keys.ARROW_DOWN, "fc × conv2"),
        (Keys.ARROW_DOWN, "fc × conv2"),  # at the edge it stays
        (Keys.END, "fc × out"),
        (Keys.ARROW_LEFT, "fc × conv2"),
        (Keys.ARROW_UP, "conv1 × conv2"),
    ]:
        press(driver, key)
        assert tip(driver).splitlines()[1] == expected
    press(driver, Keys.END, held=Keys.CONTROL)
    assert tip(driver).splitlines()[1] == "fc × out"
    press(driver, Keys.HOME, held=Keys.CONTROL)
    assert tip(driver).splitlines()[1] == "conv1 × conv1"
    press(driver, Keys.ESCAPE)
    assert tip(driver) is None


def test_the_heatmap_is_one_tab_stop_and_remembers_its_cell(page):
    from selenium.webdriver.common.keys import Keys

    driver = page()
    stops = "return [...document.querySelectorAll('#heatmap [tabindex=\"0\"]')].map(cell => cell.ariaLabel)"
    assert driver.execute_script(stops) == ["row conv1, column conv1: 0.713, chance 0.100"]
    press(driver, Keys.TAB, Keys.ARROW_DOWN)
    assert driver.execute_script(stops) == ["row fc, column conv1: 0.333, chance 0.100"]
    press(driver, Keys.TAB)
    assert driver.execute_script("return document.activeElement.textContent") == "Copy for a spreadsheet"


def test_a_screen_reader_meets_a_grid_of_named_cells(page):
    driver = page()
    assert find(driver, "#heatmap")[0].aria_role == "grid"
    assert cells(driver)[3].aria_role == "gridcell"
    assert cells(driver)[3].accessible_name == "row fc, column conv1: 0.333, chance 0.100"


@pytest.mark.parametrize("clipboard", ["clipboard", "no clipboard"])
def test_the_copy_button_puts_the_matrix_on_the_clipboard(page, clipboard):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    driver = page()
    if clipboard == "no clipboard":
        driver.execute_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    find(driver, "[data-copies=tsv]")[0].click()
    # The clipboard answers when it has written: the page tells a moment after the click.
    WebDriverWait(driver, 10).until(lambda _: find(driver, "#told")[0].text)
    assert find(driver, "#told")[0].text == "Copied."
    driver.execute_script("document.body.prepend(Object.assign(document.createElement('textarea'), {id: 'paste'}))")
    find(driver, "#paste")[0].send_keys(Keys.CONTROL, "v")
    lines = find(driver, "#paste")[0].get_property("value").splitlines()
    assert lines[0] == "a \\ b\tconv1\tconv2\tout"
    assert [float(number) for number in lines[2].split("\t")[1:]] == VALUES[1].tolist()


def test_where_nothing_can_copy_the_text_is_left_selected(page):
    driver = page()
    driver.execute_script("""Object.defineProperty(navigator, 'clipboard', {value: undefined});
                             document.execCommand = () => false;""")
    find(driver, "[data-copies=csv]")[0].click()
    assert "press Ctrl+C" in find(driver, "#told")[0].text
    assert driver.execute_script("return getSelection().toString()").startswith("a \\ b,conv1,conv2,out\n")


def test_names_that_look_like_markup_stay_names(page):
    names = {"row_title": EVIL, "column_title": QUOTES, "command": EVIL, "warnings": (EVIL, QUOTES)}
    driver = page(matrix_of(VALUES, (EVIL, "fc"), (QUOTES, "b", "c"), **names))
    hover(driver, cells(driver)[0])
    assert tip(driver).splitlines()[1] == f"{EVIL} × {QUOTES}"
    assert driver.execute_script("return window.pwned") is None
    assert len(find(driver, "script")) == 1
    assert find(driver, ".numbers tbody th")[0].text == EVIL


def test_a_script_that_got_in_would_not_run(driver, tmp_path):
    path = matrix_of(VALUES, ("conv1", "fc"), ("conv1", "conv2", "out")).report(tmp_path / "report.html")
    path.write_text(path.read_text().replace("</h1>", "</h1><script>window.pwned = 1</script>"))
    driver.get(path.as_uri())
    assert driver.execute_script("return window.pwned") is None
    assert "Content Security Policy" in driver.get_log("browser")[0]["message"]


CONTRASTS = """
const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (rgb) => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
const background = (element) => {
  for (; element; element = element.parentElement) {
    const rgba = parse(getComputedStyle(element).backgroundColor);
    if (rgba.length < 4 || rgba[3] > 0) return rgba;
  }
  return [255, 255, 255];
};
const written = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
return [...document.querySelectorAll("main *")].filter((element) => written(element) && element.checkVisibility())
  .map((element) => {
    const [a, b] = [parse(getComputedStyle(element).color), background(element)].map(luminance);
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.outerHTML.slice(0, 80)];
  });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_a_contrast_of_4_5_in_light_and_dark(page, scheme):
    driver = page(matrix_of(VALUES, ("conv1", "fc"), ("a", "b", "c"), warnings=("Few samples.",) * 6, command="x"))
    emulate = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", emulate)
    try:
        page_is_dark = (
            driver.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 25)"
        )
        contrasts = driver.execute_script(CONTRASTS)
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert page_is_dark == (scheme == "dark")
    assert len(contrasts) > 40
    assert [found for found in contrasts if found[0] < 4.5] == []


@pytest.mark.parametrize("n", [1, 60])
def test_a_narrow_screen_scrolls_the_tables_and_not_the_page(page, n):
    names = [f"encoder.layer.{i}.attention.output.dense" for i in range(n)]
    size = {"width": 420, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver = page(matrix_of(np.full((n, n), 0.5), names, names))
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        width = driver.execute_script("return document.documentElement.scrollWidth")
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width <= 420


def test_without_javascript_heatmap_and_table_still_tell_everything(page):
    driver = page()
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.refresh()
        cell = cells(driver)[3]
        assert cell.get_dom_attribute("title") == "row fc, column conv1: 0.333, chance 0.100"
        assert cell.value_of_css_property("background-color") == "rgba(49, 104, 142, 1)"
        assert find(driver, ".numbers tbody td")[3].text == "0.333"
        assert not any(button.is_displayed() for button in find(driver, "button"))
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_printing_keeps_the_colours_and_drops_the_controls(page):
    driver = page()
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert cells(driver)[0].value_of_css_property("print-color-adjust") == "exact"
        assert not any(button.is_displayed() for button in find(driver, "button"))
        assert find(driver, ".numbers")[0].is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
