// Values under the pointer of a curve, and the choice of light or dark.
for (const plot of document.querySelectorAll('.plot[data-points]')) {
  const points = JSON.parse(plot.dataset.points);
  const tip = el('div', { class: 'tip' });
  const cursor = el('div', { class: 'cursor' });
  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    const at = Math.round(share * (points.length - 1));
    const [name, value, trend] = points[at];
    tip.textContent = `${name}: ${value} (average ${trend})`;
    cursor.style.left = `${100 * at / (points.length - 1)}%`;
    tip.style.left = `${Math.max(22, Math.min(78, 100 * at / (points.length - 1)))}%`;
    plot.append(cursor, tip);
  });
  plot.addEventListener('pointerleave', () => { tip.remove(); cursor.remove(); });
}

const themes = ['', 'light', 'dark'];
const themeButton = document.getElementById('theme');
const setTheme = (name) => {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  themeButton.textContent = { '': 'Theme: system', light: 'Theme: light', dark: 'Theme: dark' }[name];
};
let theme = '';
// A page from disk may be denied storage; then the choice lasts as long as the page.
try { theme = localStorage.getItem('sea-theme') || ''; } catch { theme = ''; }
setTheme(theme);
themeButton.addEventListener('click', () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  setTheme(theme);
  try { localStorage.setItem('sea-theme', theme); } catch { /* see above */ }
});
