// Tooltips and highlighting of selected methods. The page is complete without JavaScript.
(() => {
  const tip = document.getElementById("tip");
  const show = (target, event) => {
    const rows = target.dataset.tip.split("\n").map((line) => {
      const row = document.createElement("div");
      for (const part of line.split("\t")) row.append(Object.assign(document.createElement("span"), { textContent: part }));
      return row;
    });
    tip.replaceChildren(...rows);
    tip.classList.toggle("long", rows.length > 12);
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

  const hues = ["var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)"]; // of quiet methods, in the order of selection
  const buttons = [...document.querySelectorAll(".legend button")];
  const marks = [...document.querySelectorAll(".series, .end[data-method]"), ...buttons];
  const quiet = new Set(buttons.filter((button) => button.classList.contains("quiet")).map((button) => button.dataset.method));
  let selected = [];
  const highlight = (methods) => {
    const hued = methods.filter((method) => quiet.has(method));
    for (const mark of marks) {
      const method = mark.dataset.method;
      const lit = methods.includes(method);
      if (mark.matches(".series")) {
        mark.classList.toggle("dim", methods.length > 0 && !lit && !(quiet.size && !quiet.has(method)));
        if (lit) mark.parentNode.insertBefore(mark, mark.parentNode.querySelector(".end, .hover"));
      }
      if (!quiet.has(method)) continue;
      mark.classList.toggle("lit", lit);
      mark.style.setProperty("--c", lit ? hues[hued.indexOf(method) % hues.length] : "");
    }
  };
  for (const button of buttons) {
    const method = button.dataset.method;
    button.addEventListener("click", () => {
      selected = selected.includes(method) ? selected.filter((other) => other !== method) : [...selected, method];
      for (const other of buttons) other.setAttribute("aria-pressed", String(selected.includes(other.dataset.method)));
      highlight(selected);
    });
    button.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse" && !selected.includes(method)) highlight([...selected, method]);
    });
    button.addEventListener("pointerleave", () => highlight(selected));
  }
})();
