"use strict";
(() => {
  const bar = document.getElementById("filter");
  if (!bar) return;
  bar.hidden = false;
  const rows = [...document.querySelectorAll(".case")];
  const cut = document.querySelector(".cut");
  const told = document.getElementById("shown");
  const [text, reason, cluster, flagged] = ["find", "reason", "cluster", "only"].map((id) => document.getElementById(id));
  const words = rows.map((row) => row.dataset.text.toLowerCase());
  const draw = () => {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, k) => {
      const hit = (!wanted || words[k].includes(wanted))
        && (!reason.value || row.dataset.reasons.split(" ").includes(reason.value))
        && (!cluster || !cluster.value || row.dataset.cluster === cluster.value)
        && (!flagged.checked || row.dataset.flagged === "1");
      row.hidden = !hit;
      shown += hit;
    });
    const filtered = shown < rows.length;
    if (cut) cut.hidden = filtered;
    told.textContent = filtered ? `${shown} of ${rows.length} shown` : "";
  };
  for (const control of bar.querySelectorAll("input, select")) control.addEventListener("input", draw);
  bar.addEventListener("reset", () => setTimeout(draw));
  for (const link of document.querySelectorAll("[data-pick]")) {
    link.addEventListener("click", () => { bar.reset(); cluster.value = link.dataset.pick; draw(); });
  }
  draw();
})();
