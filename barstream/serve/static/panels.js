// Everything around the chart. Text from the worker only ever becomes text, never markup.

import { isLong } from "./chart.js";
import { changeOf, count, rejectedWords, statusOf, volumeText } from "./text.js";

const at = (id) => document.getElementById(id);

export function element(tag, attributes, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

/** The first few names, and how many more. */
export function namesOf(list, few = 5) {
  const names = list.slice(0, few).map((series) => `${series.broker} ${series.symbol}`).join(", ");
  return list.length > few ? `${names} and ${list.length - few} more` : names;
}

const startOf = (bar, timeframe) => bar.bucket_start.slice(0, isLong(timeframe) ? 10 : 16).replace("T", " ");
export const hashOf = (series, timeframe) =>
  `#${encodeURIComponent(series.broker)}/${encodeURIComponent(series.symbol)}${timeframe === "1m" ? "" : `/${timeframe}`}`;

/** Only what has changed is written: a reader's place, focus and voice stay where they are. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function showStatus(status) {
  const state = at("state");
  say(state, !status ? "worker not reachable, trying again"
    : status.ready ? "ready" : `not ready: ${status.reasons[0] ?? "starting"}`);
  state.className = `state ${!status ? "lost" : status.ready ? "" : "waiting"}`;
  state.title = status ? status.reasons.join("\n") : "";
  for (const known of document.querySelectorAll("#status .known")) known.hidden = !status;
  const rejected = rejectedWords(status?.rejected ?? {});
  at("rejected").hidden = !rejected.length;
  if (!status) return;
  say(at("lag"), count(status.lag, "tick"));
  const last = status.last_heartbeat ? `, last ${status.last_heartbeat.slice(11, 19)} UTC` : "";
  say(at("heartbeats"), (status.leader ? "sent by this worker" : "sent by another worker") + last);
  const total = Object.values(status.rejected).reduce((sum, number) => sum + number, 0);
  say(document.querySelector("#rejected b"), count(total, "tick"));
  at("rejected").title = rejected.join("\n");
  const reasons = document.querySelector("#rejected ul");
  if (reasons.innerText !== rejected.join("\n")) {
    reasons.replaceChildren(...rejected.map((text) => element("li", {}, text)));
  }
  at("unscheduled").hidden = !status.unscheduled.length;
  at("unscheduled").textContent = `No schedule, so ticks are rejected: ${namesOf(status.unscheduled)}. Load one: barstream schedule load`;
  const differing = status.other_workers.filter((worker) => worker.settings === "other");
  at("disagreement").hidden = !differing.length;
  say(at("disagreement"), differing.length ? `Bars depend on who writes them: ${differencesOf(differing[0])}${
    differing.length > 1 ? `, and ${differing.length - 1} more differ` : ""}. Give all workers the same settings.` : "");
}

function differencesOf(worker, few = 3) {
  const each = worker.differences.map((one) => `${one.setting} ${one.there}, here ${one.here}`);
  return `${worker.url ?? worker.client} has ${each.slice(0, few).join("; ")}${each.length > few ? ` and ${each.length - few} more` : ""}`;
}

/** The partitions no worker answers for, of which the list and the bars may be behind. */
export function showMissing(missing) {
  at("missing").hidden = !missing.length;
  at("missing").textContent = missing.length
    ? `No answer for partition${missing.length > 1 ? "s" : ""} ${missing.map((each) => each.partition).join(", ")}: ${missing[0].why}`
    : "";
}

/** Why the bars in view are not the newest; null when they are. */
export function showStale(why) {
  at("stale").hidden = !why;
  at("stale").textContent = why ? `These bars are not up to date. ${why}` : "";
}

export function showTimeframes(timeframes, chosen, choose) {
  const shown = [...at("timeframes").children].map((button) => button.textContent);
  if (shown.join() !== timeframes.join()) {
    at("timeframes").replaceChildren(...timeframes.map((timeframe) => {
      const button = element("button", { type: "button" }, timeframe);
      button.addEventListener("click", () => choose(timeframe));
      return button;
    }));
  }
  for (const button of at("timeframes").children) {
    button.setAttribute("aria-pressed", String(button.textContent === chosen));
  }
}

const rows = new Map();

function seriesRow(series) {
  const name = `${series.broker}\0${series.symbol}`;
  let row = rows.get(name);
  if (!row) {
    const [symbol, price] = ["symbol", "price"].map((className) => element("span", { className }));
    const [about, change] = ["about", "change"].map((className) => element("small", { className }));
    const link = element("a", {}, symbol, price, about, change);
    row = { item: element("li", {}, link), link, symbol, price, about, change };
    rows.set(name, row);
  }
  return row;
}

/** The list; the broker stands where there are several, for symbols may repeat then. */
export function showSeries(list, chosen, filter, timeframe) {
  const wanted = filter.trim().toUpperCase();
  const found = list.filter((series) => `${series.broker} ${series.symbol}`.toUpperCase().includes(wanted));
  const several = list.some((series) => series.broker !== list[0].broker);
  const newest = list.reduce((time, { last_tick: tick }) => (tick > time ? tick : time), "");
  const items = found.map((series) => {
    const row = seriesRow(series), hash = hashOf(series, timeframe), change = changeOf(series);
    if (row.link.getAttribute("href") !== hash) row.link.href = hash;
    say(row.symbol, series.symbol);
    say(row.price, priceOf(series));
    const about = [several && series.broker, series.kind === "live" ? tickTime(series, newest) : series.kind];
    say(row.about, about.filter(Boolean).join(" · "));
    say(row.change, change?.percent ?? "");
    row.change.className = `change ${change?.tone ?? ""}`;
    row.link.title = [
      `${series.broker} ${series.symbol}, ${series.kind}`,
      ...(series.last_tick ? [`last tick ${series.last_tick.slice(0, 19).replace("T", " ")} UTC`] : []),
      ...(change ? [`${change.percent} ${change.since}`] : []),
      ...(series.here ? [] : [`on ${series.url ?? "another worker"}`]),
    ].join("\n");
    if (chosen && series.broker === chosen.broker && series.symbol === chosen.symbol) {
      row.link.setAttribute("aria-current", "true");
    } else row.link.removeAttribute("aria-current");
    return row.item;
  });
  const shown = at("series").children;
  if (shown.length !== items.length || items.some((item, place) => shown[place] !== item)) {
    at("series").replaceChildren(...items);
  }
  at("none").hidden = !wanted || items.length > 0;
}

const priceOf = ({ last_price: price, price_decimals: decimals }) =>
  typeof price === "number" ? price.toFixed(decimals ?? undefined) : "";

/** Of today the time of the last tick, else its date; today is where the list is. */
function tickTime({ last_tick: tick }, newest) {
  if (!tick) return "";
  return tick.slice(0, 10) === newest.slice(0, 10) ? tick.slice(11, 19) : tick.slice(0, 10);
}

const KINDS = {
  live: "A live feed: every minute is closed by the clock, tick or no tick.",
  historical: "Loaded from the past: minutes are closed as its own ticks pass, not by today's clock.",
  asleep: "No tick for several trading dates: nothing is filled until its next tick.",
  unscheduled: "No longer in the market schedule: its ticks are rejected until sessions are loaded.",
};

/** The title: the same price and change as in the list. */
export function showTitle(series, decimals) {
  at("name").replaceChildren(series.symbol, element("small", {}, series.broker));
  at("kind").textContent = series.kind ?? "";
  at("kind").className = `badge ${series.kind ?? ""}`;
  at("kind").title = KINDS[series.kind] ?? "";
  const price = typeof series.last_price === "number" ? series.last_price.toFixed(decimals) : "";
  const change = changeOf(series);
  say(at("price"), price);
  say(at("change"), change ? `${change.percent} ${change.since}` : "");
  at("change").className = change?.tone ?? "";
  document.title = [series.symbol, price, change?.percent, "· barstream"].filter(Boolean).join(" ");
}

/** The table of the latest `bars` (ascending). */
export function showBars(series, bars, timeframe, decimals, hasVolume) {
  say(at("start"), isLong(timeframe) ? "Trading date" : "Start (UTC)");
  at("bars").classList.toggle("no-volume", !hasVolume);
  at("rows").replaceChildren(...bars.slice(-12).reverse().map((bar) => barRow(bar, decimals, timeframe)));
  at("zone").textContent = `${timeframe} bars, ${isLong(timeframe) ? "by trading date" : "times in UTC"}`;
  at("chart").setAttribute("aria-label", `${timeframe} candles of ${series.broker} ${series.symbol}`);
}

function barRow(bar, decimals, timeframe) {
  const cell = (text, className = "") => element("td", { className }, text);
  return element(
    "tr", { className: bar.status === "live" ? "live" : bar.synthetic ? "synthetic" : "" },
    cell(startOf(bar, timeframe)),
    ...[bar.open, bar.high, bar.low, bar.close].map((price) => cell(price.toFixed(decimals))),
    cell(volumeText(bar.volume), "volume"),
    cell(bar.tick_count.toLocaleString("en")), cell(statusOf(bar), "status"),
  );
}

/** The values of `bar`, the one under the cursor or the latest. */
export function showReadout(bar, decimals, timeframe, hasVolume) {
  if (!bar) return at("readout").replaceChildren();
  const tone = bar.close >= bar.open ? "rise" : "fall";
  const pair = (name, value, className = "") =>
    element("div", {}, element("dt", {}, name), element("dd", { className }, value));
  at("readout").replaceChildren(
    pair("", startOf(bar, timeframe)),
    pair("O", bar.open.toFixed(decimals), tone), pair("H", bar.high.toFixed(decimals), tone),
    pair("L", bar.low.toFixed(decimals), tone), pair("C", bar.close.toFixed(decimals), tone),
    ...(hasVolume ? [pair("Vol", volumeText(bar.volume))] : []),
    ...(bar.vwap == null ? [] : [pair("VWAP", bar.vwap.toFixed(decimals))]),
    pair("", count(bar.tick_count, "tick")), pair("", statusOf(bar)),
  );
}

/** Say in the middle of the page why there is no chart, and what to run. */
export function showEmpty({ title, text, command, link }) {
  at("view").hidden = true;
  at("empty").hidden = false;
  at("empty").replaceChildren(
    element("h2", {}, title),
    element("p", {}, text),
    ...(command ? [element("pre", {}, command)] : []),
    ...(link ? [element("p", {}, element("a", { href: link.href }, link.text))] : []),
  );
}

/** Ask for the token; `again`: the one that was shown is not it. */
export function showAsk(again) {
  at("view").hidden = true;
  at("empty").hidden = true;
  at("ask").hidden = false;
  at("refused").hidden = !again;
  at("token").focus();
}

export function hideAsk() {
  at("ask").hidden = true;
}

export function showView() {
  at("empty").hidden = true;
  at("view").hidden = false;
}
