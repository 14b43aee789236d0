const charts = JSON.parse(document.getElementById("figures").textContent);
const plot = (index) => document.getElementById(`plot-${index}`);
charts.forEach((chart, index) =>
  Plotly.newPlot(plot(index), chart.figure.data, chart.figure.layout, { responsive: true, displayModeBar: false }));

document.querySelectorAll("input[name=axis]").forEach((choice) => choice.addEventListener("change", () =>
  charts.forEach((chart, index) => {
    if (choice.value in chart.places) {
      Plotly.update(plot(index), { x: chart.places[choice.value] },
        { "xaxis.title.text": choice.dataset.title, "xaxis.autorange": true });
    }
  })));

document.querySelectorAll("input[name=run]").forEach((choice) => choice.addEventListener("change", () =>
  charts.forEach((chart, index) => {
    const curves = chart.runs.flatMap((run, curve) => run === Number(choice.value) ? [curve] : []);
    if (curves.length) {
      Plotly.restyle(plot(index), { visible: choice.checked }, curves);
    }
  })));
