"use strict";
/* The page of a gallery. Everything comes from window.GALLERY (data.js) and the sheets beside it; names of
   files reach the page as text only. */
(() => {
  const DATA = window.GALLERY;
  const GRID_STEP = 120;           // tiles that are added at once
  const SIDE = 16;                 // pictures along a side of a sheet
  const SHEET = SIDE * SIDE;
  const TAGS = ["keep", "drop", "look again"];
  const REST = "#8d939c";
  // After Okabe and Ito, lightened or darkened until each stands at 3 to 1 on white and on dark paper.
  const COLOURS = ["#2f80e4", "#c8571b", "#12866a", "#c43bb4", "#b97e20", "#3b95bf", "#cc2448", "#7d63c4", "#5f8f3f", "#a3694a", "#4c8a92"];
  const KEPT = "#12866a", DROPPED = "#9aa1ab", BOTH = "#12866a", FIRST = "#2f80e4", SECOND = "#c8571b";
  const RAMP = ["#440154", "#46307e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
  const $ = (id) => document.getElementById(id);

  // ---- columns ------------------------------------------------------------------------------------------
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const floats = (text) => new Float32Array(bytes(text));
  const shorts = (text) => new Int16Array(bytes(text));
  const longs = (text) => new Int32Array(bytes(text));
  const n = DATA.count;
  const x = floats(DATA.x), y = floats(DATA.y);
  const categories = DATA.categories.map((v) => ({ ...v, kind: "names", codes: shorts(v.codes) }));
  const flaws = categories.find((v) => v.name === "flaw");
  const numbers = DATA.numbers.map((v) => ({ ...v, kind: "numbers", values: floats(v.values) }));
  const choices = DATA.choices.map((c) => ({ ...c, rank: longs(c.rank), reason: shorts(c.reason), twin: longs(c.twin), similarity: floats(c.similarity) }));
  const errors = DATA.errors ? { side: DATA.errors.side, values: new Uint8Array(bytes(DATA.errors.values)) } : null;
  let picture = n;  // composites have their pictures behind those of the frames
  for (const choice of choices) for (const composite of choice.composites) composite.picture = picture++;

  // ---- tags ---------------------------------------------------------------------------------------------
  const tags = new Map();
  const memory = `optidel-gallery-${DATA.key}`;
  const rowOf = new Map();
  const row_of = (name) => { if (!rowOf.size) DATA.labels.forEach((label, row) => rowOf.set(label, row)); return rowOf.get(name); };
  const remember = () => { try { localStorage.setItem(memory, JSON.stringify([...tags])); } catch { /* a browser may refuse */ } };
  const recall = () => { try { for (const [row, tag] of JSON.parse(localStorage.getItem(memory) || "[]")) if (row < n && TAGS.includes(tag)) tags.set(row, tag); } catch { /* as above */ } };
  const set_tag = (rows, tag) => { for (const row of rows) tag ? tags.set(row, tag) : tags.delete(row); remember(); show_tags(); draw_grid(); if (current >= 0) draw_detail(); };
  const cell = (text) => { const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe; };
  const csv = () => ["id,tag", ...[...tags].sort((a, b) => a[0] - b[0]).map(([row, tag]) => `${cell(DATA.labels[row])},${tag}`)].join("\n") + "\n";
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "tags.csv"; link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const split = (line) => { const cells = []; const pattern = /("([^"]|"")*"|[^,]*)(,|$)/g; let match; while ((match = pattern.exec(line)) && (match[0] || !cells.length)) { cells.push(match[1].startsWith('"') ? match[1].slice(1, -1).replace(/""/g, '"') : match[1]); if (!match[3]) break; } return cells; };
  const open_tags = async (file) => {
    let unknown = 0;
    const lines = (await file.text()).split(/\r?\n/).slice(1).filter(Boolean);
    for (const line of lines) {
      const [name, tag] = split(line);
      const row = row_of(name.replace(/^'(?=[=+\-@\t\r])/, ""));
      if (row === undefined || !TAGS.includes(tag)) unknown += 1; else tags.set(row, tag);
    }
    remember(); show_tags(unknown ? `${unknown} of ${lines.length} lines name no image of this gallery` : ""); draw_grid();
  };
  const show_tags = (note = "") => {
    const count = Object.fromEntries(TAGS.map((tag) => [tag, 0]));
    for (const tag of tags.values()) count[tag] += 1;
    const text = TAGS.filter((tag) => count[tag]).map((tag) => `${count[tag]} ${tag}`).join(", ");
    $("tagged").textContent = [note, text || "nothing tagged yet"].filter(Boolean).join("; ");
  };

  // ---- colours ------------------------------------------------------------------------------------------
  const variables = [
    ...choices.map((choice, i) => ({ kind: "choice", name: `kept by ${choice.name}`, choice, key: `choice${i}` })),
    ...categories.map((variable, i) => ({ ...variable, key: `names${i}` })),
    ...numbers.map((variable, i) => ({ ...variable, key: `numbers${i}` })),
  ];
  // The project's own method first, where it ran.
  let variable = variables.find((v) => v.choice && /^optidel /.test(v.choice.name)) || variables[0], against = null, hidden = new Set();
  const legend_of = () => {
    if (variable.kind === "choice" && against) {
      const [one, two] = [variable.choice, against];
      return { codes: Uint8Array.from({ length: n }, (_, i) => (one.rank[i] >= 0 ? (two.rank[i] >= 0 ? 0 : 1) : two.rank[i] >= 0 ? 2 : 3)), labels: ["both", `only ${one.name}`, `only ${two.name}`, "neither"], colours: [BOTH, FIRST, SECOND, DROPPED] };
    }
    if (variable.kind === "choice") {
      const { rank, reason, reasons } = variable.choice;
      const shown = reasons.filter((text) => !text.includes("kept"));
      const count = new Map();
      for (let i = 0; i < n; i += 1) if (rank[i] < 0) count.set(reasons[reason[i]], (count.get(reasons[reason[i]]) || 0) + 1);
      shown.sort((a, b) => (count.get(b) || 0) - (count.get(a) || 0));
      const listed = shown.filter((text) => count.get(text)).slice(0, COLOURS.length - 1);
      const place = new Map(listed.map((text, i) => [text, i + 1]));
      const spare = COLOURS.filter((colour) => colour !== KEPT);
      const colours = [KEPT, ...listed.map((_, i) => (i === 0 ? DROPPED : spare[(i - 1) % spare.length])), REST];
      const codes = Uint8Array.from({ length: n }, (_, i) => (rank[i] >= 0 ? 0 : place.get(reasons[reason[i]]) || listed.length + 1));
      return { codes, labels: ["kept", ...listed, "other"], colours };
    }
    if (variable.kind === "names") {
      const shown = variable.values.slice(0, COLOURS.length);
      const codes = Uint8Array.from(variable.codes, (code) => (code < 0 ? shown.length + 1 : Math.min(code, shown.length)));
      return { codes, labels: [...shown, `${variable.values.length - shown.length} others`, "not known"], colours: [...shown.map((_, i) => COLOURS[i]), REST, "#c3c6cb"] };
    }
    const sorted = Float32Array.from(variable.values).filter(Number.isFinite).sort();
    // The ends are quantiles: one odd value would press all others into one colour.
    const low = sorted[Math.floor(0.02 * (sorted.length - 1))], high = sorted[Math.floor(0.98 * (sorted.length - 1))];
    const codes = Uint8Array.from(variable.values, (v) => (Number.isFinite(v) ? Math.max(0, Math.min(RAMP.length - 1, Math.floor(((v - low) / (high - low || 1)) * RAMP.length))) : RAMP.length));
    return { codes, labels: null, colours: [...RAMP, "#c3c6cb"], low, high };
  };
  let legend = null;
  const draw_legend = () => {
    const box = $("legend"); box.replaceChildren();
    if (!legend.labels) {
      const ramp = element("div", "ramp"); const bar = element("i"); bar.style.background = `linear-gradient(90deg, ${RAMP.join(",")})`;
      ramp.append(text("span", legend.low.toPrecision(3)), bar, text("span", legend.high.toPrecision(3)), text("span", `${variable.name}: ${variable.unit}`)); box.append(ramp); return;
    }
    const count = new Array(legend.labels.length).fill(0);
    for (const code of legend.codes) count[code] += 1;
    legend.labels.forEach((label, code) => {
      if (!count[code]) return;
      const button = element("button"); button.setAttribute("aria-pressed", String(!hidden.has(code))); button.title = "Click to hide or show";
      const dot = element("span", "dot"); dot.style.background = legend.colours[code];
      button.append(dot, text("span", `${label} (${count[code].toLocaleString("en")})`, "text"));
      button.onclick = () => { hidden.has(code) ? hidden.delete(code) : hidden.add(code); refresh(); };
      box.append(button);
    });
  };

  // ---- what is visible, what is selected ----------------------------------------------------------------
  let visible = new Uint8Array(n).fill(1), lassoed = null, shown = [], limit = GRID_STEP, current = -1;
  const filters = () => {
    const options = [["all", "all images", () => true]];
    const choice = variable.kind === "choice" ? variable.choice : choices[0];
    if (choice) options.push(["kept", `kept by ${choice.name}`, (i) => choice.rank[i] >= 0], ["dropped", `dropped by ${choice.name}`, (i) => choice.rank[i] < 0], ["twin", "dropped for a twin", (i) => choice.rank[i] < 0 && choice.twin[i] >= 0]);
    for (const tag of TAGS) options.push([`tag ${tag}`, `tagged: ${tag}`, (i) => tags.get(i) === tag]);
    options.push(["untagged", "not tagged", (i) => !tags.has(i)]);
    return options;
  };
  const refresh = () => {
    legend = legend_of();
    const options = filters(), wanted = $("show").value || "all";
    $("show").replaceChildren(...options.map(([value, label]) => option(value, label)));
    $("show").value = options.some(([value]) => value === wanted) ? wanted : "all";
    const passes = options.find(([value]) => value === $("show").value)[2];
    const query = $("query").value.trim().toLowerCase();
    for (let i = 0; i < n; i += 1) visible[i] = passes(i) && !(legend.labels && hidden.has(legend.codes[i])) && (!query || DATA.labels[i].toLowerCase().includes(query)) ? 1 : 0;
    draw_legend(); paint(); select();
  };
  const empty = (choice, i) => choice && choice.rank[i] < 0 && flaws && flaws.codes[i] >= 0;
  const select = () => {
    const rows = lassoed || Array.from({ length: n }, (_, i) => i);
    shown = rows.filter((i) => visible[i]);
    const choice = variable.kind === "choice" ? variable.choice : choices[0];
    const number = numbers.find((v) => v.name === $("order").value);
    if (number) shown.sort((a, b) => number.values[b] - number.values[a]);
    else if ($("order").value === "rank" && choice) {
      // Frames that show nothing come last: a page of black squares tells nobody why the others were dropped.
      const place = (i) => (choice.rank[i] >= 0 ? choice.rank[i] : (empty(choice, i) ? 2e9 : 1e9) + i);
      shown.sort((a, b) => place(a) - place(b));
    }
    limit = GRID_STEP;
    const nothing = shown.filter((i) => empty(choice, i)).length;
    const note = nothing ? ` (${nothing.toLocaleString("en")} show${nothing === 1 ? "s" : ""} nothing)` : "";
    const kept = choice ? shown.filter((i) => choice.rank[i] >= 0).length : 0;
    const where = lassoed ? "in the lasso" : "on the map";
    $("selected").textContent = `${shown.length.toLocaleString("en")} ${shown.length === 1 ? "image" : "images"} ${where}` + (choice ? `: ${kept.toLocaleString("en")} kept by ${choice.name}, ${(shown.length - kept).toLocaleString("en")} dropped${note}` : "");
    draw_grid();
  };

  // ---- pictures -----------------------------------------------------------------------------------------
  const element = (tag, name = "") => { const made = document.createElement(tag); if (name) made.className = name; return made; };
  const text = (tag, content, name = "") => { const made = element(tag, name); made.textContent = content; return made; };
  const option = (value, label) => { const made = text("option", label); made.value = value; return made; };
  const picture_of = (number) => {
    const made = element("span", "picture");
    if (DATA.live) { made.style.backgroundImage = `url(picture/${number}.webp)`; made.style.backgroundSize = "100% 100%"; return made; }
    const inside = number % SHEET, across = inside % SIDE, down = Math.floor(inside / SIDE);
    // The last sheet has only the rows that it needs.
    const total = Math.min(SHEET, picture - (number - inside)), rows = Math.ceil(total / SIDE);
    made.style.backgroundImage = `url(sheets/${Math.floor(number / SHEET)}.webp)`;
    made.style.backgroundSize = `${SIDE * 100}% ${rows * 100}%`;
    made.style.backgroundPosition = `${(across / (SIDE - 1)) * 100}% ${rows > 1 ? (down / (rows - 1)) * 100 : 0}%`;
    return made;
  };
  const tile = (row) => {
    const choice = variable.kind === "choice" ? variable.choice : choices[0];
    const made = element("button", "tile"); made.dataset.row = row;
    if (choice && choice.rank[row] >= 0) made.classList.add("kept");
    if (row === current) made.classList.add("current");
    made.title = DATA.labels[row]; made.setAttribute("aria-label", DATA.labels[row]);
    made.append(picture_of(row));
    if (tags.has(row)) made.append(text("span", tags.get(row), `mark ${tags.get(row).split(" ")[0]}`));
    made.onclick = () => go(row);
    return made;
  };
  const draw_grid = () => {
    $("grid").replaceChildren(...shown.slice(0, limit).map(tile));
    $("more").hidden = shown.length <= limit;
    $("more").textContent = `Show more (${(shown.length - limit).toLocaleString("en")})`;
  };
  const go = (row) => { current = row; draw_detail(); for (const made of $("grid").children) made.classList.toggle("current", Number(made.dataset.row) === row); mark(); };
  const boxed = (row, boxes) => {
    const made = picture_of(row); const size = DATA.sizes ? DATA.sizes[row] : [1, 1];
    // Pictures stand in the middle of their square, in their own proportions.
    const scale = 1 / Math.max(size[0], size[1]), width = size[0] * scale, height = size[1] * scale;
    for (const [x0, y0, x1, y1] of boxes) {
      const frame = element("span", "box");
      Object.assign(frame.style, { left: `${100 * ((1 - width) / 2 + x0 * width)}%`, top: `${100 * ((1 - height) / 2 + y0 * height)}%`, width: `${100 * (x1 - x0) * width}%`, height: `${100 * (y1 - y0) * height}%` });
      made.append(frame);
    }
    return made;
  };
  const figure = (content, caption, row = -1) => {
    const made = element("figure"); made.append(content, text("figcaption", caption));
    if (row >= 0) { made.style.cursor = "pointer"; made.onclick = () => go(row); }
    return made;
  };
  const heat = (row) => {
    const canvas = element("canvas", "heat"); const side = errors.side; canvas.width = canvas.height = side;
    const context = canvas.getContext("2d"), image = context.createImageData(side, side);
    for (let i = 0; i < side * side; i += 1) { const value = errors.values[row * side * side + i]; image.data.set([255, value > 128 ? 2 * (value - 128) : 0, 0, value], 4 * i); }
    context.putImageData(image, 0, 0); return canvas;
  };
  let heated = false;
  const draw_detail = () => {
    const box = $("detail"); if (current < 0) { box.hidden = true; return; }
    box.hidden = false; box.replaceChildren();
    const close = text("button", "×", "close"); close.title = "Close"; close.onclick = () => { current = -1; draw_detail(); draw_grid(); };
    const top = element("div", "top"), left = element("div"), right = element("div");
    const large = boxed(current, []); if (errors && heated) large.append(heat(current)); left.append(large);
    if (errors) { const toggle = text("button", heated ? "Hide the error" : "Where the encoder errs"); toggle.onclick = () => { heated = !heated; draw_detail(); }; toggle.style.marginTop = "6px"; left.append(toggle); }
    right.append(text("h2", DATA.labels[current]));
    const facts = element("dl");
    const fact = (name, value) => facts.append(text("dt", name), text("dd", value));
    for (const variable of categories) if (variable.codes[current] >= 0) fact(variable.name, variable.values[variable.codes[current]]);
    for (const number of numbers) if (Number.isFinite(number.values[current])) fact(number.name, number.values[current].toPrecision(3));
    right.append(facts);
    const buttons = element("span", "tagging");
    for (const tag of [...TAGS, ""]) { const button = text("button", tag ? tag[0].toUpperCase() + tag.slice(1) : "Untag"); button.setAttribute("aria-pressed", String(tag !== "" && tags.get(current) === tag)); button.onclick = () => set_tag([current], tag); buttons.append(button); }
    right.append(buttons); top.append(left, right); box.append(close, top);
    for (const choice of choices) {
      const kept = choice.rank[current] >= 0, reason = choice.reasons[choice.reason[current]];
      const line = element("h3", kept ? "reason" : "reason dropped"); const strong = text("b", kept ? `kept, rank ${choice.rank[current] + 1}` : "dropped");
      line.append(text("span", `${choice.name}: `), strong, text("span", reason === "kept" || !reason ? "" : ` – ${reason}`)); box.append(line);
      const row = element("div", "row");
      if (!kept && choice.twin[current] >= 0) row.append(figure(boxed(choice.twin[current], []), `${/twin|copy|radius|like/.test(reason) ? "stays in its place" : "the kept image most like it"}, cosine ${choice.similarity[current].toFixed(3)}`, choice.twin[current]));
      for (const composite of choice.composites) {
        if (!composite.rows.includes(current)) continue;
        row.append(figure(picture_of(composite.picture), `composite ${composite.id}`));
        composite.rows.forEach((source, i) => row.append(figure(boxed(source, [composite.boxes[i]]), source === current ? "from here" : "with this", source)));
      }
      if (row.children.length) box.append(row);
    }
  };

  // ---- the map ------------------------------------------------------------------------------------------
  let plot = null, mode = "lasso";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ground = () => getComputedStyle(document.documentElement).getPropertyValue("--map").trim();
  const radius = n > 100000 ? 2 : n > 5000 ? 3 : n > 1000 ? 5 : 7;
  const fade = n > 100000 ? 0.5 : 0.85;
  const paint = () => {
    if (!plot) { flat.draw(); return; }
    plot.set({ backgroundColor: ground(), pointColor: legend.colours, pointColorActive: ["#ff9d00"] });
    const z = Float32Array.from(legend.codes);
    const options = { select: current >= 0 ? [current] : lassoed || [] };
    // To filter a million points by themselves takes a second.
    if (visible.includes(0)) { const filtered = []; for (let i = 0; i < n; i += 1) if (visible[i]) filtered.push(i); Object.assign(options, { filter: filtered, preventFilterReset: true }); }
    // Points never move: the index that finds them is made once, and only their colours are drawn anew.
    if (fitted) options.spatialIndex = plot.get("spatialIndex");
    const draw = plot.draw({ x, y, z }, options);
    if (draw && draw.then) draw.then(fit, () => {});
  };
  // The one image that is looked at, or the lasso; nothing else of the map changes.
  const mark = () => { if (plot) plot.select(current >= 0 ? [current] : lassoed || [], { preventEvent: true }); else flat.draw(); };
  let fitted = false;
  // Once: the whole map, whatever the shape of its frame.
  const fit = () => { if (!fitted && plot) { fitted = true; plot.zoomToArea({ x: -1.06, y: -1.06, width: 2.12, height: 2.12 }); } };
  const lasso = (rows) => { lassoed = rows && rows.length ? Array.from(rows) : null; current = -1; draw_detail(); select(); if (!plot) flat.draw(); };
  const hover = (row, event) => {
    const box = $("hover"); if (row === null) { box.hidden = true; return; }
    box.replaceChildren(picture_of(row), text("div", DATA.labels[row])); box.hidden = false;
    const frame = $("map").getBoundingClientRect(); const left = event ? event[0] : 0, top = event ? event[1] : 0;
    box.style.left = `${Math.min(left + 14, frame.width - 146)}px`; box.style.top = `${Math.min(top + 14, frame.height - 170)}px`;
  };
  const set_mode = (wanted) => { mode = wanted; $("lasso").setAttribute("aria-pressed", String(mode === "lasso")); $("pan").setAttribute("aria-pressed", String(mode === "pan")); if (plot) plot.set({ mouseMode: mode === "lasso" ? "lasso" : "panZoom" }); };

  // Without WebGL: a canvas that draws every point, lassoes and picks, and does not zoom.
  const flat = {
    path: null,
    at: (i) => { const size = $("map").getBoundingClientRect(); return [((x[i] + 1.06) / 2.12) * size.width, ((1.06 - y[i]) / 2.12) * size.height]; },
    draw: () => {
      const canvas = $("canvas"), size = $("map").getBoundingClientRect(), scale = devicePixelRatio || 1;
      canvas.width = size.width * scale; canvas.height = size.height * scale;
      const context = canvas.getContext("2d"); if (!context) return;
      context.scale(scale, scale); context.fillStyle = ground(); context.fillRect(0, 0, size.width, size.height);
      const chosen = new Set(lassoed || []);
      for (let i = 0; i < n; i += 1) { if (!visible[i]) continue; const [left, top] = flat.at(i); context.globalAlpha = lassoed && !chosen.has(i) ? 0.2 : 0.85; context.fillStyle = legend.colours[legend.codes[i]]; context.beginPath(); context.arc(left, top, i === current ? 7 : radius / 1.6, 0, 7); context.fill(); }
      if (flat.path && flat.path.length > 1) { context.globalAlpha = 1; context.strokeStyle = "#ff9d00"; context.lineWidth = 2; context.beginPath(); flat.path.forEach(([left, top], i) => (i ? context.lineTo(left, top) : context.moveTo(left, top))); context.stroke(); }
    },
    inside: (path, [px, py]) => { let inside = false; for (let i = 0, j = path.length - 1; i < path.length; j = i, i += 1) { const [ax, ay] = path[i], [bx, by] = path[j]; if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) inside = !inside; } return inside; },
    nearest: (point) => { let best = -1, least = 12; for (let i = 0; i < n; i += 1) { if (!visible[i]) continue; const [left, top] = flat.at(i), away = Math.hypot(left - point[0], top - point[1]); if (away < least) { least = away; best = i; } } return best; },
    listen: () => {
      const canvas = $("canvas"), place = (event) => { const frame = canvas.getBoundingClientRect(); return [event.clientX - frame.left, event.clientY - frame.top]; };
      canvas.onpointerdown = (event) => { flat.path = [place(event)]; canvas.setPointerCapture(event.pointerId); };
      canvas.onpointermove = (event) => { if (flat.path) { flat.path.push(place(event)); flat.draw(); } else { const row = flat.nearest(place(event)); hover(row < 0 ? null : row, place(event)); } };
      canvas.onpointerup = (event) => {
        const path = flat.path || []; flat.path = null;
        if (path.length < 4) { const row = flat.nearest(place(event)); if (row >= 0) go(row); return; }
        const rows = []; for (let i = 0; i < n; i += 1) if (visible[i] && flat.inside(path, flat.at(i))) rows.push(i);
        lasso(rows);
      };
      canvas.onpointerleave = () => hover(null);
    },
  };
  const start_plot = () => {
    const size = $("map").getBoundingClientRect();
    const probe = document.createElement("canvas");
    const forced = new URLSearchParams(location.search).has("flat");
    if (forced || !window.createScatterplot || !(probe.getContext("webgl") || probe.getContext("experimental-webgl"))) { flat.listen(); return; }
    try {
      plot = window.createScatterplot({ canvas: $("canvas"), width: size.width, height: size.height, pointSize: radius, opacity: fade, colorBy: "valueZ", backgroundColor: ground(), lassoColor: "#ff9d00", lassoMinDelay: 8, lassoMinDist: 2, actionKeyMap: { lasso: "shift", merge: "cmd" }, pointSizeSelected: 3, pointOutlineWidth: 2, showReticle: false, lassoInitiator: false });
    } catch { plot = null; flat.listen(); return; }
    plot.subscribe("lassoEnd", () => {});
    plot.subscribe("select", ({ points }) => { if (points.length === 1 && mode !== "lasso") { go(points[0]); return; } if (points.length === 1) { go(points[0]); return; } lasso(points); });
    plot.subscribe("pointover", (row) => { const at = plot.getScreenPosition(row); hover(row, at); });
    plot.subscribe("pointout", () => hover(null));
    new ResizeObserver(() => { const frame = $("map").getBoundingClientRect(); plot.set({ width: frame.width, height: frame.height }); }).observe($("map"));
  };

  // ---- what explains the map ----------------------------------------------------------------------------
  const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(100 * share)} %`);
  const draw_explained = () => {
    const known = categories.filter((v) => v.map !== null && v.map !== undefined).sort((a, b) => b.map - a.map);
    const alarms = known.filter((v) => v.alarm).map((v) => `${v.name} explains ${percent(v.map)}`);
    if (alarms.length) $("alarm").textContent = `Where images come from shows more on this map than all else: ${alarms.join("; ")}. That is as it should be where each source shows something of its own; where all show the same anatomy, a method that spreads over the map spreads over sources.`;
    const body = $("explained").querySelector("tbody");
    for (const v of known) {
      const row = element("tr", v.alarm ? "alarm" : ""), name = element("td"), link = text("a", v.name), bar = element("td"), share = element("span", "share");
      link.onclick = () => { $("colour").value = variables.find((other) => other.name === v.name).key; recolour(); }; name.append(link);
      share.style.width = `${100 * v.map}%`; bar.append(share); row.append(name, text("td", percent(v.map)), bar, text("td", percent(v.embedding))); body.append(row);
    }
    if (!known.length) $("explained").hidden = true;
  };

  // ---- controls -----------------------------------------------------------------------------------------
  const recolour = () => {
    variable = variables.find((v) => v.key === $("colour").value); hidden = new Set();
    const others = variable.kind === "choice" ? choices.filter((choice) => choice !== variable.choice) : [];
    $("compare-label").hidden = !others.length; $("compare").replaceChildren(option("", "nothing"), ...others.map((choice) => option(choice.name, choice.name)));
    against = null; refresh();
  };
  const step = (by) => { if (!shown.length) return; const at = shown.indexOf(current); const next = Math.max(0, Math.min(shown.length - 1, at < 0 ? 0 : at + by)); if (next >= limit) { limit += GRID_STEP; draw_grid(); } go(shown[next]); const made = $("grid").children[next]; if (made) made.scrollIntoView({ block: "nearest" }); };
  const everything = () => { lassoed = null; current = -1; hidden = new Set(); $("query").value = ""; $("show").value = "all"; draw_detail(); if (plot) { plot.deselect({ preventEvent: true }); } refresh(); };
  const keys = { ArrowRight: () => step(1), ArrowLeft: () => step(-1), k: () => tag_current("keep"), d: () => tag_current("drop"), a: () => tag_current("look again"), u: () => tag_current(""), l: () => set_mode("lasso"), p: () => set_mode("pan"), s: save, "/": () => $("query").focus(), Escape: everything };
  const tag_current = (tag) => { if (current >= 0) { set_tag([current], tag); if (tag) step(1); } };
  const listen = () => {
    $("colour").onchange = recolour;
    $("compare").onchange = () => { against = choices.find((choice) => choice.name === $("compare").value) || null; hidden = new Set(); refresh(); };
    $("show").onchange = refresh; $("query").oninput = refresh; $("order").onchange = select; $("save").onclick = save;
    $("open").onchange = (event) => { if (event.target.files[0]) open_tags(event.target.files[0]); event.target.value = ""; };
    $("more").onclick = () => { limit += GRID_STEP; draw_grid(); };
    $("lasso").onclick = () => set_mode("lasso"); $("pan").onclick = () => set_mode("pan"); $("clear").onclick = everything;
    for (const button of document.querySelectorAll(".bar [data-tag]")) button.onclick = () => set_tag(shown, button.dataset.tag);
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && event.target.id === "query") event.target.blur();
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.key !== "Escape") return;
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault(); keys[event.key]();
    });
    dark.addEventListener("change", paint);
  };
  const start = () => {
    $("counts").textContent = [`${n.toLocaleString("en")} ${n === 1 ? "frame" : "frames"}`, ...choices.map((choice) => `${choice.name}: ${choice.rank.reduce((sum, rank) => sum + (rank >= 0), 0).toLocaleString("en")} ${choice.unit === "key patch" ? "cut from" : "kept"}`)].join(" · ");
    $("colour").replaceChildren(...variables.map((v) => option(v.key, v.name)));
    $("colour").value = variable.key;
    $("order").append(...numbers.map((v) => option(v.name, v.name)));
    if (!choices.length) $("order").value = "name";
    recall(); show_tags(); listen(); start_plot(); set_mode("lasso"); draw_explained(); recolour();
    // What tests and the console may ask.
    window.gallery = { lasso: (rows) => lasso(rows), shown: () => shown.slice(), go, csv, tags, plot: () => plot };
  };
  start();
})();
