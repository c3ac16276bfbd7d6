// The page itself: which colours, which run, in which order.

const FIGURES = JSON.parse(document.getElementById("figures").textContent);
const find = (id) => document.getElementById(id);

function theme() {
  const button = find("theme");
  const choices = ["auto", "light", "dark"];
  const stored = () => {
    try { return localStorage.getItem("loadtest-theme"); } catch { return null; }
  };
  const set = (choice) => {
    if (choice === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    button.textContent = `Colours: ${choice}`;
    try { localStorage.setItem("loadtest-theme", choice); } catch { /* It is only forgotten. */ }
    return choice;
  };
  let now = set(choices.includes(stored()) ? stored() : "auto");
  button.hidden = false;
  button.addEventListener("click", () => {
    now = set(choices[(choices.indexOf(now) + 1) % choices.length]);
  });
}

function pick(index, redraw) {
  for (const block of document.querySelectorAll(".of-run")) {
    block.hidden = block.dataset.run !== String(index);
  }
  redraw?.();
}

function draw() {
  const { limits } = FIGURES;
  let run = FIGURES.runs[0];
  if (find("chart-latency")) plot(find("chart-latency"), curves((run) => run.latency, limits));
  if (find("chart-lag")) plot(find("chart-lag"), curves((run) => run.lag, {}));
  if (find("chart-search")) plot(find("chart-search"), search(limits));
  const redraw = find("chart-timeline")
    && plot(find("chart-timeline"), (width) => timeline(run, limits)(width));
  const picker = find("picker");
  if (!picker) return;
  picker.hidden = false;
  picker.addEventListener("change", (event) => {
    run = FIGURES.runs[Number(event.target.value)];
    pick(event.target.value, redraw);
  });
  // A browser that goes back to the page may have kept another choice.
  const kept = picker.querySelector("input:checked").value;
  run = FIGURES.runs[Number(kept)];
  pick(kept, redraw);
}

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  const order = (column, down) => {
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const by = Number(x) - Number(y) || (x > y) - (x < y);
      return down ? -by : by;
    });
    table.tBodies[0].append(...rows);
    headings.forEach((heading, index) => {
      if (index === column) heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      // Numbers are looked at from the largest, names from A.
      order(column, now === null ? column > 0 : now === "ascending");
    });
  });
}

// What is folded belongs on paper, too.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

theme();
draw();
document.querySelectorAll("table.sortable").forEach(sortable);
