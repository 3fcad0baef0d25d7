// Asking the worker this page came from.

export class ApiError extends Error {
  constructor(status, body) {
    super(body.error ?? `the worker answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

// In this tab and until it is closed: never in the address, which ends up in logs and histories.
const TOKEN = "barstream-token";

export const keepToken = (token) => sessionStorage.setItem(TOKEN, token);

/** Throw the token away that was refused; whether there was one. */
export function dropToken() {
  const had = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  return had;
}

function headers() {
  const token = sessionStorage.getItem(TOKEN);
  return { Accept: "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
}

/** The JSON at `path`; throws ApiError when the worker refuses, TypeError when it is not there. */
export async function get(path, signal) {
  const response = await fetch(path, { signal, headers: headers() });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body);
  return body;
}

export const seriesPath = (series) =>
  `${encodeURIComponent(series.broker)}/${encodeURIComponent(series.symbol)}`;

/** Every known series, page by page, and the partitions that nobody answers for. */
export async function allSeries() {
  const series = [], missing = new Map();
  for (let next = ""; next !== undefined; ) {
    const body = await get(`/series?partial=allow${next && `&after=${next}`}`);
    series.push(...body.series);
    for (const each of body.missing) missing.set(each.partition, each);
    next = body.next_after;
  }
  return { series, missing: [...missing.values()] };
}

const barsPath = (series, timeframe) => `/bars/${seriesPath(series)}?timeframe=${timeframe}`;

/** The latest `limit` bars before `to` (exclusive, optional), ascending, and whether more are older. */
export async function latestBars(series, timeframe, limit, to, signal) {
  const until = to ? `&to=${to}` : "";
  const body = await get(`${barsPath(series, timeframe)}&order=desc&limit=${limit}${until}`, signal);
  return { bars: body.bars.reverse(), older: body.truncated };
}

/** Every bar from `from` on, ascending. */
export async function barsSince(series, timeframe, from, signal) {
  const bars = [];
  for (let next = from; next; ) {
    const body = await get(`${barsPath(series, timeframe)}&limit=2000&from=${next}`, signal);
    bars.push(...body.bars);
    next = body.next_from;
  }
  return bars;
}
