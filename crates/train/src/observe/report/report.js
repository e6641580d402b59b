
(() => {
  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector("svg"), legend = [...figure.querySelectorAll(".legend li")];
    const curves = [...svg.querySelectorAll(".line")].map((line) => ({
      name: line.dataset.name,
      color: line.classList[1],
      points: line.dataset.points.split(" ").map((point) => point.split(",")),
    }));
    const at = document.createElementNS("http://www.w3.org/2000/svg", "path"), tip = document.createElement("div");
    at.setAttribute("class", "at");
    tip.className = "tip";
    const hide = () => { at.remove(); tip.remove(); };
    const show = (event) => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width, x = (event.clientX - box.left) * scale;
      const near = (points) => points.reduce((best, point) => (Math.abs(point[2] - x) < Math.abs(best[2] - x) ? point : best));
      const found = curves.map((curve) => ({ ...curve, point: near(curve.points) }));
      if (!found.length) return;
      const middle = near(found.map((curve) => curve.point));
      at.setAttribute("d", `M${middle[2]} ${svg.dataset.top}V${svg.dataset.bottom}`);
      const line = (color, ...cells) => {
        const row = document.createElement("p");
        row.className = color;
        row.append(...cells.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
        return row;
      };
      const shown = found.filter((curve) => curve.point[2] === middle[2]).sort((a, b) => a.point[3] - b.point[3]);
      tip.replaceChildren(line("", "step", middle[0]), ...shown.map((curve) => line(curve.color, curve.name, curve.point[1])));
      svg.append(at);
      figure.append(tip);
      const home = figure.getBoundingClientRect(), left = box.left - home.left + middle[2] / scale;
      tip.style.left = `${left + tip.offsetWidth + 16 > home.width ? left - tip.offsetWidth - 10 : left + 10}px`;
      tip.style.top = `${Math.max(event.clientY - home.top - tip.offsetHeight - 10, 30)}px`;
    };
    svg.addEventListener("pointermove", show);
    svg.addEventListener("pointerleave", hide);
    for (const entry of legend) {
      const parts = svg.querySelectorAll(`.${entry.className}`);
      entry.addEventListener("pointerenter", () => { figure.classList.add("some"); parts.forEach((part) => part.classList.add("chosen")); });
      entry.addEventListener("pointerleave", () => { figure.classList.remove("some"); parts.forEach((part) => part.classList.remove("chosen")); });
    }
  }
})();
