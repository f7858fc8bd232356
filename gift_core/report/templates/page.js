// Two comforts; the page is whole without them: values under the pointer, and one method brought forward.
(() => {
  const tip = document.getElementById("tip");
  const show = (target, event) => {
    const rows = target.dataset.tip.split("\n").map((line) => {
      const row = document.createElement("div");
      for (const part of line.split("\t")) row.append(Object.assign(document.createElement("span"), { textContent: part }));
      return row;
    });
    tip.replaceChildren(...rows);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 14 + box.width < document.documentElement.clientWidth;
    tip.style.left = `${Math.max(4, right ? event.clientX + 14 : event.clientX - box.width - 14)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 4))}px`;
  };
  document.addEventListener("pointermove", (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target, event);
    else tip.hidden = true;
  });
  document.addEventListener("pointerleave", () => { tip.hidden = true; });
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  const buttons = [...document.querySelectorAll(".legend button")];
  const choose = (method) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.method === method));
    for (const series of document.querySelectorAll(".series")) {
      series.classList.toggle("dim", method !== null && series.dataset.method !== method);
      if (series.dataset.method === method) series.parentNode.insertBefore(series, series.parentNode.querySelector(".end, .hover"));
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      choose(button.getAttribute("aria-pressed") === "true" ? null : button.dataset.method);
    });
  }
})();
