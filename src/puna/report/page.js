const figures = JSON.parse(document.getElementById("figures").textContent);
figures.forEach((figure, index) =>
  Plotly.newPlot(`plot-${index}`, figure.data, figure.layout, { responsive: true, displayModeBar: false }));
