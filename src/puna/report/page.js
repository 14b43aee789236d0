const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function draw() {
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  const rule = getComputedStyle(document.documentElement).getPropertyValue("--rule").trim();
  figures.forEach((figure, index) => {
    const layout = structuredClone(figure.layout);
    layout.font.color = ink;
    for (const axis of ["xaxis", "yaxis", "yaxis2"]) {
      if (layout[axis]) Object.assign(layout[axis], { gridcolor: rule, linecolor: rule });
    }
    layout.hoverlabel = { bgcolor: getComputedStyle(document.documentElement).getPropertyValue("--card").trim() };
    Plotly.react(`plot-${index}`, figure.data, layout, { responsive: true, displayModeBar: false });
  });
}

draw();
dark.addEventListener("change", draw);
