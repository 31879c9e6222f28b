/* Says why the explorer does not come, if one of its files does not. It is no module, so it needs no other file. */

(() => {
  const RESULT_OF_TOO_MANY = 429;

  /** Returns what the service answered instead of a file, as a sentence. */
  function reason() {
    const refused = performance.getEntriesByType("resource").filter((entry) => entry.responseStatus >= 400);
    if (!refused.length) return "A file of this page did not arrive: the connection to the service broke.";
    const statuses = [...new Set(refused.map((entry) => entry.responseStatus))].join(", ");
    const files = refused.length === 1 ? "1 file" : `${refused.length} files`;
    const why = statuses === String(RESULT_OF_TOO_MANY) ? " (too many requests)" : "";
    return `The service refused ${files} of this page with status ${statuses}${why}.`;
  }

  function show(event) {
    if (event.target.type !== "module") return;
    const problem = document.createElement("div");
    problem.className = "problem";
    problem.setAttribute("role", "alert");
    const button = document.createElement("button");
    button.textContent = "Load the page again";
    button.addEventListener("click", () => window.location.reload());
    problem.append(`${reason()} Wait some seconds, then load it again. `, document.createElement("br"), button);
    document.getElementById("content").replaceChildren(problem);
  }

  window.addEventListener("error", show, true); // a file that is missing tells its element alone, so: while capturing
})();
