(function () {
  "use strict";
  var tip = document.body.appendChild(document.createElement("div"));
  tip.className = "tip";
  tip.hidden = true;

  function say(text, event) {
    tip.hidden = !text;
    tip.textContent = text;
    if (!text) return;
    var left = event.clientX + 14, top = event.clientY - 14 - tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = (top < 4 ? event.clientY + 18 : top) + "px";
  }

  // "start end low high log" of an axis; view is the part of it that is shown, in px of the whole.
  function axis(text) {
    var n = text.split(" ").map(Number);
    return {
      start: n[0], end: n[1], from: Math.min(n[0], n[1]), to: Math.max(n[0], n[1]), view: [Math.min(n[0], n[1]), Math.max(n[0], n[1])],
      value: function (px) { var v = n[2] + (px - n[0]) / (n[1] - n[0]) * (n[3] - n[2]); return n[4] ? Math.pow(10, v) : v; },
      px: function (value) { var v = n[4] ? Math.log10(value) : value; return n[0] + (v - n[2]) / (n[3] - n[2]) * (n[1] - n[0]); },
      scale: function () { return (this.to - this.from) / (this.view[1] - this.view[0]); },
      shown: function (px) { return this.from + (px - this.view[0]) * this.scale(); },
      original: function (px) { return this.view[0] + (px - this.from) / this.scale(); }
    };
  }

  function ticks(low, high) {
    var power = Math.pow(10, Math.floor(Math.log10((high - low) / 4))), step = power;
    [1, 2, 5, 10].some(function (factor) { step = power * factor; return (high - low) / step <= 7; });
    var values = [];
    for (var k = Math.ceil(low / step); k * step <= high; k++) values.push(Number((k * step).toPrecision(10)));
    return values;
  }

  // As the page writes them: equally many decimals along an axis, and a true minus.
  function written(values) {
    var decimals = Math.max.apply(null, values.map(function (value) { return (String(value).split(".")[1] || "").length; }).concat(0));
    return values.map(function (value) {
      return value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replace("-", "−");
    });
  }

  document.querySelectorAll("svg.chart").forEach(function (svg) {
    svg.querySelectorAll("title").forEach(function (title) {
      title.parentNode.dataset.tip = title.textContent;
      title.remove();
    });
    var zooms = svg.dataset.x, x = zooms && axis(svg.dataset.x), y = zooms && axis(svg.dataset.y);
    var dots = Array.prototype.filter.call(svg.querySelectorAll(".marks .dot"), function (dot) { return dot.dataset.tip; }).map(function (dot) {
      var at = dot.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
      return { node: dot, x: at[0], y: at[1], text: dot.dataset.tip };
    });
    svg.querySelectorAll("polyline[data-name]").forEach(function (curve) {
      curve.getAttribute("points").split(" ").forEach(function (pair) {
        var at = pair.split(",").map(Number);
        dots.push({ x: at[0], y: at[1], curve: curve.dataset.name });
      });
    });

    function place(event) {
      var at = svg.createSVGPoint();
      at.x = event.clientX; at.y = event.clientY;
      return at.matrixTransform(svg.getScreenCTM().inverse());
    }
    function number(value) { return value.toLocaleString("en", { maximumSignificantDigits: 4 }); }
    function nearest(at) {
      var best = null, reach = 22 * 22;
      dots.forEach(function (dot) {
        var dx = (zooms ? x.shown(dot.x) : dot.x) - at.x, dy = (zooms ? y.shown(dot.y) : dot.y) - at.y, far = dx * dx + dy * dy;
        if (far < reach) { best = dot; reach = far; }
      });
      if (best && !best.text) return best.curve + ": " + number(y.value(best.y)) + " at " + number(x.value(best.x));
      return best && best.text;
    }
    svg.addEventListener("pointermove", function (event) {
      if (start) return stretch(event);
      var own = event.target.closest("[data-tip]");
      say((dots.length && nearest(place(event))) || (own && own.dataset.tip) || "", event);
    });
    svg.addEventListener("pointerleave", function () { if (!start) say(""); });

    var start = null, frame = null;
    if (!zooms) return;
    var marks = svg.querySelector(".marks"), rows = svg.querySelector(".grid-y"), columns = svg.querySelector(".grid-x");
    var first = { rows: rows.innerHTML, columns: columns.innerHTML };
    var clip = document.createElementNS(svg.namespaceURI, "clipPath");
    clip.id = "clip-" + Math.random().toString(36).slice(2);
    clip.innerHTML = '<rect x="' + x.from + '" y="' + y.from + '" width="' + (x.to - x.from) + '" height="' + (y.to - y.from) + '"/>';
    svg.insertBefore(clip, svg.firstChild);
    marks.setAttribute("clip-path", "url(#" + clip.id + ")");

    function draw() {
      var whole = x.scale() === 1 && y.scale() === 1, lines = "matrix(" + [x.scale(), 0, 0, y.scale(), x.shown(0), y.shown(0)].join(" ") + ")";
      marks.querySelectorAll("line, polyline").forEach(function (line) { line.setAttribute("transform", lines); });
      marks.querySelectorAll(".tag").forEach(function (tag) { tag.style.display = whole ? "" : "none"; });
      dots.forEach(function (dot) {
        if (dot.node) dot.node.setAttribute("transform", "translate(" + x.shown(dot.x) + " " + y.shown(dot.y) + ")");
      });
      if (whole) { rows.innerHTML = first.rows; columns.innerHTML = first.columns; return; }
      var low = y.value(y.view[1]), high = y.value(y.view[0]);
      var across = ticks(Math.min(low, high), Math.max(low, high)), numbers = written(across);
      rows.innerHTML = across.map(function (value, order) {
        var at = y.shown(y.px(value));
        return '<line x1="' + x.from + '" x2="' + x.to + '" y1="' + at + '" y2="' + at + '" stroke="currentColor" stroke-opacity="0.15"/><text x="' + (x.from - 8) + '" y="' + (at + 4.5) + '" text-anchor="end" fill="currentColor">' + numbers[order] + "</text>";
      }).join("");
      var along = ticks(x.value(x.view[0]), x.value(x.view[1])), texts = written(along);
      columns.innerHTML = along.map(function (value, order) {
        return '<text x="' + x.shown(x.px(value)) + '" y="' + (y.to + 19) + '" text-anchor="middle" fill="currentColor">' + texts[order] + "</text>";
      }).join("");
    }
    function inside(at) { return at.x >= x.from && at.x <= x.to && at.y >= y.from && at.y <= y.to; }
    function box(event) {
      var at = place(event), cut = function (value, a) { return Math.max(a.from, Math.min(a.to, value)); };
      return [cut(Math.min(start.x, at.x), x), cut(Math.max(start.x, at.x), x), cut(Math.min(start.y, at.y), y), cut(Math.max(start.y, at.y), y)];
    }
    function stretch(event) {
      var b = box(event);
      frame.setAttribute("x", b[0]); frame.setAttribute("width", b[1] - b[0]);
      frame.setAttribute("y", b[2]); frame.setAttribute("height", b[3] - b[2]);
    }
    svg.addEventListener("pointerdown", function (event) {
      var at = place(event);
      if (event.button || !inside(at)) return;
      start = at;
      say("");
      frame = svg.appendChild(document.createElementNS(svg.namespaceURI, "rect"));
      frame.setAttribute("class", "frame");
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointerup", function (event) {
      if (!start) return;
      var b = box(event);
      frame.remove();
      start = null;
      if (b[1] - b[0] < 8 || b[3] - b[2] < 8) return;
      x.view = [x.original(b[0]), x.original(b[1])];
      y.view = [y.original(b[2]), y.original(b[3])];
      draw();
    });
    svg.addEventListener("dblclick", function () { x.view = [x.from, x.to]; y.view = [y.from, y.to]; draw(); });
  });
})();
