"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;

  // Figures name their colours; the style sheet says what they are in a light and in a dark page.
  const colour = (name) => getComputedStyle(root).getPropertyValue("--plot-" + name).trim() || name;
  const painted = (value, key) => {
    if (Array.isArray(value)) return key === "x" || key === "y" ? value : value.map((item) => painted(item, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, painted(item, name)]));
    }
    return typeof value === "string" && /color(scale)?$/.test(key) ? colour(value) : value;
  };

  // Beside a small diagram a long title takes two lines, broken in the middle.
  const broken = (axis, place) => {
    const text = axis?.title?.text ?? "";
    if (text.length < 25 || place.clientWidth > 480) return axis;
    const middle = text.indexOf(" ", text.length / 2);
    return middle < 0 ? axis : { ...axis, title: { ...axis.title, text: `${text.slice(0, middle)}<br>${text.slice(middle + 1)}` } };
  };

  const layout = (figure, place) => {
    const own = painted(figure.layout, "");
    const axis = {
      gridcolor: colour("grid"), linecolor: colour("grid"), zeroline: false, automargin: true,
      title: { standoff: 10 }, ticks: "outside", tickcolor: colour("grid"),
    };
    const merged = (mine) => ({ ...axis, ...mine, title: { ...axis.title, ...mine.title } });
    return {
      ...own,
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 16, r: 16, t: 12, b: 16 },
      legend: { orientation: "h", x: 0, y: 1.04, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { bgcolor: colour("surface"), font: { color: colour("ink") }, align: "left" },
      dragmode: false,
      xaxis: merged(own.xaxis),
      yaxis: merged(broken(own.yaxis, place)),
      width: place.clientWidth,
      height: place.clientHeight,
    };
  };

  const render = () => {
    for (const figure of figures) {
      const place = document.getElementById(figure.id);
      Plotly.newPlot(place, painted(figure.data, ""), layout(figure, place), {
        displaylogo: false, displayModeBar: false,
      });
    }
  };

  render();
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const { clientWidth: width, clientHeight: height } = target;
      const drawn = target._fullLayout;
      if (width && (drawn.width !== width || drawn.height !== height)) Plotly.relayout(target, { width, height });
    }
  });
  for (const figure of figures) resized.observe(document.getElementById(figure.id));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  for (const [event, printing] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(event, () => { root.classList.toggle("printing", printing); render(); });
  }
})();
