// The page: which series is chosen, and when the worker is asked what.

import { ApiError, barsSince, get, latestBars } from "./api.js";
import { BarChart, decimalsOf } from "./chart.js";
import * as empty from "./empty.js";
import { showBars, showEmpty, showReadout, showSeries, showStatus, showView } from "./panels.js";

const BARS_MS = 1000, STATUS_MS = 2000, SERIES_MS = 5000, PAGE = 500;
// A final may still be revised for a while: this much is asked for again each time.
const OVERLAP_MS = 5 * 60_000;

const page = { status: null, list: null, chosen: null, asking: null, loaded: false, older: false, busy: false };
const filter = document.getElementById("filter");
let chart = null;

function fromHash() {
  const [broker, symbol] = location.hash.slice(1).split("/").map(decodeURIComponent);
  return broker && symbol ? { broker, symbol } : null;
}

const infoOf = (series) =>
  (page.list ?? []).find((row) => row.broker === series.broker && row.symbol === series.symbol) ?? series;

function choose() {
  page.asking?.abort();
  page.asking = new AbortController();
  const list = page.list ?? [];
  const first = list.find((row) => row.here && row.kind === "live") ?? list.find((row) => row.here) ?? list[0];
  page.chosen = fromHash() ?? (first ? { broker: first.broker, symbol: first.symbol } : null);
  page.loaded = false;
  showSeries(page.list ?? [], page.chosen, filter.value);
  revealChosen();
  return refreshBars();
}

/** On a narrow screen the list is a strip: keep the chosen series in sight. */
function revealChosen() {
  document.querySelector("#series a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function explain() {
  if (!page.status) return showEmpty(empty.unreachable());
  if (!page.status.ready) return showEmpty(empty.recovering(page.status));
  if (!page.chosen && page.list) return showEmpty(empty.noSeries(page.status));
  return null;
}

function redraw() {
  const bars = [...chart.bars.values()];
  showBars(infoOf(page.chosen), bars);
  showReadout(bars.at(-1), decimalsOf(bars));
}

async function refreshBars() {
  if (!page.status?.ready || !page.chosen) return explain();
  const { chosen, asking: { signal } } = page;
  try {
    if (!page.loaded) {
      const { bars, older } = await latestBars(chosen, PAGE, null, signal);
      if (!bars.length) return showEmpty(empty.noBars(chosen));
      showView();
      chart ??= new BarChart(document.getElementById("chart"), {
        onHover: (bar) => showReadout(bar ?? chart.last, decimalsOf([...chart.bars.values()])),
        onOlder: loadOlder,
      });
      chart.replace(bars, true);
      Object.assign(page, { loaded: true, older });
    } else {
      const final = [...chart.bars.values()].findLast((bar) => bar.status === "final") ?? chart.first;
      const from = new Date(Date.parse(final.bucket_start) - OVERLAP_MS).toISOString();
      const first = chart.first.bucket_start;
      chart.merge((await barsSince(chosen, from, signal)).filter((bar) => bar.bucket_start >= first));
      showView();
    }
    redraw();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof ApiError && error.status !== 503) {
      page.loaded = false;
      showEmpty(empty.refused(error, chosen));
    } else if (!(error instanceof ApiError) && !(error instanceof TypeError)) {
      throw error;
    }
    // not reachable, or recovering: the status line says so, and the last bars stay in view
  }
}

async function loadOlder() {
  if (!page.older || page.busy || !page.loaded) return;
  page.busy = true;
  try {
    const { signal } = page.asking;
    const { bars, older } = await latestBars(page.chosen, PAGE, chart.first.bucket_start, signal);
    if (signal.aborted) return;
    page.older = older;
    if (bars.length) chart.prepend(bars);
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof TypeError || error.name === "AbortError")) throw error;
  } finally {
    page.busy = false;
  }
}

async function refreshStatus() {
  const before = page.status?.ready;
  try {
    page.status = await get("/status");
  } catch {
    page.status = null;
  }
  showStatus(page.status);
  if (!page.loaded) explain();
  if (page.status?.ready && !before) await refreshSeries();
}

async function refreshSeries() {
  if (!page.status?.ready) return;
  try {
    page.list = (await get("/series")).series;
  } catch (error) {
    if (error instanceof ApiError || error instanceof TypeError) return;
    throw error;
  }
  showSeries(page.list ?? [], page.chosen, filter.value);
  if (!page.chosen || (!page.loaded && !fromHash())) await choose();
}

/** Do it now, and again `ms` after it is done; not while nobody looks. */
function repeat(work, ms) {
  const again = async () => {
    if (!document.hidden) await work().catch((error) => console.error(error));
    setTimeout(again, ms);
  };
  return again();
}

addEventListener("hashchange", choose);
filter.addEventListener("input", () => showSeries(page.list ?? [], page.chosen, filter.value));
filter.addEventListener("keydown", (event) => {
  const first = document.querySelector("#series a");
  if (event.key === "Enter" && first) location.hash = first.hash;
});

await repeat(refreshStatus, STATUS_MS);
await choose();
repeat(refreshBars, BARS_MS);
repeat(refreshSeries, SERIES_MS);
