import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from thesislib.errors import InputError
from thesislib.figures import explorer, live
from thesislib.figures.arrays import counts_at, rates

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)


@pytest.fixture
def given(images, maps, masks, labels, scores):
    return {
        "images": images,
        "maps": maps,
        "masks": masks,
        "labels": labels,
        "scores": scores,
        "ids": [f"test/{i}.png" for i in range(6)],
        "threshold": 0.5,
    }


def data_of(html: str) -> dict:
    """The JSON that the page's script reads."""
    return json.loads(re.search(r"^const data = (\{.*\});$", html, re.M)[1])


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def tile(sheet: np.ndarray, i: int, data: dict) -> np.ndarray:
    height, width = data["tile"]
    row, column = divmod(i, data["columns"])
    return sheet[row * height :, column * width :][:height, :width]


def test_the_page_asks_for_nothing(given):
    html = explorer.explorer_html(**given).data

    without_names = html.replace("http://www.w3.org/2000/svg", "").replace(
        "http://www.w3.org/1999/xhtml", ""
    )  # names of vocabularies, never fetched
    assert not re.search(r"https?:|//cdn|import\s*\(|fetch\(|<link", without_names)
    assert all(
        data_of(html)[name].startswith("data:image/") for name in ("images", "maps")
    )


def test_text_of_the_reader_cannot_leave_the_script(given):
    given |= {"ids": ["</script><b>"] * 6, "title": "<i>t</i>"}

    html = explorer.explorer_html(**given).data

    assert html.count("</script>") == 1
    assert "<i>" not in html
    assert data_of(html)["items"][0]["id"] == "</script><b>"


def test_sprites_hold_the_images_maps_and_masks(given, images, maps, masks):
    data = explorer.explorer_data(**given, scale=(-2.0, 2.0))

    sheet = picture(data["masks"])
    for i in range(6):
        np.testing.assert_array_equal(tile(sheet, i, data), masks[i])
    sheet = picture(data["maps"])
    centre = tile(sheet, 3, data)[8, 8] / 255 * 4 - 2
    assert abs(centre - maps[3].clip(-2, 2)[3:6, 3:6]).min() < 0.5
    assert tile(picture(data["images"]), 5, data).shape == (16, 16, 3)


def test_maps_of_the_tile_size_survive_to_half_a_step(given, rng):
    given["maps"] = rng.uniform(0, 1, (6, 16, 16))

    data = explorer.explorer_data(**given, scale=(0.0, 1.0))

    stored = tile(picture(data["maps"]), 4, data) / 255
    assert np.abs(stored - given["maps"][4]).max() <= 0.5 / 255 + 1e-6


def test_48_images_of_64_pixels_stay_below_half_a_megabyte(rng):
    smooth = rng.uniform(0, 1, (48, 3, 9, 9)).repeat(8, -1).repeat(8, -2)[..., :64, :64]
    labels = np.arange(48) % 2

    html = explorer.explorer_html(
        smooth,
        rng.normal(size=(48, 64, 64)),  # noise: worse than any real map
        rng.random((48, 64, 64)) < 0.01,
        labels,
        rng.normal(size=48),
        [str(i) for i in range(48)],
        0.0,
    ).data

    assert len(html) < 500_000


def test_large_images_are_reduced(given):
    given |= {"images": np.zeros((6, 256, 256, 3), dtype=np.uint8)}

    assert explorer.explorer_data(**given)["tile"] == [96, 96]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ["a"]}, "ids has 1 entries for 6 images"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"scale": (1.0, 0.0)}, "its ends must increase"),
        ({"all_scores": [0.1]}, "must be given together"),
        ({"scores": [0.0] * 5 + [float("inf")]}, "not finite"),
    ],
)
def test_what_does_not_fit_is_named(given, changes, message):
    with pytest.raises(InputError, match=message):
        explorer.explorer_html(**{**given, **changes})


@pytest.mark.parametrize(
    ("threshold", "name"), [(-np.inf, "-Infinity"), (np.inf, "Infinity"), (0.5, 0.5)]
)
def test_an_infinite_threshold_goes_by_the_name_that_scripts_have(
    given, threshold, name
):
    given |= {"threshold": threshold}

    assert explorer.explorer_data(**given)["threshold"] == name
    assert "NaN" not in explorer.explorer_html(**given).data


def test_no_masks_and_constant_maps_are_fine(given):
    given |= {"masks": None, "maps": np.ones((6, 4, 4))}

    assert explorer.explorer_data(**given)["masks"] is None


def test_equal_input_gives_equal_pages(given):
    assert explorer.explorer_html(**given).data == explorer.explorer_html(**given).data


def test_the_choice_spans_both_classes_and_their_extremes(rng):
    labels, scores = np.repeat([0, 1], 50), rng.normal(size=100)

    chosen = explorer.choose(labels, scores, 12)

    assert labels[chosen].tolist() == [0] * 6 + [1] * 6
    for members in (scores[:50], scores[50:]):
        assert {members.min(), members.max()} <= set(scores[chosen])


