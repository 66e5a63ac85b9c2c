// What the page can do beyond being read: theme, cross-hair over all charts, pinned moments, copied commands.
// Everything on the page is there without it. It reads JSON from the page and writes text only through
// textContent, so that nothing from a log is ever parsed as markup.
(() => {
  "use strict";
  const root = document.documentElement;
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const remember = {
    get() { try { return localStorage.getItem("seismolog-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("seismolog-theme", value); } catch { /* a file may have no storage */ } },
  };

  // --- theme: auto, light, dark
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const show = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.querySelector("span").textContent = theme;
  };
  let theme = themes.includes(remember.get()) ? remember.get() : "auto";
  show(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % 3];
    remember.set(theme);
    show(theme);
  });
  // Paper is white whatever the screen is.
  let kept = null;
  addEventListener("beforeprint", () => { kept = root.dataset.theme ?? ""; root.dataset.theme = "light"; });
  addEventListener("afterprint", () => { if (kept === "") delete root.dataset.theme; else if (kept) root.dataset.theme = kept; kept = null; });

  // --- time
  let zone = page.zone;
  try { new Intl.DateTimeFormat("en-GB", { timeZone: zone }); } catch { zone = "UTC"; }
  const words = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const stamps = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const stamp = (seconds) => stamps.format(new Date(seconds * 1000)).replace(" ", "T");

  // --- charts
  const plain = (value) => {
    const size = Math.abs(value);
    if (size >= 100) return Math.round(value).toLocaleString("en-US");
    return String(Number(value.toPrecision(3))).replace("-", "−");
  };
  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => {
    const data = JSON.parse(figure.querySelector("script.data").textContent);
    const panels = [...figure.querySelectorAll(".panel")];
    return { figure, data, panels, box: figure.querySelector(".panels"), hairs: [...figure.querySelectorAll(".hair")] };
  });
  const sparks = [...document.querySelectorAll(".spark .hair")];
  let current = null;

  const paint = (seconds) => {
    current = seconds;
    for (const chart of charts) {
      const { start, step, count } = chart.data;
      const place = seconds === null ? -1 : Math.floor((seconds - start) / step);
      const inside = place >= 0 && place < count;
      for (const hair of chart.hairs) {
        hair.style.display = inside ? "block" : "none";
        if (inside) hair.style.left = `${(100 * (place + 0.5)) / count}%`;
      }
      chart.panels.forEach((panel, index) => {
        const info = chart.data.panels[index];
        panel.querySelectorAll("output").forEach((out, which) => {
          const value = inside ? info.series[which][place] : undefined;
          out.textContent = value === undefined ? "" : value === null ? "–" : info.share ? `${plain(100 * value)}\u202f%` : plain(value);
        });
        const unit = panel.querySelector(".unit");
        unit.dataset.unit ??= unit.textContent;
        unit.textContent = inside
          ? `${words.format(new Date((start + place * step) * 1000))}–${clock.format(new Date((start + (place + 1) * step) * 1000))}`
          : unit.dataset.unit;
      });
    }
    const first = charts[0];
    if (!first) return;
    const share = seconds === null ? -1 : (seconds - first.data.start) / (first.data.step * first.data.count);
    for (const hair of sparks) {
      hair.style.display = share >= 0 && share <= 1 ? "block" : "none";
      hair.style.left = `${100 * share}%`;
    }
  };

  const pin = document.getElementById("pin");
  const hold = (chart) => {
    if (current === null) return;
    const { start, step } = chart.data;
    const low = start + Math.floor((current - start) / step) * step;
    pin.querySelector(".at").textContent = `${words.format(new Date(low * 1000))}–${clock.format(new Date((low + step) * 1000))}`;
    pin.querySelector("code").textContent = `${page.command} --since ${stamp(low)} --until ${stamp(low + step)}`;
    pin.hidden = false;
  };
  pin.querySelector(".close").addEventListener("click", () => { pin.hidden = true; });

  for (const chart of charts) {
    const { start, step, count } = chart.data;
    const at = (event) => {
      const rect = chart.panels[0].querySelector(".plot").getBoundingClientRect();
      const share = Math.min(0.999999, Math.max(0, (event.clientX - rect.left) / rect.width));
      return start + share * step * count;
    };
    for (const panel of chart.panels) {
      const plot = panel.querySelector(".plot");
      plot.addEventListener("pointermove", (event) => paint(at(event)));
      plot.addEventListener("pointerleave", () => { if (document.activeElement !== chart.box) paint(null); });
      plot.addEventListener("click", (event) => {
        if (event.target.closest("a")) return;
        paint(at(event));
        hold(chart);
      });
    }
    chart.box.addEventListener("keydown", (event) => {
      if (event.target !== chart.box) return;
      const last = start + (count - 0.5) * step;
      const jump = event.shiftKey ? 10 : 1;
      const from = current === null ? start + (event.key === "ArrowLeft" ? count : -0.5) * step : current;
      const moves = { ArrowRight: from + jump * step, ArrowLeft: from - jump * step, Home: start + 0.5 * step, End: last };
      if (event.key in moves) {
        paint(Math.min(last, Math.max(start + 0.5 * step, moves[event.key])));
        event.preventDefault();
      } else if (event.key === "Escape") {
        paint(null);
        pin.hidden = true;
      } else if (event.key === "Enter") hold(chart);
    });
    chart.box.addEventListener("blur", () => paint(null));
  }

  // --- commands
  const copy = async (text, target) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no clipboard for files in some browsers: the old way
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const before = target.textContent;
    target.textContent = "Copied";
    setTimeout(() => { target.textContent = before; }, 1500);
  };
  for (const target of document.querySelectorAll(".copy")) {
    target.hidden = false;
    target.addEventListener("click", () => copy(target.parentElement.querySelector("code").textContent, target));
  }

  // --- navigation
  const nav = document.querySelector("nav");
  const links = [...nav.querySelectorAll("a")];
  const sections = links.map((link) => document.querySelector(link.hash));
  const follow = () => {
    nav.classList.toggle("stuck", nav.getBoundingClientRect().top <= 0 && scrollY > 0);
    let here = -1;
    sections.forEach((section, place) => { if (section.getBoundingClientRect().top < 140) here = place; });
    links.forEach((link, place) => {
      if (place === here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    });
  };
  addEventListener("scroll", follow, { passive: true });
  follow();
})();
