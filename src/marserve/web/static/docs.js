// Swagger UI in the language and the colors that a person chose on the page. Not a module: it needs the other script's global.

(() => {
  const { SwaggerUIBundle } = /** @type {{SwaggerUIBundle: (options: object) => void}} */ (/** @type {unknown} */ (window));
  const root = document.documentElement;
  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const wanted = new URLSearchParams(location.search).get("lang");
  try {
    const chosen = localStorage.getItem("language");
    if (wanted === "en" || wanted === "zh") localStorage.setItem("language", wanted);
    else if ((chosen === "en" || chosen === "zh") && chosen !== root.lang) location.replace(`?lang=${chosen}${location.hash}`);
  } catch {
    // Storage can be forbidden: the language is the browser's then, as the server has read it.
  }

  const system = matchMedia("(prefers-color-scheme: dark)");
  const showTheme = () => root.classList.toggle("dark-mode", (root.dataset.theme ?? (system.matches ? "dark" : "")) === "dark");
  system.addEventListener("change", showTheme);
  showTheme();

  // The page may be at /docs or /docs/.
  const url = new URL(`../openapi.json?lang=${root.lang}`, script.src).href;
  SwaggerUIBundle({ url, dom_id: "#documentation", deepLinking: true });
})();
