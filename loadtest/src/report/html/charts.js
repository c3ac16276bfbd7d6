// What each chart shows.

const STYLES = ["c0", "c1", "c2", "c3", "c4", "c5"];
const style = (index) => STYLES[index % STYLES.length];
const positive = (value) => (value > 0 ? value : null);

function digits(value) {
  const size = Math.abs(value);
  const most = size >= 99.95 || size === 0 ? 0 : size >= 9.995 ? 1 : size >= 0.1 ? 2 : 3;
  return value.toLocaleString("en-US", { maximumFractionDigits: most });
}
function duration(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1000 ? `${digits(value / 1000)} s` : `${digits(value)} ms`;
}
const rate = (value) => `${digits(value)}/s`;

// The next 1, 2 or 5 of a power of ten on both sides.
function around(values) {
  const known = values.filter((value) => value > 0);
  if (known.length === 0) return { min: 0.1, max: 100 };
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const max = nice(high * 1.05);
  const min = 1 / nice(1 / (low * 0.95));
  return { min: Math.min(min, max / 10), max };
}

// Percentiles: every nine takes as much room as the one before it.
const NAMED = [0, 50, 75, 90, 95, 99, 99.9, 99.99, 99.999, 99.9999];
const tail = (percentile) => -Math.log10(1 - percentile / 100);

function curves(pick, limits) {
  const all = FIGURES.runs.map((run) => pick(run));
  const counts = all.map((curve) => curve.count);
  const top = Math.max(1.5, Math.log10(Math.max(10, ...counts)));
  const lines = all.map(({ points }) =>
    points.map(([percentile, value]) => [
      percentile >= 100 ? top : Math.min(tail(percentile), top),
      positive(value),
    ]));
  const named = NAMED.filter((percentile) => tail(percentile) <= top);
  const marks = Object.entries(limits).map(([name, y]) => ({
    kind: "limit", name, x: tail(Number(name.slice(1))), y,
  }));
  const values = [...lines.flat().map(([, y]) => y), ...marks.map(({ y }) => y)];
  const at = (line, x) => line.find(([place]) => place >= x - 1e-9)?.[1] ?? line.at(-1)?.[1];
  return (width) => ({
    x: {
      min: 0,
      max: top,
      ticks: named
        .filter((percentile) => width > 600 || ![0, 75, 95].includes(percentile))
        .map((percentile) => ({ at: tail(percentile), label: `${percentile} %` })),
    },
    stops: [...named.map(tail), top],
    below: true,
    legend: FIGURES.runs.length < 2 ? []
      : FIGURES.runs.map((run, index) => ({ style: style(index), name: run.name })),
    panels: [{
      title: "Milliseconds that so many took at most",
      height: width < 500 ? 230 : 300,
      y: { log: true, ...around(values), format: digits },
      layers: [
        ...marks.filter(({ x }) => x <= top),
        ...lines.map((points, index) => ({ kind: "line", style: style(index), points })),
      ],
    }],
    readout: (x) => ({
      title: x >= top - 1e-6 ? "The slowest" : `${share(x)} % took at most`,
      rows: lines.map((line, index) => {
        const y = at(line, x);
        return { style: style(index), name: FIGURES.runs[index].name, value: duration(y), y };
      }),
    }),
  });
}

function share(x) {
  const decimals = Math.min(Math.floor(x + 1e-9), 5);
  return Number(((1 - 10 ** -x) * 100).toFixed(decimals));
}

// Time: a point for each second, or for a few of them when there are more than can be told apart.
const SPANS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

function spans(timeline, width) {
  const room = Math.max(40, width / 3);
  const size = SPANS.find((span) => timeline.length / span <= room) ?? SPANS.at(-1);
  const groups = [];
  for (const second of timeline) {
    const place = Math.floor(second[0] / size);
    (groups[place] ??= []).push(second);
  }
  const points = groups.filter(Boolean).map((group) => {
    const sum = (index) => group.reduce((total, second) => total + second[index], 0);
    const most = (index) => positive(Math.max(...group.map((second) => second[index])));
    const middle = group.map((second) => second[3]).filter(positive).sort((a, b) => a - b);
    const from = Math.floor(group[0][0] / size) * size;
    return {
      from,
      at: from + size / 2,
      good: sum(1) / group.length,
      errors: sum(2) / group.length,
      p50: middle[Math.floor(middle.length / 2)] ?? null,
      p99: most(4),
      max: most(5),
    };
  });
  return { size, points };
}

function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const two = (value) => String(value).padStart(2, "0");
  if (hours > 0) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

