"use strict";
// The page works without any of this but for the table of answers. Text from models only ever becomes text nodes.
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, name, text) => {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // -- pictures: points that can be stepped through, runs that can be hidden ------------------------------------
  const readout = document.querySelector(".readout");
  for (const chart of document.querySelectorAll("[data-chart]")) {
    const points = [...chart.querySelectorAll(".point")];
    const shown = () => points.filter((point) => !point.classList.contains("hidden-series"));
    const tell = (point) => {
      for (const other of points) other.classList.toggle("here", other === point);
      readout.textContent = point.getAttribute("aria-label");
    };
    const reach = (point) => {
      for (const other of points) other.tabIndex = other === point ? 0 : -1;
    };
    if (points.length) reach(points[0]);
    for (const point of points) {
      point.addEventListener("pointerenter", () => tell(point));
      point.addEventListener("click", () => { reach(point); point.focus(); });
      point.addEventListener("focus", () => { reach(point); tell(point); });
      point.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const open = shown();
        const goal = event.key === "Home" ? open[0] : event.key === "End" ? open[open.length - 1]
          : step ? open[(open.indexOf(point) + step + open.length) % open.length] : null;
        if (!goal) return;
        event.preventDefault();
        goal.focus();
      });
    }
    chart.addEventListener("series", () => {
      const open = shown();
      if (open.length && !open.some((point) => point.tabIndex === 0)) reach(open[0]);
    });
  }
  const switches = [...document.querySelectorAll(".switch")];
  for (const button of switches) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const same of switches) {
        if (same.dataset.series === button.dataset.series) same.setAttribute("aria-pressed", String(on));
      }
      for (const part of document.querySelectorAll(`.chart .series-${button.dataset.series}`)) {
        part.classList.toggle("hidden-series", !on);
      }
      for (const chart of document.querySelectorAll("[data-chart]")) chart.dispatchEvent(new Event("series"));
    });
  }

  // -- the table of answers --------------------------------------------------------------------------------------
  const data = JSON.parse(byId("data").textContent);
  const page = 25;
  const search = byId("search"), chosenSet = byId("set"), chosenRun = byId("run"), order = byId("order");
  const table = byId("answers"), body = byId("body"), more = byId("more"), count = byId("count");
  for (const [name, title] of data.sets) chosenSet.append(new Option(title, name));
  chosenSet.append(new Option("all", ""));
  if (chosenRun) data.runs.forEach((name, number) => chosenRun.append(new Option(name, String(number))));
  const has = { b: data.rows.some((row) => row.b), n: data.rows.some((row) => row.n) };
  for (const cell of table.querySelectorAll("[data-model]")) cell.hidden = !has[cell.dataset.model];

  const plain = (model) => (model && model.a ? model.a.join("") : "");
  const texts = data.rows.map((row) =>
    [row.q, row.g, plain(row.b), plain(row.n), ...row.r.map(plain)].join("\n").toLocaleLowerCase());
  const after = (row) => row.r[chosenRun ? Number(chosenRun.value) : 0];
  const left = (row) => (after(row) && after(row).p !== null ? after(row).p : -1);
  const lost = (row) => (row.b && row.b.p !== null && left(row) >= 0 ? row.b.p - left(row) : -left(row));
  const leaks = (row) => (after(row) && after(row).a ? (after(row).a.length - 1) / 2 : -1);
  const keys = { left, forgotten: lost, leaked: leaks };

  const answer = (cell, model) => {
    if (!model || model.a === null) cell.append(make("span", "absent", "not asked"));
    else if (!plain(model)) cell.append(make("span", "absent", "(nothing)"));
    else model.a.forEach((part, n) => { if (part) cell.append(n % 2 ? make("mark", "", part) : part); });
  };
  const shownNumber = (value) => (value === null ? "–" : value > 0 && value < 1e-3 ? value.toExponential(1) : value.toFixed(3));
  const probabilities = (cell, row) => {
    for (const [name, model] of [["before", row.b], ["after", after(row)], ["retain", row.n]]) {
      if (model) cell.append(make("span", "probability", `${shownNumber(model.p)} ${name}\n`));
    }
  };
  const line = (row) => {
    const tr = make("tr"), head = make("th");
    head.scope = "row";
    head.setAttribute("role", "rowheader"); // on a phone these are blocks, which would no longer be read as a table
    tr.setAttribute("role", "row");
    head.append(make("span", "question", row.q), make("span", "gold", row.g), make("span", "place", `${row.s} ${row.i}`));
    tr.append(head);
    for (const [title, model, there] of [["Before", row.b, has.b], ["After", after(row), true], ["Retain model", row.n, has.n]]) {
      if (!there) continue;
      const cell = make("td");
      cell.dataset.title = title;
      cell.setAttribute("role", "cell");
      answer(cell, model);
      tr.append(cell);
    }
    const cell = make("td", "probabilities");
    cell.dataset.title = "Probability of the gold answer";
    cell.setAttribute("role", "cell");
    probabilities(cell, row);
    tr.append(cell);
    return tr;
  };

  let found = [], drawn = 0;
  const draw = () => {
    const next = found.slice(drawn, drawn + page);
    body.append(...next.map((place) => line(data.rows[place])));
    drawn += next.length;
    more.hidden = drawn >= found.length;
    count.textContent = found.length ? `${drawn} of ${found.length} rows shown` : "No row matches.";
  };
  const refresh = () => {
    const wanted = search.value.trim().toLocaleLowerCase(), set = chosenSet.value;
    found = data.rows.map((_, place) => place)
      .filter((place) => (!set || data.rows[place].s === set) && texts[place].includes(wanted));
    const key = keys[order.value];
    if (key) found.sort((one, other) => key(data.rows[other]) - key(data.rows[one]) || one - other);
    for (const button of table.querySelectorAll("[data-order]")) {
      const mine = button.dataset.order === order.value || (button.dataset.order === "forgotten" && order.value === "left");
      button.closest("th").setAttribute("aria-sort", !mine ? "none" : order.value === "data" || order.value === "forgotten" ? "ascending" : "descending");
    }
    body.replaceChildren();
    drawn = 0;
    table.hidden = false;
    draw();
  };
  search.addEventListener("input", refresh);
  for (const control of [chosenSet, chosenRun, order]) {
    if (control) control.addEventListener("change", refresh);
  }
  for (const button of table.querySelectorAll("[data-order]")) {
    button.addEventListener("click", () => {
      const again = button.dataset.order === "forgotten" && order.value === "forgotten";
      order.value = again ? "left" : button.dataset.order;
      refresh();
    });
  }
  more.addEventListener("click", () => {
    const from = drawn;
    draw();
    const first = body.children[from];
    if (first) { first.tabIndex = -1; first.focus(); }
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  refresh();
})();
