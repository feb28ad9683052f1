// The page may be at /docs or /docs/.
SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#documentation",
  deepLinking: true,
});
