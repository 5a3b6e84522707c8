// Find codes, settings and checks in the query of the search page, for example in a log line.
// Sphinx splits words at dots, and finds only pages with all words of the query.
(() => {
  "use strict";
  const names = window.searchNames;
  const root = document.documentElement.dataset.content_root || "./";
  const longest = 12;

  // The row of a code without a row of its own: the longest family X.Y.*, then *.Y.Z.
  const familyOf = (code) => {
    const parts = code.split(".");
    for (let length = parts.length - 1; length > 0; length -= 1) {
      const family = `${parts.slice(0, length).join(".")}.*`;
      if (names[family]) return family;
    }
    for (let start = 1; start < parts.length; start += 1) {
      const family = `*.${parts.slice(start).join(".")}`;
      if (names[family]) return family;
    }
    return null;
  };

  const keysIn = (query) => {
    const keys = new Set();
    for (const word of query.toLowerCase().match(/[\w*]+(?:\.[\w*]+)*/g) || []) {
      const key = names[word] ? word : familyOf(word);
      if (key) keys.add(key);
    }
    return [...keys].slice(0, longest);
  };

  const show = () => {
    const query = new URLSearchParams(window.location.search).get("q") || "";
    const keys = keysIn(query);
    const results = document.getElementById("search-results");
    if (!keys.length || !results) return;
    const section = document.createElement("section");
    section.id = "search-names";
    const heading = document.createElement("h2");
    heading.textContent = "Found by name";
    const list = document.createElement("ul");
    for (const key of keys) {
      const [name, url] = names[key];
      const link = document.createElement("a");
      link.href = root + url;
      link.append(Object.assign(document.createElement("code"), { textContent: name }));
      const item = document.createElement("li");
      item.append(link);
      list.append(item);
    }
    section.append(heading, list);
    results.before(section);
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
  else show();
})();
