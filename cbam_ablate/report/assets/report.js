"use strict";
for (const wide of document.querySelectorAll(".wide")) {
  const hint = wide.previousElementSibling;
  const look = () => {
    const hidden = wide.scrollWidth - wide.clientWidth;
    wide.classList.toggle("more", wide.scrollLeft < hidden - 1);
    if (hint && hint.classList.contains("hint")) hint.hidden = hidden <= 1;
  };
  wide.addEventListener("scroll", look, { passive: true });
  addEventListener("resize", look);
  look();
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.value === undefined ? Number.parseFloat(cell.textContent.replace(/(\d),(\d)/, "$1.$2")) : Number(cell.dataset.value);
    return Number.isNaN(number) ? cell.textContent.trim() : number;
  };
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const compare = (a, b) => {
        const x = value(a, column), y = value(b, column);
        // Empty cells and words stay below numbers, whichever way is up.
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
        const sign = typeof x === "number" ? x - y : x.localeCompare(y);
        return down ? -sign : sign;
      };
      // A heading or a rule begins a part of the table, which is sorted by itself.
      const parts = [{ head: [], rows: [] }];
      for (const row of [...body.rows]) {
        const group = row.classList.contains("group"), rule = row.classList.contains("rule");
        if (group || rule) parts.push({ head: group ? [row] : [], rows: [], rule: rule && !group });
        if (!group) parts.at(-1).rows.push(row);
      }
      for (const { head, rows, rule } of parts) {
        rows.sort(compare);
        rows.forEach((row, place) => row.classList.toggle("rule", Boolean(rule) && place === 0));
        body.append(...head, ...rows);
      }
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    });
  });
}
for (const table of document.querySelectorAll("table.filtered")) {
  const body = table.tBodies[0];
  if (body.rows.length > 3) {
    const box = document.createElement("input");
    box.type = "search";
    box.placeholder = "filter rows, e.g. block 16";
    box.setAttribute("aria-label", "filter rows");
    const line = document.createElement("p");
    line.className = "filter";
    line.append(box);
    const hint = table.parentElement.previousElementSibling;
    (hint && hint.classList.contains("hint") ? hint : table.parentElement).before(line);
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
}
const toggle = document.getElementById("theme");
if (toggle) {
  toggle.addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme.includes("light dark")
      ? matchMedia("(prefers-color-scheme: dark)").matches
      : document.documentElement.dataset.theme === "dark";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
}
const reveal = () => {
  const found = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (found && found.tagName === "DETAILS") found.open = true;
};
addEventListener("hashchange", reveal);
reveal();
addEventListener("beforeprint", () => document.querySelectorAll("body > details").forEach((one) => { one.open = true; }));
