// Everything around the chart. Text from the worker only ever becomes text, never markup.

import { decimalsOf, isLong } from "./chart.js";

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

const clock = (iso) => iso.slice(11, 19);
const volumeText = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });
const startOf = (bar, timeframe) => bar.bucket_start.slice(0, isLong(timeframe) ? 10 : 16).replace("T", " ");
export const hashOf = (series, timeframe) =>
  `#${encodeURIComponent(series.broker)}/${encodeURIComponent(series.symbol)}${timeframe === "1m" ? "" : `/${timeframe}`}`;

export function showStatus(status) {
  if (!status) {
    at("status").replaceChildren(element("span", { className: "state lost" }, "worker not reachable, trying again"));
    return;
  }
  const item = (name, value) => element("span", {}, `${name} `, element("b", {}, value));
  const rejected = Object.values(status.rejected).reduce((sum, count) => sum + count, 0);
  at("status").replaceChildren(
    element(
      "span",
      { className: status.ready ? "state" : "state waiting", title: status.reasons.join("\n") },
      status.ready ? "ready" : `not ready: ${status.reasons[0] ?? "starting"}`,
    ),
    item("lag", `${status.lag.toLocaleString("en")} ticks`),
    item("heartbeats", status.leader ? "sent by this worker" : "sent by another worker"),
    ...(status.last_heartbeat ? [item("last", clock(status.last_heartbeat))] : []),
    ...(rejected ? [item("rejected", rejected.toLocaleString("en"))] : []),
  );
  at("unscheduled").hidden = !status.unscheduled.length;
  at("unscheduled").textContent = `No schedule, so ticks are rejected: ${namesOf(status.unscheduled)}. Load one: barstream schedule load`;
}

/** The partitions no worker answers for, of which the list and the bars may be behind. */
export function showMissing(missing) {
  at("missing").hidden = !missing.length;
  at("missing").textContent = missing.length
    ? `No answer for partition ${missing.map((each) => each.partition).join(", ")}: ${missing[0].why}`
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

export function showSeries(list, chosen, filter, timeframe) {
  const wanted = filter.trim().toUpperCase();
  const rows = list.filter((series) => `${series.broker} ${series.symbol}`.includes(wanted));
  at("series").replaceChildren(...rows.map((series) => {
    const current = chosen && series.broker === chosen.broker && series.symbol === chosen.symbol;
    const link = element(
      "a", { href: hashOf(series, timeframe), title: series.here ? "" : `on ${series.url ?? "another worker"}` },
      element("span", { className: "symbol" }, series.symbol),
      element("span", { className: "close" }, series.previous_close === null ? "" : String(series.previous_close)),
      element("small", {}, series.broker),
      element("small", {}, series.kind),
    );
    if (current) link.setAttribute("aria-current", "true");
    return element("li", {}, link);
  }));
}

const KINDS = {
  live: "A live feed: every minute is closed by the clock, tick or no tick.",
  historical: "Loaded from the past: minutes are closed as its own ticks pass, not by today's clock.",
  asleep: "No tick for several trading dates: nothing is filled until its next tick.",
  unscheduled: "No longer in the market schedule: its ticks are rejected until sessions are loaded.",
};

/** The title, the price and the table of the bars of the chosen series (ascending). */
export function showBars(series, bars, timeframe) {
  const decimals = decimalsOf(bars);
  at("name").replaceChildren(series.symbol, element("small", {}, series.broker));
  at("kind").textContent = series.kind ?? "";
  at("kind").className = `badge ${series.kind ?? ""}`;
  at("kind").title = KINDS[series.kind] ?? "";
  document.title = `${series.symbol} · barstream`;
  const last = bars.at(-1);
  at("price").textContent = last ? last.close.toFixed(decimals) : "";
  const first = bars.at(-61) ?? bars[0];
  const change = last && first ? (last.close / first.open - 1) * 100 : NaN;
  const span = last && first ? Date.parse(last.bucket_start) - Date.parse(first.bucket_start) : 0;
  const since = first && span < 86_400_000 ? first.bucket_start.slice(11, 16) : first?.bucket_start.slice(0, 10);
  at("change").textContent = last ? `${change >= 0 ? "+" : ""}${change.toFixed(2)}% since ${since}` : "";
  at("change").className = change >= 0 ? "rise" : "fall";
  at("rows").replaceChildren(...bars.slice(-12).reverse().map((bar) => row(bar, decimals, timeframe)));
  at("zone").textContent = `${timeframe} bars, ${isLong(timeframe) ? "by trading date" : "times in UTC"}`;
}

function row(bar, decimals, timeframe) {
  const kind = bar.status === "live" ? "live" : bar.synthetic ? "synthetic" : "";
  const words = bar.status === "live" ? "live" : bar.synthetic ? "final, no tick" : "final";
  const revised = bar.revision ? `, revision ${bar.revision}` : "";
  const cells = [
    startOf(bar, timeframe),
    ...[bar.open, bar.high, bar.low, bar.close].map((price) => price.toFixed(decimals)),
    volumeText(bar.volume), String(bar.tick_count), words + revised,
  ];
  return element("tr", { className: kind }, ...cells.map((text) => element("td", {}, text)));
}

/** The values of `bar`, the one under the cursor or the latest. */
export function showReadout(bar, decimals, timeframe) {
  if (!bar) return at("readout").replaceChildren();
  const tone = bar.close >= bar.open ? "rise" : "fall";
  const pair = (name, value, className = "") =>
    element("div", {}, element("dt", {}, name), element("dd", { className }, value));
  at("readout").replaceChildren(
    pair("", startOf(bar, timeframe)),
    pair("O", bar.open.toFixed(decimals), tone), pair("H", bar.high.toFixed(decimals), tone),
    pair("L", bar.low.toFixed(decimals), tone), pair("C", bar.close.toFixed(decimals), tone),
    pair("Vol", volumeText(bar.volume)), pair("Ticks", String(bar.tick_count)),
    pair("", bar.synthetic ? "no tick" : bar.status),
    ...(bar.revision ? [pair("revision", String(bar.revision))] : []),
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
