// The page: which series is chosen, and when the worker is asked what.

import { ApiError, allSeries, barsSince, dropToken, get, keepToken, latestBars } from "./api.js";
import { BarChart } from "./chart.js";
import * as empty from "./empty.js";
import {
  hashOf, hideAsk, showAsk, showBars, showEmpty, showMissing, showReadout, showSeries, showStale, showStatus, showTimeframes,
  showTitle, showView,
} from "./panels.js";
import { decimalsOf } from "./text.js";

const BARS_MS = 1000, STATUS_MS = 2000, SERIES_MS = 2000, PAGE = 500;
const LOOKED_AT = "barstream-looked-at";
// A final may still be revised for a while: so many are asked for again each time.
const OVERLAP = 5;

const page = {
  status: null, refused: false, list: null, chosen: null, timeframe: "1m", asking: null, loaded: false, older: false, busy: false,
};
const filter = document.getElementById("filter");
let chart = null;

/** A part of the address; one that was typed by hand may have a % that begins no escape. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function fromHash() {
  const [broker, symbol, timeframe] = location.hash.slice(1).split("/").map(decoded);
  return broker && symbol ? { broker, symbol, timeframe: timeframe || "1m" } : null;
}

const isSame = (series) => (row) => row.broker === series.broker && row.symbol === series.symbol;
const infoOf = (series) => (page.list ?? []).find(isSame(series)) ?? series;

/** What was looked at last in this browser, as long as it is still there. */
function lookedAt(list) {
  try {
    const last = JSON.parse(localStorage.getItem(LOOKED_AT));
    if (!last || !list.some(isSame(last))) return null;
    return { ...last, timeframe: page.status?.timeframes.includes(last.timeframe) ? last.timeframe : "1m" };
  } catch {
    return null; // storage may be forbidden, and what stands in it is not ours to trust
  }
}

function remember(series, timeframe) {
  const { broker, symbol } = series;
  try {
    localStorage.setItem(LOOKED_AT, JSON.stringify({ broker, symbol, timeframe }));
  } catch { /* storage may be forbidden or full: then the newest tick decides */ }
  const hash = fromHash();
  // a click while the bars came has set another address already, and is heard of next
  if (hash && !(isSame(series)(hash) && hash.timeframe === timeframe)) return;
  history.replaceState(null, "", hashOf(series, timeframe));
}

/** Of the series that have ticks here, the one that had the latest. */
const newestTick = (list) =>
  list.reduce((newest, row) => (!newest || (row.last_tick ?? "") > (newest.last_tick ?? "") ? row : newest), null);

function choose() {
  page.asking?.abort();
  page.asking = new AbortController();
  const list = page.list ?? [];
  const wanted = fromHash() ?? lookedAt(list) ?? newestTick(list);
  page.chosen = wanted && { broker: wanted.broker, symbol: wanted.symbol };
  page.timeframe = wanted?.timeframe ?? page.timeframe;
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

/** The price of the newest bar is the last price, in the list too. */
function redraw() {
  const series = infoOf(page.chosen), bars = [...chart.bars.values()];
  series.last_price = chart.last.close;
  page.decimals = decimalsOf(series, bars);
  chart.setDecimals(page.decimals);
  showBars(series, bars, page.timeframe, page.decimals, chart.hasVolume);
  readOut();
  showPrices();
}

const readOut = () => showReadout(chart.looked, page.decimals, page.timeframe, chart.hasVolume);

function showPrices() {
  if (page.chosen && page.loaded) showTitle(infoOf(page.chosen), page.decimals);
  showSeries(page.list ?? [], page.chosen, filter.value, page.timeframe);
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
        onHover: () => page.loaded && readOut(),
        onOlder: loadOlder,
      });
      chart.replace(bars, true, timeframe);
      Object.assign(page, { loaded: true, older });
      remember(chosen, timeframe);
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
    const { series, missing } = await allSeries();
    page.list = series;
    showMissing(missing);
  } catch (error) {
    if (error instanceof ApiError || error instanceof TypeError) return;
    throw error;
  }
  showPrices();
  if (!page.chosen || (!page.loaded && !fromHash())) await choose();
}

/** Do it now, and again `ms()` after it is done; not while nobody looks. */
function repeat(work, ms) {
  const again = async () => {
    if (!document.hidden) await work().catch((error) => console.error(error));
    setTimeout(again, ms());
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
filter.addEventListener("input", showPrices);
filter.addEventListener("keydown", (event) => {
  const first = document.querySelector("#series a");
  if (event.key === "Enter" && first) location.hash = first.hash;
});

await repeat(refreshStatus, () => STATUS_MS);
// the first list has chosen already, unless there is none yet
if (!page.loaded) await choose();
repeat(refreshBars, () => BARS_MS);
// a millisecond a series: ten thousand are asked for every ten seconds
repeat(refreshSeries, () => Math.max(SERIES_MS, page.list?.length ?? 0));
