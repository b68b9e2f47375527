// What pages do more where scripts run. Everything works without it.
"use strict";

// Times in the reader's own zone; the exact one stays in the title.
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) continue;
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

function showCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
}

function dress(root) {
  localTimes(root);
  showCopyButtons(root);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
});

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// Parts that are asked for again. Nothing is asked while nobody looks, while something in the part has the focus or is
// open, or where the part says that it is done.
async function refresh(id) {
  const part = document.getElementById(id);
  const seconds = Number(part?.dataset.live);
  if (!seconds) return;
  let wait = seconds * 1000;
  const began = performance.now();
  const isBusy = document.hidden || part.contains(document.activeElement) || part.querySelector("details[open]");
  if (!isBusy) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.ok && !answer.redirected) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
        if (fresh && fresh.innerHTML !== part.dataset.seen) {
          const seen = fresh.innerHTML;
          part.replaceWith(fresh);
          fresh.dataset.seen = seen;
          dress(fresh);
        }
      }
    } catch { /* the server is away; it is asked again */ }
  }
  // A page that takes long is asked for less often.
  wait = Math.max(wait, 10 * (performance.now() - began));
  setTimeout(refresh, wait, id);
}

dress(document);
for (const part of document.querySelectorAll("[data-live][id]")) {
  const seconds = Number(part.dataset.live);
  if (seconds) setTimeout(refresh, seconds * 1000, part.id);
}