@pytest.mark.skipif(
    CHROMIUM is None, reason="needs a Chromium to run the page's script"
)
def test_in_a_browser_the_counts_are_numpys_and_nothing_fails(given, tmp_path, rng):
    all_labels, all_scores = rng.integers(0, 2, 60), rng.normal(size=60).round(1)
    given |= {"threshold": 0.3, "all_labels": all_labels, "all_scores": all_scores}
    one = explorer.explorer_html(**given, mark="phantom · quick").data
    other = explorer.explorer_html(**(given | {"masks": None, "threshold": 0.0})).data
    ends = [
        explorer.explorer_html(**(given | {"threshold": end})).data
        for end in (-np.inf, np.inf)
    ]
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><html data-theme="dark"><meta charset="utf-8"><body>'
        + "<script>onerror = (m) => document.body.append('FAI' + 'LED ' + m);"
        + "onunhandledrejection = (e) => onerror(e.reason);"
        + f"</script>{one}{one}{other}{ends[0]}{ends[1]}"
        + """<pre id="log"></pre><script>
        const hosts = [...document.querySelectorAll("[data-thesis-explorer]")];
        const log = [];
        const record = (host) => {
          const input = host.shadowRoot.querySelector("input[type=range]");
          const card = host.shadowRoot.querySelector("section");
          const tiles = [...host.shadowRoot.querySelectorAll(".tile")];
          log.push({ counts: JSON.parse(host.dataset.counts),
            step: Number(input.value), scheme: host.dataset.scheme,
            wrong: tiles.map((tile) => tile.classList.contains("wrong")),
            tabs: tiles.filter((tile) => tile.tabIndex === 0).length,
            focus: host.shadowRoot.activeElement?.getAttribute("aria-label") ?? "",
            wide: card.scrollWidth > Math.min(card.clientWidth, innerWidth) });
        };
        const timer = setInterval(() => {
          if (!hosts.every((host) => host.dataset.ready)) return;
          clearInterval(timer);
          hosts.forEach(record);
          const input = hosts[0].shadowRoot.querySelector("input[type=range]");
          for (const step of [0, 400, 777, 1000]) {
            input.value = step;
            input.dispatchEvent(new Event("input"));
            record(hosts[0]);
          }
          document.documentElement.dataset.theme = "light";
          const tile = hosts[0].shadowRoot.querySelector(".tile");
          tile.focus();
          tile.dispatchEvent(new KeyboardEvent("keydown",
            { key: "ArrowRight", bubbles: true }));
          setTimeout(() => {
            record(hosts[0]);
            document.getElementById("log").textContent = JSON.stringify(log);
          }, 50);
        }, 20);
        </script></body></html>""",
        encoding="utf-8",
    )

    run = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", "--enable-logging=stderr", "--window-size=390,900"),
            *("--virtual-time-budget=8000", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )

    assert "FAILED" not in run.stdout
    assert [line for line in run.stderr.splitlines() if "CONSOLE" in line] == []
    log = json.loads(re.search(r'<pre id="log">(.+?)</pre>', run.stdout)[1])
    first, second, third, all_called, none_called, *moved, last = log
    assert first["counts"] == second["counts"] == counts_at(all_labels, all_scores, 0.3)
    assert third["counts"] == counts_at(all_labels, all_scores, 0.0)
    for entry, end in ((all_called, -np.inf), (none_called, np.inf)):
        assert entry["counts"] == counts_at(all_labels, all_scores, end)
        assert entry["step"] == (0 if end < 0 else 1_000)
    low, high = all_scores.min(), all_scores.max()
    margin = 0.02 * (high - low)
    for entry in moved:
        at = low - margin + entry["step"] / 1000 * (high - low + 2 * margin)
        assert entry["counts"] == counts_at(all_labels, all_scores, at)
    order = np.argsort(-given["scores"], kind="stable")
    called = given["scores"][order] >= 0.3
    assert first["wrong"] == (called != given["labels"][order]).tolist()
    assert {entry["tabs"] for entry in log} == {1}  # one stop for the whole grid
    assert [entry["scheme"] for entry in (first, last)] == ["dark", "light"]
    assert last["focus"].startswith(given["ids"][order[1]])
    assert not any(entry["wide"] for entry in log)


def test_sensitivity_and_specificity_follow_from_the_counts(labels, scores):
    counts = counts_at(labels, scores, 0.7)

    assert counts == {"tp": 2, "fp": 1, "tn": 2, "fn": 1}
    assert rates(counts) == (2 / 3, 2 / 3)
    assert np.isnan(rates(counts_at(labels[:1], scores[:1], 0.0))[1])


def test_without_a_reader_no_slider_is_made(labels, scores):
    assert live.live_threshold(labels, scores) is None
    assert live.live_threshold(labels, scores, live=False) is None


def test_moving_the_live_slider_counts_anew(labels, scores, images):
    box = live.live_threshold(labels, scores, images, threshold=0.5, live=True)
    slider, text = box.children

    slider.value = 0.85

    assert text.value.startswith(
        live.decisions_html(labels.astype(bool), scores, slider.value)
    )
    assert "<td>3</td><td>0</td><td>specificity 1.000</td>" in text.value
    assert text.value.count("<img") == 6


def test_in_a_run_by_papermill_nobody_is_there(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "from thesislib.figures.live import live_threshold, reader_present\n"
                "print(reader_present())\n"
                "live_threshold([0, 1], [0.1, 0.9])"
            )
        ]
    )

    client = nbclient.NotebookClient(  # as papermill runs it
        notebook, kernel_name="python3", startup_timeout=300
    )
    client.execute()

    (output,) = [o for o in notebook.cells[0].outputs if o.get("name") != "stderr"]
    assert output["text"] == "False\n"


def test_grey_images_of_one_channel_stay_grey_in_the_sprite(given, rng):
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    grey = np.stack([ramp, ramp.T] * 3)[:, None]

    data = explorer.explorer_data(**{**given, "images": grey, "masks": None})

    assert data["tile"] == [32, 32]
    shown = tile(picture(data["images"]), 1, data).astype(int)
    assert np.ptp(shown, axis=-1).max() <= 2  # JPEG
    assert np.abs(shown[..., 0] - ramp.T).max() <= 8
