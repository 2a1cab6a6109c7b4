// One explorer: draws `data` into the shadow root of `host`. No library, no network.
// Everything the page shows is recomputed here from scores, maps and masks.
async function explore(host, data) {
  host.dataset.started = "true";
  const make = (tag, attributes = {}, ...children) => {
    const space = ["svg", "path", "line", "text"].includes(tag)
      ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
    const node = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children);
    return node;
  };
  const write = (value) =>
    value.toFixed(data.decimals).replace("-", "−").replace("Infinity", "∞");
  const writeMap = (value) => value.toFixed(data.mapDecimals).replace("-", "−");
  const share = (part, whole) => (whole ? (part / whole).toFixed(3) : "–");
  const [height, width] = data.tile;

  // ---- pictures: one sprite each for images, maps and masks
  const pixels = async (source) => {
    const picture = new Image();
    await new Promise((resolve, reject) => {
      picture.onload = resolve;
      picture.onerror = () => reject(new Error("explorer: a picture could not be read"));
      picture.src = source;
    });
    const canvas = make("canvas", { width: picture.width, height: picture.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    return (i) => context.getImageData(
      (i % data.columns) * width, Math.floor(i / data.columns) * height, width, height).data;
  };
  const [imageOf, mapOf, maskOf] = await Promise.all([
    pixels(data.images), pixels(data.maps), data.masks ? pixels(data.masks) : null]);
  const items = data.items.map((item, i) => {
    const map = mapOf(i), mask = maskOf && maskOf(i);
    return {
      ...item, image: imageOf(i),
      map: Uint8Array.from({ length: height * width }, (_, p) => map[4 * p]),
      mask: mask && Uint8Array.from({ length: height * width }, (_, p) => mask[4 * p] > 127),
    };
  });
  const palette = Uint8Array.from(atob(data.palette), (c) => c.charCodeAt(0));
  const buffer = make("canvas", { width, height });
  const paint = (canvas, item) => {
    const scale = canvas.width / width, context = canvas.getContext("2d");
    const frame = new ImageData(width, height), share = state.opacity / 100;
    for (let p = 0; p < item.map.length; p++) {
      for (let c = 0; c < 3; c++) {
        frame.data[4 * p + c] =
          (1 - share) * item.image[4 * p + c] + share * palette[3 * item.map[p] + c];
      }
      frame.data[4 * p + 3] = 255;
    }
    buffer.getContext("2d").putImageData(frame, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(buffer, 0, 0, canvas.width, canvas.height);
    const thin = Math.max(1, scale / 3);
    if (state.truth && item.mask) {
      border(context, (p) => item.mask[p], scale, "#7cfc9a", thin * 1.4, false);
    }
    if (state.outline) {
      border(context, (p) => item.map[p] >= state.pixel, scale, "#ffffff", thin, true);
    }
  };
  const border = (context, inside, scale, colour, line, dotted) => {
    context.beginPath();
    const edge = (x0, y0, x1, y1) => {
      const gap = dotted ? 0.22 : 0; // of an edge, at either end
      const between = (a, b, t) => (a + (b - a) * t) * scale;
      context.moveTo(between(x0, x1, gap), between(y0, y1, gap));
      context.lineTo(between(x0, x1, 1 - gap), between(y0, y1, 1 - gap));
    };
    const at = (x, y) =>
      x >= 0 && y >= 0 && x < width && y < height && Boolean(inside(y * width + x));
    for (let y = 0; y <= height; y++) {
      for (let x = 0; x <= width; x++) {
        if (at(x, y) !== at(x - 1, y)) edge(x, y, x, y + 1);
        if (at(x, y) !== at(x, y - 1)) edge(x, y, x + 1, y);
      }
    }
    context.lineCap = dotted ? "butt" : "round";
    for (const [style, size] of [["#000000", line * 2.4], [colour, line]]) {
      context.strokeStyle = style;
      context.lineWidth = size;
      context.stroke();
    }
  };

  // ---- state and controls
  const low = Math.min(...data.scores), high = Math.max(...data.scores);
  const margin = (high - low || 1) * 0.02, STEPS = 1000;
  const start = Number(data.threshold); // JSON has no infinite numbers: their names
  const state = {
    threshold: start, opacity: 45, pixel: data.pixel, outline: true,
    truth: Boolean(data.masks), show: "all", chosen: 0,
  };
  const within = (value, least, most) => Math.min(Math.max(value, least), most);
  const toSlider = (value) => within(
    Math.round(((value - low + margin) / (high - low + 2 * margin)) * STEPS), 0, STEPS);
  const fromSlider = (step) => low - margin + (step / STEPS) * (high - low + 2 * margin);
  const pixelValue = (step) => data.low + (step / 255) * (data.high - data.low);
  const ids = Object.fromEntries(
    ["threshold", "opacity", "pixel"].map((name) => [name, `${data.id}-${name}`]));
  const slider = (name, text, max, value) => {
    const input = make("input", { id: ids[name], type: "range", min: 0, max, step: 1, value });
    const output = make("output", { for: ids[name] });
    const label = make("label", { for: ids[name] }, text, output);
    return { node: make("div", { class: "control" }, label, input), input, output };
  };
  const threshold = slider("threshold", "Image threshold", STEPS, toSlider(state.threshold));
  const opacity = slider("opacity", "Heatmap opacity", 100, state.opacity);
  const pixel = slider("pixel", "Pixel threshold", 255, state.pixel);
  const check = (text, checked, disabled) => {
    const input = make("input", { type: "checkbox", checked, disabled });
    return { node: make("label", {}, input, text), input };
  };
  const truth = check("ground truth", state.truth, !data.masks);
  const outline = check("pixels above threshold", true, false);
  const reset = make("button", { type: "button" }, "Reset threshold");
  const select = make("select", {}, ...[
    ["all", "all images"], ["wrong", "wrong decisions"], ["normal", "normal images"],
    ["abnormal", "abnormal images"],
  ].map(([value, text]) => make("option", { value }, text)));

  // ---- counts over the whole test set
  const cell = () => make("td");
  const cells = { tn: cell(), fp: cell(), fn: cell(), tp: cell() };
  const table = make("table", {},
    make("thead", {}, make("tr", {}, make("th"),
      make("th", { scope: "col" }, "called normal"),
      make("th", { scope: "col" }, "called abnormal"))),
    make("tbody", {},
      make("tr", {}, make("th", { scope: "row", class: "truth-normal" }, "normal"), cells.tn, cells.fp),
      make("tr", {}, make("th", { scope: "row", class: "truth-abnormal" }, "abnormal"), cells.fn, cells.tp)));
  const ratesText = make("div", { role: "status" });
  const x = (score) => within(
    4 + (392 * (score - low + margin)) / (high - low + 2 * margin), 0, 400);
  const ticks = (label, top) => data.scores
    .filter((_, i) => data.labels[i] === label)
    .map((score) => `M${x(score).toFixed(1)} ${top}v16`).join("");
  const line = make("line", {
    y1: 0, y2: 52, stroke: "currentColor", "stroke-width": 2, "vector-effect": "non-scaling-stroke" });
  const marks = (label, top, name) => make("path", {
    d: ticks(label, top), stroke: `var(--${name})`, "stroke-width": 1.2, opacity: 0.75,
    fill: "none", "vector-effect": "non-scaling-stroke" });
  const strip = make("div", { class: "strip" },
    make("svg", {
      viewBox: "0 0 400 52", preserveAspectRatio: "none", role: "img",
      "aria-label": "Scores of all test images, abnormal above, normal below, and the threshold",
    }, marks(1, 6, "abnormal"), marks(0, 30, "normal"), line));
  const count = () => {
    const counts = { tp: 0, fp: 0, tn: 0, fn: 0 };
    data.scores.forEach((score, i) => {
      const called = score >= state.threshold;
      counts[data.labels[i] ? (called ? "tp" : "fn") : (called ? "fp" : "tn")]++;
    });
    return counts;
  };

  // ---- tiles and the chosen image
  const order = items.map((_, i) => i).sort((a, b) => items[b].score - items[a].score);
  state.chosen = order[0];
  const tiles = order.map((i) => {
    const canvas = make("canvas", { width: 2 * width, height: 2 * height, "aria-hidden": "true" });
    const sign = make("span", { class: "sign" });
    const node = make("button", { type: "button", class: "tile", tabindex: -1 },
      canvas, sign, ` ${write(items[i].score)}`, make("br"),
      make("span", { class: items[i].label ? "truth-abnormal" : "truth-normal" },
        items[i].label ? "abnormal" : "normal"));
    return { i, node, canvas, sign };
  });
  const grid = make("div", {
    class: "grid", role: "group",
    "aria-label": "Test images, highest score first; arrow keys move" }, ...tiles.map((t) => t.node));
  const big = Math.max(1, Math.round(384 / width));
  const detail = make("canvas", { width: big * width, height: big * height, role: "img" });
  const facts = make("p"), overlap = make("p", { class: "keys" });
  const bar = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const shade = bar.getContext("2d").createImageData(256, 1);
  for (let v = 0; v < 256; v++) {
    shade.data.set([palette[3 * v], palette[3 * v + 1], palette[3 * v + 2], 255], 4 * v);
  }
  bar.getContext("2d").putImageData(shade, 0, 0);

  const describe = (item) => {
    const called = item.score >= state.threshold;
    const right = called === Boolean(item.label);
    const kind = item.label && item.kind ? ` (${item.kind})` : "";
    return { right, called: called ? "abnormal" : "normal",
      truth: (item.label ? "abnormal" : "normal") + kind };
  };
  const iou = (item) => {
    let both = 0, either = 0;
    item.map.forEach((value, p) => {
      const called = value >= state.pixel, lesion = Boolean(item.mask[p]);
      both += called && lesion;
      either += called || lesion;
    });
    return either ? (both / either).toFixed(2) : "–";
  };
  const showDetail = () => {
    const item = items[state.chosen], { right, called, truth } = describe(item);
    paint(detail, item);
    const text = `${truth}, score ${write(item.score)}, called ${called}: ${right ? "right\u00a0✓" : "wrong\u00a0✗"}`;
    detail.setAttribute("aria-label", `Image ${item.id} with its anomaly map. It is ${text}`);
    facts.replaceChildren(make("strong", {}, item.id), make("br"), text);
    overlap.textContent = item.mask && item.label
      ? `IoU of pixels above ${writeMap(pixelValue(state.pixel))} with the ground truth: ${iou(item)} (at ${width} × ${height} pixels)`
      : "";
    for (const tile of tiles) {
      const chosen = tile.i === state.chosen;
      tile.node.setAttribute("aria-pressed", chosen);
      tile.node.tabIndex = chosen ? 0 : -1;
    }
  };
  const showDecisions = () => {
    const counts = count();
    for (const [name, node] of Object.entries(cells)) node.textContent = counts[name];
    ratesText.textContent =
      `sensitivity ${share(counts.tp, counts.tp + counts.fn)}, ` +
      `specificity ${share(counts.tn, counts.tn + counts.fp)}`;
    threshold.output.textContent = write(state.threshold);
    threshold.input.setAttribute("aria-valuetext", write(state.threshold));
    line.setAttribute("x1", x(state.threshold));
    line.setAttribute("x2", x(state.threshold));
    for (const tile of tiles) {
      const item = items[tile.i], { right, called, truth } = describe(item);
      tile.node.classList.toggle("wrong", !right);
      tile.sign.textContent = right ? "✓" : "✗";
      tile.node.setAttribute("aria-label",
        `${item.id}: ${truth}, score ${write(item.score)}, called ${called}, ${right ? "right" : "wrong"}`);
      const visible = state.show === "all" || (state.show === "wrong" ? !right
        : state.show === (item.label ? "abnormal" : "normal"));
      tile.node.hidden = !visible;
    }
    const first = tiles.find((tile) => !tile.node.hidden);
    if (first && tiles.find((tile) => tile.i === state.chosen).node.hidden) state.chosen = first.i;
    host.dataset.counts = JSON.stringify(counts);
    showDetail();
  };
  const showMaps = () => {
    opacity.output.textContent = `${state.opacity} %`;
    pixel.output.textContent = writeMap(pixelValue(state.pixel));
    pixel.input.setAttribute("aria-valuetext", writeMap(pixelValue(state.pixel)));
    for (const tile of tiles) paint(tile.canvas, items[tile.i]);
    showDetail();
  };

  // ---- what the reader does
  threshold.input.addEventListener("input", () => {
    state.threshold = fromSlider(Number(threshold.input.value));
    showDecisions();
  });
  reset.addEventListener("click", () => {
    state.threshold = start;
    threshold.input.value = toSlider(start);
    showDecisions();
  });
  select.addEventListener("change", () => { state.show = select.value; showDecisions(); });
  for (const [control, key, get] of [
    [opacity, "opacity", (input) => Number(input.value)],
    [pixel, "pixel", (input) => Number(input.value)],
    [truth, "truth", (input) => input.checked],
    [outline, "outline", (input) => input.checked],
  ]) {
    control.input.addEventListener("input", () => { state[key] = get(control.input); showMaps(); });
  }
  for (const tile of tiles) {
    tile.node.addEventListener("click", () => { state.chosen = tile.i; showDetail(); });
  }
  grid.addEventListener("keydown", (event) => {
    const visible = tiles.filter((tile) => !tile.node.hidden);
    const at = visible.findIndex((tile) => tile.i === state.chosen);
    const row = visible.filter((t) => t.node.offsetTop === visible[0].node.offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row,
      Home: -visible.length, End: visible.length }[event.key];
    if (!step || at < 0) return;
    event.preventDefault();
    event.stopPropagation(); // notebooks move between cells on arrow keys
    const next = visible[Math.min(Math.max(at + step, 0), visible.length - 1)];
    state.chosen = next.i;
    showDetail();
    next.node.focus();
  });

  // ---- light or dark: the book's attribute, JupyterLab's, else the reader's system
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => {
    if (!host.isConnected && host.dataset.ready) return undress();
    const book = document.documentElement.dataset.theme;
    const lab = document.body.dataset.jpThemeLight;
    const dark = book === "dark" || book === "light" ? book === "dark"
      : lab ? lab === "false" : system.matches;
    host.dataset.scheme = dark ? "dark" : "light";
  };
  const watch = new MutationObserver(dress);
  const undress = () => {
    watch.disconnect();
    system.removeEventListener("change", dress);
  };
  watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  watch.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  system.addEventListener("change", dress);
  dress();

  const shown = items.length < data.scores.length
    ? `Counts are over all ${data.scores.length} test images, ${items.length} of which are shown. `
    : `Counts are over the ${items.length} images shown. `;
  const root = host.attachShadow({ mode: "open" }); // hides the fallback text
  root.append(
    make("style", {}, data.css),
    make("section", { "aria-label": data.title },
      make("header", {}, make("span", { class: "title" }, data.title),
        ...(data.mark ? [make("span", { class: "mark" }, data.mark)] : [])),
      make("div", { class: "controls" }, threshold.node, opacity.node, pixel.node),
      make("div", { class: "row" }, make("span", {}, "Outline:"), truth.node, outline.node,
        make("label", {}, "Show", select), reset),
      make("div", { class: "summary", style: "margin-top:10px" }, table, ratesText, strip),
      make("div", { class: "main" },
        make("div", { class: "detail" }, detail,
          make("div", { class: "legend" }, writeMap(data.low), bar, writeMap(data.high)),
          facts, overlap,
          make("p", { class: "keys" },
            ...(data.masks ? [make("span", { class: "swatch" }), "ground truth"] : []),
            make("span", { class: "swatch dotted" }), "pixels at or above the pixel threshold")),
        grid),
      make("footer", {}, shown,
        "An image is called abnormal at or above the threshold. ✓ right, ✗ wrong. ",
        "Research software, not for diagnosis.")));
  showMaps();
  showDecisions();
  host.dataset.ready = "true";
}
