"use strict";
// The documents of an evaluation: a list with filters, and one document in full. Texts of models and data sets are only
// ever set as text, never as HTML.
(() => {
  const PAGE = 50, TOGETHER = 64;
  const { tasks, details } = JSON.parse(document.getElementById("tasks-json").textContent);
  const at = (id) => document.getElementById(id);
  const unpacked = new Map();
  let place = 0, index = null, shown = [], first = 0, current = -1, filters = 0, opens = 0;

  function make(name, text, attributes = {}, ...children) {
    const made = document.createElement(name);
    if (text !== null && text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  async function unpack(id) {
    if (!unpacked.has(id)) {
      const bytes = Uint8Array.from(atob(at(id).textContent), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      unpacked.set(id, JSON.parse(await new Response(stream).text()));
      if (unpacked.size > 40) unpacked.delete(unpacked.keys().next().value);
    }
    return unpacked.get(id);
  }

  const documentAt = async (number) =>
    (await unpack(`pack-${place}-${Math.floor(number / TOGETHER)}`))[number % TOGETHER];
  const number = (value) => (typeof value === "number" ? +value.toPrecision(5) : String(value));
  const values = () => index.values[at("metric").value] || [];
  const isShare = (column) => column.every((value) => value === null || value === 0 || value === 1);

  function options(select, entries, keep) {
    const before = select.value;
    select.replaceChildren(...entries.map(([value, label]) => make("option", label, { value })));
    if (keep && entries.some(([value]) => value === before)) select.value = before;
  }

  async function openTask(number) {
    place = number;
    current = -1;
    at("task").selectedIndex = number;
    index = await unpack(`index-${number}`);
    const names = details[number].metrics;
    options(at("metric"), names.map((name) => [name, name]), true);
    const many = index.categories.filter((name) => name);
    options(at("category"), [["", many.length ? "all" : "none"], ...many.map((name) => [name, name])], false);
    at("category").disabled = !many.length;
    filterChoices();
    await filter();
  }

  function filterChoices() {
    const some = [["all", "all"]];
    if (isShare(values())) some.push(["1", "right (1)"], ["0", "wrong (0)"]);
    some.push(["low", "lowest first"], ["high", "highest first"], ["missing", "not measured"]);
    options(at("which"), some, true);
  }

  async function filter() {
    const mine = ++filters, column = values(), which = at("which").value;
    const category = index.categories.indexOf(at("category").value);
    const wanted = at("search").value.toLowerCase();
    let found = index.ids.map((_, place) => place);
    if (at("category").value) found = found.filter((place) => index.category[place] === category);
    if (which === "0" || which === "1") found = found.filter((place) => column[place] === Number(which));
    if (which === "missing") found = found.filter((place) => column[place] === null || column[place] === undefined);
    if (which === "low" || which === "high") {
      const sign = which === "low" ? 1 : -1;
      found = found.filter((place) => typeof column[place] === "number");
      found.sort((a, b) => sign * (column[a] - column[b]) || a - b);
    }
    if (wanted) {
      const having = new Set();
      for (let pack = 0; pack < tasks[place].packs; pack++) {
        const documents = await unpack(`pack-${place}-${pack}`);
        if (mine !== filters) return;
        documents.forEach((one, within) => {
          if (JSON.stringify(one).toLowerCase().includes(JSON.stringify(wanted).slice(1, -1)))
            having.add(pack * TOGETHER + within);
        });
      }
      found = found.filter((place) => having.has(place));
    }
    shown = found;
    first = 0;
    at("count").textContent = `${found.length.toLocaleString("en")} of ${index.ids.length.toLocaleString("en")} documents`;
    list();
  }

  function list() {
    const column = values(), share = isShare(column);
    const rows = shown.slice(first, first + PAGE).map((place) => {
      const value = column[place], right = share && value === 1, wrong = share && value === 0;
      const mark = make("span", right ? "✓" : wrong ? "✗" : "", {
        class: `mark ${right ? "right" : wrong ? "wrong" : ""}`, "aria-label": right ? "right" : wrong ? "wrong" : "" });
      const under = [index.ids[place], index.categories[index.category[place]]].filter((part) => part);
      if (!share && typeof value === "number") under.push(String(number(value)));
      const body = make("span", index.beginnings[place] || "(no text)", {}, make("small", under.join(" · ")));
      const button = make("button", null, { type: "button" }, mark, body);
      if (place === current) button.setAttribute("aria-current", "true");
      button.dataset.place = place;
      button.addEventListener("click", () => open(place));
      return make("li", null, {}, button);
    });
    at("list").replaceChildren(...rows);
    const last = Math.min(first + PAGE, shown.length);
    at("page").textContent = shown.length ? `${first + 1} to ${last}` : "none";
    at("before").disabled = first === 0;
    at("after").disabled = last >= shown.length;
  }

  async function open(which) {
    current = which;
    const mine = ++opens, one = await documentAt(which);
    if (mine !== opens) return;
    for (const button of at("list").querySelectorAll("button"))
      if (Number(button.dataset.place) === which) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    at("document").replaceChildren(...parts(one));
    history.replaceState(null, "", `#${encodeURIComponent(tasks[place].task)}/${encodeURIComponent(one.id)}`);
  }

  function parts(one) {
    const made = [make("h3", `${tasks[place].task}, document ${one.id}`)];
    const chips = Object.entries(one.values).map(([name, value]) => `${name} ${value === null ? "not measured" : number(value)}`);
    if (one.category) chips.unshift(one.category);
    made.push(make("ul", null, { class: "chips" }, ...chips.map((text) => make("li", text))));
    if (one.context) made.push(make("h4", one.kind === "write" ? "Prompt" : "Context"), make("pre", one.context));
    if (one.options && one.options.length) made.push(make("h4", title(one)), optionTable(one));
    (one.written || []).forEach((text, sample) => {
      const which = one.written.length > 1 ? `Sample ${sample + 1}` : "Written";
      made.push(make("h4", `${which}: ${text.tokens} tokens, ended by ${text.finish}`), make("pre", text.text || "(nothing)"));
    });
    for (const [name, content] of [["Found in judging", one.shown], ["What answers are judged by", one.facts]])
      if (content && Object.keys(content).length)
        made.push(make("h4", name), make("pre", JSON.stringify(content, null, 2)));
    return made;
  }

  const title = (one) => ({ choose: "Options", continue: "Scored", read: "Texts" })[one.kind] || "Scored";

  function optionTable(one) {
    const metric = at("metric").value, chosen = ((one.shown || {}).chosen || {})[metric];
    const several = one.kind === "choose" && one.options.length > 1;
    const top = Math.max(...one.options.map((option) => Number(option.logprob)));
    const head = ["", one.options.some((option) => typeof option.context === "string") ? "Context and option" : "Option", "Log-likelihood"];
    if (several) head.push("Beside the likeliest");
    head.push("Tokens", "Per token", "Per character");
    if (one.options.some((option) => option.own)) head.push("Less its own");
    const rows = one.options.map((option, place) => {
      const gold = (one.gold || []).includes(place), marks = [];
      if (gold) marks.push(make("span", "✓ ", { class: "mark right", title: "right" }));
      if (chosen === place) marks.push(make("span", "▸", { class: "mark", title: `chosen by ${metric}` }));
      const text = typeof option.context === "string" ? `${option.context}⟨${option.continuation}⟩` : option.continuation;
      const counted = typeof option.text === "string" ? option.text : option.continuation, logprob = Number(option.logprob);
      const cells = [make("td", null, { style: "white-space: nowrap" }, ...marks), make("td", text, { class: "text" }), make("td", logprob.toFixed(3), { class: "n" })];
      if (several) {
        const bar = make("span", null, { class: "bar", style: `width: ${(6 * Math.exp(logprob - top)).toFixed(2)}rem` });
        cells.push(make("td", null, {}, bar));
      }
      cells.push(make("td", option.tokens, { class: "n" }), make("td", option.tokens ? (logprob / option.tokens).toFixed(3) : "", { class: "n" }));
      cells.push(make("td", counted.length ? (logprob / [...counted].length).toFixed(4) : "", { class: "n" }));
      if (option.own) cells.push(make("td", (logprob - Number(option.own.logprob)).toFixed(3), { class: "n" }));
      return make("tr", null, gold ? { class: "gold" } : {}, ...cells);
    });
    const table = make("table", null, {}, make("thead", null, {}, make("tr", null, {}, ...head.map((text, column) => make("th", text, column > 1 && text !== "Beside the likeliest" ? { class: "n" } : {})))), make("tbody", null, {}, ...rows));
    return make("div", null, { class: "scroll", role: "region", "aria-label": title(one), tabindex: "0" }, table);
  }

  function step(by) {
    const where = shown.indexOf(current), next = shown[where < 0 ? 0 : where + by];
    if (next === undefined) return;
    const position = shown.indexOf(next);
    if (position < first || position >= first + PAGE) { first = Math.floor(position / PAGE) * PAGE; list(); }
    open(next);
  }

  async function follow() {
    const hash = location.hash.slice(1), cut = hash.lastIndexOf("/");
    const whole = decodeURIComponent(hash), task = decodeURIComponent(hash.slice(0, Math.max(cut, 0)));
    const id = decodeURIComponent(hash.slice(cut + 1));
    const alone = tasks.findIndex((one) => one.task === whole), with_id = tasks.findIndex((one) => one.task === task);
    if (alone < 0 && with_id < 0) return false;
    await openTask(alone < 0 ? with_id : alone);
    if (alone < 0 && index.ids.includes(id)) {
      const which = index.ids.indexOf(id);
      first = Math.floor(shown.indexOf(which) / PAGE) * PAGE;
      list();
      await open(which);
    }
    at("documents").scrollIntoView();
    return true;
  }

  if (typeof DecompressionStream === "undefined") {
    at("document").textContent = "This browser is too old to unpack the documents; they are also in documents/, as JSON lines.";
    return;
  }
  at("task").addEventListener("change", () => openTask(at("task").selectedIndex));
  at("metric").addEventListener("change", () => { filterChoices(); filter(); });
  for (const id of ["which", "category"]) at(id).addEventListener("change", filter);
  at("search").addEventListener("input", filter);
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("before").addEventListener("click", () => { first = Math.max(0, first - PAGE); list(); });
  at("after").addEventListener("click", () => { first += PAGE; list(); });
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, pre, .scroll")) return;
    if (at("documents").getBoundingClientRect().top > innerHeight) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); step(event.key === "ArrowDown" ? 1 : -1); }
  });
  addEventListener("hashchange", follow);
  if (tasks.length) follow().then((done) => done || openTask(0));
})();
