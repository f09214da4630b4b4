// The theme, set before anything is drawn: System, Light or Dark. Not a module, so that it runs at once.
const THEMES = ["system", "light", "dark"];
function readTheme() {
  try { return THEMES.includes(localStorage.theme) ? localStorage.theme : "system"; } catch { return "system"; }
}
function setTheme(theme) {
  try { localStorage.theme = theme; } catch { /* a private window keeps none */ }
  document.documentElement.dataset.theme = theme;
}
setTheme(readTheme());
