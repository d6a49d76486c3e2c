"use strict";
// Filters and pages of the gallery and the ledger. Without this script everything is shown, only unfiltered.
(() => {
  const form = document.querySelector(".filters");
  const selects = [...form.querySelectorAll("select")];
  const found = form.querySelector(".found");
  const lists = [
    { name: "gallery", box: document.querySelector(".gallery"), items: [...document.querySelectorAll(".card")] },
    { name: "ledger", box: document.querySelector(".ledger"), items: [...document.querySelectorAll(".ledger tbody tr")] },
  ].filter((list) => list.box);
  for (const list of lists) {
    list.size = Number(list.box.dataset.paged);
    list.page = 0;
    list.tags = new Map(list.items.map((item) => [item, new Set(JSON.parse(item.dataset.tags))]));
    list.pager = document.querySelector(`[data-pager="${list.name}"]`);
    list.pager.append(button("Previous", () => turn(list, -1)), document.createElement("span"), button("Next", () => turn(list, 1)));
  }
  form.hidden = false;

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  function turn(list, step) {
    list.page += step;
    draw(list);
  }

  function wanted() {
    return selects.filter((one) => one.value !== "").map((one) => `${one.dataset.facet}=${one.value}`);
  }

  function draw(list) {
    const tags = wanted();
    const fit = list.items.filter((item) => tags.every((tag) => list.tags.get(item).has(tag)));
    const pages = Math.max(1, Math.ceil(fit.length / list.size));
    list.page = Math.min(Math.max(list.page, 0), pages - 1);
    const first = list.page * list.size;
    const place = new Map(fit.map((item, index) => [item, index]));
    for (const item of list.items) {
      const index = place.get(item);
      item.classList.toggle("out", index === undefined);
      item.classList.toggle("later", index !== undefined && (index < first || index >= first + list.size));
    }
    const [back, text, forth] = list.pager.children;
    text.textContent = `${fit.length ? first + 1 : 0}–${Math.min(first + list.size, fit.length)} of ${fit.length}`;
    back.disabled = list.page === 0;
    forth.disabled = list.page === pages - 1;
    list.pager.hidden = pages === 1;
    const nothing = document.querySelector(`[data-nothing="${list.name}"]`);
    if (nothing) nothing.hidden = fit.length > 0;
    list.fit = fit;
  }

  function drawAll() {
    for (const list of lists) {
      list.page = 0;
      draw(list);
    }
    found.textContent = lists.map((list) => `${list.fit.length} ${list.name === "gallery" ? "pictures" : "rows"}`).join(", ");
  }

  function select(tags) {
    for (const one of selects) one.value = "";
    for (const tag of tags) {
      const cut = tag.indexOf("=");
      const one = selects.find((other) => other.dataset.facet === tag.slice(0, cut));
      if (one) one.value = tag.slice(cut + 1);
      if (one && one.selectedIndex < 0) one.value = "";
    }
    drawAll();
  }

  // A link to a row shows the page that it is on, whatever was filtered.
  function reveal() {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const list = lists.find((one) => one.name === "ledger");
    if (!row || !list || !list.tags.has(row)) return;
    if (!list.fit.includes(row)) select([]);
    list.page = Math.floor(list.fit.indexOf(row) / list.size);
    draw(list);
    row.focus();
    row.scrollIntoView({ block: "center" });
  }

  form.addEventListener("change", drawAll);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(drawAll));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-select]");
    if (link) select(JSON.parse(link.dataset.select));
    if (event.target.closest("[data-row-link]")) setTimeout(reveal);
  });
  addEventListener("hashchange", reveal);
  drawAll();
  reveal();
})();