function timeline(run, limits) {
  const end = run.timeline.reduce((last, second) => Math.max(last, second[0] + 1), 1);
  const some = run.timeline.some((second) => second[2] > 0);
  return (width) => {
    const { size, points } = spans(run.timeline, width - 70);
    const of = (name) => points.map((point) => [point.at, point[name]]);
    const step = SPANS.find((span) => end / span <= Math.max(3, width / 90)) ?? SPANS.at(-1);
    const marks = Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => index * step);
    const panels = [answered(run, of, width), ...(some ? [failed(of, size)] : [])];
    panels.push(took(of, points, limits, width));
    const latency = panels.length - 1;
    return {
      x: { min: 0, max: end, ticks: marks.map((at) => ({ at, label: clock(at) })) },
      stops: points.map(({ at }) => at),
      snap: true,
      caption: [
        some ? "" : "No errors. ",
        size > 1 ? `Each point is ${size} s: the mean of the rates, the middle p50, the worst p99 `
          + "and maximum of a second in it." : "",
      ].join(""),
      legend: [],
      panels,
      readout: (x) => {
        const point = points.find(({ at }) => at === x);
        return point && { at: x, ...told(point, size, latency, some) };
      },
    };
  };
}

function told(point, size, latency, some) {
  const until = size > 1 ? `–${clock(point.from + size)}` : "";
  return {
    title: clock(point.from) + until,
    rows: [
      { style: "c2", name: "good", value: rate(point.good), y: point.good },
      ...(some ? [{ style: "red", name: "errors", value: rate(point.errors) }] : []),
      { style: "grey", name: "slowest", value: duration(point.max), panel: latency, y: point.max },
      { style: "c0", name: "p99", value: duration(point.p99), panel: latency, y: point.p99 },
      { style: "pale", name: "p50", value: duration(point.p50), panel: latency, y: point.p50 },
    ],
  };
}

function answered(run, of, width) {
  const good = of("good");
  const most = Math.max(1, run.target ?? 0, ...good.map(([, y]) => y));
  const target = run.target === null ? [] : [
    { kind: "rule", style: "grey", at: run.target, name: `target ${rate(run.target)}` },
  ];
  return {
    title: "Good answers a second",
    height: width < 500 ? 110 : 140,
    y: { min: 0, max: most * 1.12, format: digits },
    layers: [
      { kind: "area", style: "c2", points: good },
      { kind: "line", style: "c2", points: good },
      ...target,
    ],
  };
}

function failed(of, size) {
  const errors = of("errors");
  return {
    title: "Errors a second",
    height: 60,
    y: { min: 0, max: Math.max(...errors.map(([, y]) => y)) * 1.05, format: digits },
    layers: [{ kind: "bars", style: "red", points: errors, wide: size }],
  };
}

function took(of, points, limits, width) {
  const values = points.flatMap(({ p50, p99, max }) => [p50, p99, max]);
  const rules = limits.p99 === undefined ? [] : [
    { kind: "rule", style: "red", at: limits.p99, name: `limit of p99 ${duration(limits.p99)}` },
  ];
  return {
    title: "Milliseconds",
    keys: [
      { style: "pale", name: "p50" },
      { style: "c0", name: "p99" },
      { style: "grey", name: "slowest", dot: true },
    ],
    height: width < 500 ? 190 : 230,
    y: { log: true, ...around([...values, limits.p99 ?? 0]), format: digits },
    layers: [
      ...rules,
      { kind: "dots", style: "grey", points: of("max"), radius: 1.6 },
      { kind: "line", style: "pale", points: of("p50") },
      { kind: "line", style: "c0", points: of("p99") },
    ],
  };
}

// The search: what was held is filled.
function search(limits) {
  const tried = FIGURES.search;
  const most = Math.max(...tried.map(([at]) => at));
  const rules = limits.p99 === undefined ? [] : [
    { kind: "rule", style: "red", at: limits.p99, name: `limit ${duration(limits.p99)}` },
  ];
  const dots = (held, look) => ({
    kind: "dots", radius: 5, ...look,
    points: tried.filter((step) => step[2] === held).map(([at, p99]) => [at, positive(p99)]),
  });
  return (width) => ({
    x: {
      min: 0,
      max: most * 1.05,
      ticks: ticks({ min: 0, max: most }, width / 4).map((at) => ({ at, label: rate(at) })),
    },
    stops: tried.map(([at]) => at).sort((a, b) => a - b),
    snap: true,
    caption: "",
    legend: [{ style: "green dot", name: "held" }, { style: "red hollow", name: "missed" }],
    panels: [{
      title: "p99 in milliseconds at the rates that were tried",
      height: 200,
      y: { log: true, ...around([...tried.map(([, y]) => y), limits.p99 ?? 0]), format: digits },
      layers: [
        ...rules,
        dots(true, { style: "green" }),
        dots(false, { style: "red", hollow: true }),
      ],
    }],
    readout: (x) => {
      const [, p99, held] = tried.find(([at]) => at === x);
      const rows = [{ style: held ? "green" : "red", name: "p99", value: duration(p99), y: p99 }];
      return { title: `${rate(x)} ${held ? "held" : "missed"}`, rows };
    },
  });
}
