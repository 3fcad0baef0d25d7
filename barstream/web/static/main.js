// The page: which series is chosen, and when the worker is asked what.

import { ApiError, barsSince, dropToken, get, keepToken, latestBars } from "./api.js";
import { BarChart, decimalsOf } from "./chart.js";
import * as empty from "./empty.js";
import {
  hashOf, hideAsk, showAsk, showBars, showEmpty, showMissing, showReadout, showSeries, showStale, showStatus, showTimeframes, showView,
} from "./panels.js";

const BARS_MS = 1000, STATUS_MS = 2000, SERIES_MS = 5000, PAGE = 500;
// A final may still be revised for a while: so many are asked for again each time.
const OVERLAP = 5;

const page = {
  status: null, refused: false, list: null, chosen: null, timeframe: "1m", asking: null, loaded: false, older: false, busy: false,
};
const filter = document.getElementById("filter");
let chart = null;

function fromHash() {
  const [broker, symbol, timeframe] = location.hash.slice(1).split("/").map(decodeURIComponent);
  return broker && symbol ? { broker, symbol, timeframe: timeframe || "1m" } : null;
}

const infoOf = (series) =>
  (page.list ?? []).find((row) => row.broker === series.broker && row.symbol === series.symbol) ?? series;

function choose() {
  page.asking?.abort();
  page.asking = new AbortController();
  const list = page.list ?? [];
  const first = list.find((row) => row.here && row.kind === "live") ?? list.find((row) => row.here) ?? list[0];
  const hash = fromHash();
  page.chosen = hash ?? (first ? { broker: first.broker, symbol: first.symbol } : null);
  page.timeframe = hash?.timeframe ?? page.timeframe;
  page.loaded = false;
  showStale(null);
  showTimeframes(page.status?.timeframes ?? [], page.timeframe, toTimeframe);
  showSeries(list, page.chosen, filter.value, page.timeframe);
  revealChosen();
  return refreshBars();
}

function toTimeframe(timeframe) {
  if (page.chosen) location.hash = hashOf(page.chosen, timeframe);
}

/** On a narrow screen the list is a strip: keep the chosen series in sight. */
function revealChosen() {
  document.querySelector("#series a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function explain() {
  if (page.refused) return null;
  if (!page.status) return showEmpty(empty.unreachable());
  if (!page.status.ready) return showEmpty(empty.recovering(page.status));
  if (!page.chosen && page.list) return showEmpty(empty.noSeries(page.status));
  return null;
}

function redraw() {
  const bars = [...chart.bars.values()];
  showBars(infoOf(page.chosen), bars, page.timeframe);
  showReadout(bars.at(-1), decimalsOf(bars), page.timeframe);
}

async function refreshBars() {
  if (!page.status?.ready || !page.chosen) return explain();
  const { chosen, timeframe, asking: { signal } } = page;
  try {
    if (!page.loaded) {
      const { bars, older } = await latestBars(chosen, timeframe, PAGE, null, signal);
      if (!bars.length) return showEmpty(empty.noBars(chosen));
      if (signal.aborted) return;
      showView();
      chart ??= new BarChart(document.getElementById("chart"), {
        onHover: (bar) => showReadout(bar ?? chart.last, decimalsOf([...chart.bars.values()]), page.timeframe),
        onOlder: loadOlder,
      });
      chart.replace(bars, true, timeframe);
      Object.assign(page, { loaded: true, older });
    } else {
      const finals = [...chart.bars.values()].filter((bar) => bar.status === "final");
      const from = (finals.at(-OVERLAP) ?? chart.first).bucket_start;
      const bars = await barsSince(chosen, timeframe, from, signal);
      if (signal.aborted) return;
      chart.merge(bars);
      showView();
    }
    showStale(null);
    redraw();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof ApiError && error.status === 503 && page.loaded) {
      // the last bars stay in view
      showStale(error.message);
    } else if (error instanceof ApiError) {
      page.loaded = false;
      showEmpty(empty.refused(error));
    } else if (!(error instanceof TypeError)) {
      throw error;
    }
    // not reachable: the status line says so, and the last bars stay in view
  }
}

async function loadOlder() {
  if (!page.older || page.busy || !page.loaded) return;
  page.busy = true;
  try {
    const { signal } = page.asking;
    const { bars, older } = await latestBars(page.chosen, page.timeframe, PAGE, chart.first.bucket_start, signal);
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
  if (page.refused) return;
  const before = page.status?.ready;
  try {
    page.status = await get("/status");
    hideAsk();
  } catch (error) {
    page.status = null;
    page.refused = error instanceof ApiError && error.status === 401;
    if (page.refused) showAsk(dropToken());
  }
  showStatus(page.status);
  if (page.status) showTimeframes(page.status.timeframes, page.timeframe, toTimeframe);
  if (!page.loaded) explain();
  if (page.status?.ready && !before) await refreshSeries();
}

async function refreshSeries() {
  if (!page.status?.ready) return;
  try {
    const { series, missing } = await get("/series?partial=allow");
    page.list = series;
    showMissing(missing);
  } catch (error) {
    if (error instanceof ApiError || error instanceof TypeError) return;
    throw error;
  }
  showSeries(page.list ?? [], page.chosen, filter.value, page.timeframe);
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
document.getElementById("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  keepToken(field.value.trim());
  field.value = "";
  page.refused = false;
  await refreshStatus();
  if (!page.refused) await choose();
});
filter.addEventListener("input", () => showSeries(page.list ?? [], page.chosen, filter.value, page.timeframe));
filter.addEventListener("keydown", (event) => {
  const first = document.querySelector("#series a");
  if (event.key === "Enter" && first) location.hash = first.hash;
});

await repeat(refreshStatus, STATUS_MS);
// the first list has chosen already, unless there is none yet
if (!page.loaded) await choose();
repeat(refreshBars, BARS_MS);
repeat(refreshSeries, SERIES_MS);
