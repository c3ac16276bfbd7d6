// Draws a chart: panels one below the other over one x axis, and a line that follows the pointer
// or the arrow keys through all of them. `make(width)` says what to draw at that width:
//   x: { min, max, ticks: [{ at, label }] }
//   stops: x values for the arrow keys; snap: whether the pointer jumps to them
//   below: whether the readout stands at the bottom; caption: a line below (optional)
//   legend: [{ style, name }]
//   panels: [{ title, keys: what its lines are, height, y: { log, min, max, format },
//     layers: [{ kind, style, points, … }] }]
//   readout: x => ({ title, rows: [{ style, name, value, panel, y }] })

const GUTTER = { left: 56, right: 12, title: 30, gap: 14, bottom: 22 };

function plot(svg, make) {
  const figure = svg.closest("figure");
  const readout = figure.querySelector(".readout");
  const state = { svg, figure, readout, width: 0, at: null };
  const draw = () => {
    const width = Math.floor(figure.clientWidth);
    if (width < 80) return;
    state.width = width;
    state.spec = make(width);
    paint(state);
    show(state, null);
  };
  new ResizeObserver(() => figure.clientWidth === state.width || draw()).observe(figure);
  const follow = (event) => {
    const x = state.toX.invert(event.clientX - svg.getBoundingClientRect().left);
    show(state, state.spec.snap ? nearest(state.spec.stops, x) : x);
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointerleave", () => show(state, null));
  svg.addEventListener("blur", () => show(state, null));
  svg.addEventListener("keydown", (event) => step(state, event));
  draw();
  return draw;
}

function step(state, event) {
  const stops = state.spec.stops;
  const here = state.at === null ? -1 : stops.indexOf(nearest(stops, state.at));
  const to = {
    ArrowRight: Math.min(here + 1, stops.length - 1),
    ArrowLeft: here < 0 ? stops.length - 1 : Math.max(here - 1, 0),
    Home: 0,
    End: stops.length - 1,
    Escape: -1,
  }[event.key];
  if (to === undefined || stops.length === 0) return;
  event.preventDefault();
  show(state, to < 0 ? null : stops[to]);
}

function nearest(stops, x) {
  if (stops.length === 0) return null;
  return stops.reduce((best, stop) => (Math.abs(stop - x) < Math.abs(best - x) ? stop : best));
}

function paint(state) {
  const { svg, spec, width } = state;
  svg.replaceChildren();
  const right = width - GUTTER.right;
  state.toX = scale({ min: spec.x.min, max: spec.x.max }, GUTTER.left, right);
  let top = 0;
  for (const panel of spec.panels) {
    panel.top = top + GUTTER.title;
    panel.bottom = panel.top + panel.height;
    panel.toY = scale(panel.y, panel.bottom, panel.top);
    top = panel.bottom + GUTTER.gap;
    frame(svg, panel, right);
    for (const layer of panel.layers) KINDS[layer.kind](svg, layer, state.toX, panel, right);
    // Names stand above all lines.
    for (const { label, name } of panel.layers) if (label) add(svg, "text", label, name);
  }
  const bottom = spec.panels.at(-1).bottom;
  axis(svg, spec.x.ticks, state.toX, bottom);
  const height = bottom + GUTTER.bottom;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  state.cross = add(svg, "g", {});
  // A place without ink takes the pointer, too.
  add(svg, "rect", { width, height, fill: "transparent" });
  legend(state);
}

function frame(svg, panel, right) {
  const y = panel.top - 15;
  const title = add(svg, "text", { x: 0, y, class: "title" }, panel.title);
  keys(svg, panel.keys ?? [], title.getComputedTextLength() + 16, y);
  for (const value of ticks(panel.y, panel.height)) {
    const y = panel.toY(value);
    add(svg, "line", { x1: GUTTER.left, x2: right, y1: y, y2: y, class: "grid" });
    const label = { x: GUTTER.left - 8, y: y + 4, "text-anchor": "end" };
    add(svg, "text", label, panel.y.format(value));
  }
}

// What the lines of a panel are, beside its title.
function keys(svg, names, from, y) {
  let x = from;
  for (const { style, name, dot } of names) {
    if (dot) add(svg, "circle", { cx: x + 7, cy: y - 4, r: 2, class: `dots ${style}` });
    else add(svg, "path", { d: `M${x} ${y - 4}h14`, class: `line ${style}` });
    const text = add(svg, "text", { x: x + 19, y }, name);
    x += 19 + text.getComputedTextLength() + 14;
  }
}

function axis(svg, marks, toX, bottom) {
  const [x1, x2] = [GUTTER.left, toX.end];
  add(svg, "line", { x1, x2, y1: bottom, y2: bottom, class: "axis" });
  let free = -Infinity;
  for (const { at, label } of marks) {
    const x = toX(at);
    add(svg, "line", { x1: x, x2: x, y1: bottom, y2: bottom + 4, class: "axis" });
    const half = label.length * 3.6;
    const anchor = x + half > x2 + GUTTER.right ? "end" : "middle";
    if (x - (anchor === "end" ? 2 * half : half) < free) continue;
    free = x + half + 6;
    add(svg, "text", { x, y: bottom + 18, "text-anchor": anchor }, label);
  }
}

const KINDS = {
  line(svg, layer, toX, panel) {
    add(svg, "path", { d: path(layer.points, toX, panel.toY), class: `line ${layer.style}` });
  },
  area(svg, layer, toX, panel) {
    for (const run of unbroken(layer.points)) {
      const base = panel.bottom;
      const edge = run.map(([x, y]) => `${fixed(toX(x))} ${fixed(panel.toY(y))}`).join("L");
      const d = `M${fixed(toX(run[0][0]))} ${base}L${edge}L${fixed(toX(run.at(-1)[0]))} ${base}Z`;
      add(svg, "path", { d, class: `area ${layer.style}` });
    }
  },
  bars(svg, layer, toX, panel) {
    const wide = Math.max(1, toX(layer.wide) - toX(0) - 1);
    let d = "";
    for (const [x, y] of layer.points) {
      if (!(y > 0)) continue;
      const top = Math.min(panel.toY(y), panel.bottom - 1.5);
      d += `M${fixed(toX(x) - wide / 2)} ${panel.bottom}V${fixed(top)}h${fixed(wide)}`;
      d += `V${panel.bottom}Z`;
    }
    add(svg, "path", { d, class: `bars ${layer.style}` });
  },
  dots(svg, layer, toX, panel) {
    for (const [x, y] of layer.points) {
      if (y === null) continue;
      const style = `${layer.hollow ? "hollow" : "dots"} ${layer.style}`;
      add(svg, "circle", { cx: toX(x), cy: panel.toY(y), r: layer.radius, class: style });
    }
  },
  rule(svg, layer, toX, panel, right) {
    const y = panel.toY(layer.at);
    const d = `M${GUTTER.left} ${fixed(y)}H${right}`;
    add(svg, "path", { d, class: `rule ${layer.style}` });
    layer.label = { x: right, y: y - 5, "text-anchor": "end", class: "halo" };
  },
  // A limit holds at one place only.
  limit(svg, layer, toX, panel) {
    const [x, y] = [toX(layer.x), panel.toY(layer.y)];
    add(svg, "path", { d: `M${fixed(x)} ${panel.bottom}V${fixed(y)}`, class: "rule grey" });
    add(svg, "path", { d: `M${fixed(x - 14)} ${fixed(y)}h28`, class: "line red" });
    layer.label = { x, y: y - 6, "text-anchor": "middle", class: "halo" };
  },
};

function legend({ figure, spec }) {
  const place = figure.querySelector(".legend");
  place.replaceChildren();
  for (const { style, name } of spec.legend) {
    const item = document.createElement("span");
    item.className = style;
    item.textContent = name;
    place.append(item);
  }
  if (spec.caption !== undefined) figure.querySelector(".caption").textContent = spec.caption;
}

function show(state, at) {
  const { spec, readout, toX, cross, figure, svg } = state;
  state.at = at;
  cross.replaceChildren();
  readout.replaceChildren();
  const told = at === null ? null : spec.readout(at);
  if (!told) return;
  const x = toX(told.at ?? at);
  const [y1, y2] = [spec.panels[0].top, spec.panels.at(-1).bottom];
  add(cross, "line", { x1: x, x2: x, y1, y2, class: "cross" });
  readout.append(Object.assign(document.createElement("b"), { textContent: told.title }));
  for (const row of told.rows) {
    const line = document.createElement("div");
    line.className = row.style;
    // The spaces are for those who hear it.
    for (const text of [`${row.name} `, `${row.value} `]) {
      line.append(Object.assign(document.createElement("span"), { textContent: text }));
    }
    readout.append(line);
    if (row.y === undefined || row.y === null) continue;
    const cy = spec.panels[row.panel ?? 0].toY(row.y);
    add(cross, "circle", { cx: x, cy, r: 4, class: `spot ${row.style}` });
  }
  const wide = readout.offsetWidth;
  const left = x + 14 + wide > figure.clientWidth ? Math.max(0, x - 14 - wide) : x + 14;
  const above = svg.getBoundingClientRect().top - figure.getBoundingClientRect().top;
  // Curves rise to the right, and leave room below.
  const down = spec.below ? y2 - readout.offsetHeight - 8 : y1 + 6;
  readout.style.transform = `translate(${left}px, ${above + down}px)`;
}

function scale({ log, min, max }, from, to) {
  const [into, back] = log ? [Math.log10, (v) => 10 ** v] : [(v) => v, (v) => v];
  const [low, high] = [into(min), into(max)];
  const span = high - low || 1;
  const at = (value) => {
    const share = (into(Math.min(Math.max(value, min), max)) - low) / span;
    return from + share * (to - from);
  };
  at.end = to;
  at.invert = (place) => {
    const share = Math.min(Math.max((place - from) / (to - from), 0), 1);
    return back(low + share * span);
  };
  return at;
}

function ticks({ log, min, max }, height) {
  const most = Math.max(2, Math.floor(height / 30));
  if (!log) {
    const wide = nice(max / most);
    const step = wide > max ? nice(max / most / 2) : wide;
    return Array.from({ length: Math.floor(max / step + 1e-9) + 1 }, (_, index) => index * step);
  }
  const among = (factors) => {
    const found = [];
    for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power += 1) {
      for (const factor of factors) found.push(factor * 10 ** power);
    }
    return found.filter((value) => value >= min * 0.999 && value <= max * 1.001);
  };
  const fine = [[1, 2, 5], [1, 3], [1]].map(among);
  const every = Math.ceil(fine[2].length / most);
  return fine.find((found) => found.length <= most)
    ?? fine[2].filter((_, index) => index % every === 0);
}

// The next of 1, 2, 5, 10, … that is not smaller.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= value * 0.999999);
}

function unbroken(points) {
  const runs = [[]];
  for (const point of points) {
    if (point[1] === null) runs.push([]);
    else runs.at(-1).push(point);
  }
  return runs.filter((run) => run.length > 0);
}

function path(points, toX, toY) {
  const lines = unbroken(points).map((run) => {
    const edge = run.map(([x, y]) => `${fixed(toX(x))} ${fixed(toY(y))}`).join("L");
    return `M${edge}${run.length === 1 ? "h1" : ""}`;
  });
  return lines.join("");
}

function add(parent, name, attributes, text) {
  const node = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

const fixed = (value) => value.toFixed(1);
