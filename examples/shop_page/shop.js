// Asks a service for recommendations and shows them. The query names the service and a history:
// index.html?service=http://localhost:8000&history=1,71,588
"use strict";

const query = new URLSearchParams(location.search);
const service = query.get("service") ?? "http://localhost:8000";
const form = document.getElementById("form");
const historyInput = document.getElementById("history");
const statusLine = document.getElementById("status");
const itemList = document.getElementById("items");

async function recommend(itemIds) {
  const response = await fetch(`${service}/recommend`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ history: itemIds, k: 5 }),
  });
  const reply = await response.json();
  if (!response.ok) {
    throw new Error(`${reply.title}: ${reply.detail}`);
  }
  return reply.items;
}

async function show() {
  const itemIds = historyInput.value.split(",").map((text) => text.trim()).filter(Boolean);
  itemList.replaceChildren();
  try {
    const items = await recommend(itemIds);
    itemList.append(...items.map(({ item_id, payload }) => {
      const entry = document.createElement("li");
      entry.textContent = payload.title ?? item_id;
      entry.dataset.itemId = item_id;
      return entry;
    }));
    statusLine.className = "";
    statusLine.textContent = `${items.length} items`;
  } catch (error) {
    statusLine.className = "problem";
    statusLine.textContent = `No recommendations from ${service}: ${error.message}`;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  show();
});
historyInput.value = query.get("history") ?? "";
show();
