const figures = JSON.parse(document.getElementById("figures").textContent);
figures.forEach((figure, index) => {
  const whole = JSON.stringify(figure.layout.xaxis.range);
  Plotly.newPlot(`plot-${index}`, figure.data, figure.layout, { responsive: true, displayModeBar: false }).then(plot =>
    // The ticks are those of the whole run; where a reader looks closer, plotly chooses.
    plot.on("plotly_relayout", change => {
      if (!("xaxis.range[0]" in change)) return;
      const range = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      Plotly.relayout(plot, { "xaxis.tickmode": JSON.stringify(range) === whole ? "array" : "auto" });
    }));
});
