// The colors that a person chose earlier. Not a module: those run after the page was painted, and it would flash.

try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage can be forbidden, and then even touching it throws: the page then follows the system.
}
