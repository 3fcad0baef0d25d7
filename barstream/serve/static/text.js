// Numbers, dates and bars in words: every part of the page says them the same way.

const MOST_DECIMALS = 12;

/** "1 tick", "2 ticks", "1,234 ticks". */
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** As the worker counts them: to ten digits, which leaves out what adding doubles has added. */
function decimalsOfPrice(price) {
  const [digits, exponent] = price.toExponential(9).split("e");
  const fraction = digits.split(".")[1].replace(/0+$/, "").length;
  return Math.min(Math.max(0, fraction - Number(exponent)), MOST_DECIMALS);
}

/** The decimals of a series, 0 to 12: as the worker says, else as the bars at hand need. */
export function decimalsOf(series, bars) {
  if (typeof series.price_decimals === "number") return series.price_decimals;
  const prices = bars.slice(-200).flatMap((bar) => [bar.open, bar.high, bar.low, bar.close]);
  return Math.max(0, ...prices.map(decimalsOfPrice));
}

export const volumeText = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "27 Nov". */
export const dayText = (date) => `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;

/** "Fri 27 Nov", with the year when it is not this one. */
function dateText(iso) {
  const date = new Date(`${iso}T00:00:00Z`), year = date.getUTCFullYear();
  const text = `${DAYS[date.getUTCDay()]} ${dayText(date)}`;
  return year === new Date().getUTCFullYear() ? text : `${text} ${year}`;
}

/** How the newest price compares: { percent, since, tone }; null when there is nothing to compare. */
export function changeOf({ last_price: price, reference }) {
  if (!reference || !reference.price || typeof price !== "number") return null;
  const change = ((price - reference.price) / Math.abs(reference.price)) * 100;
  const size = Math.abs(change).toFixed(2), moved = Number(size) !== 0;
  return {
    percent: `${moved ? (change > 0 ? "+" : "−") : ""}${size}%`,
    since: `since the ${reference.kind} of ${dateText(reference.trading_date)}`,
    tone: moved ? (change > 0 ? "rise" : "fall") : "",
  };
}

export const isFlat = (bar) => bar.high === bar.low;

/** What sets a bar apart: "open", "final, no tick", "final, one price, revision 2". */
export function statusOf(bar) {
  return [
    // it is open whether or not its feed is live: the last bar of a file from the past is not
    bar.status === "live" ? "open" : bar.status,
    ...(bar.synthetic ? ["no tick"] : isFlat(bar) && bar.tick_count > 1 ? ["one price"] : []),
    ...(bar.revision ? [`revision ${bar.revision}`] : []),
  ].join(", ");
}

const REJECTED = {
  late: "late, after the bar was final",
  off_session: "outside the sessions of the market",
  unscheduled: "without a market schedule",
  future: "with a time too far ahead of the clock",
  invalid: "with an impossible price, size, name or time",
  too_large: "in a batch too large to unpack",
  undecodable: "that could not be decoded",
  partition: "in another partition than the series",
  too_many_series: "of more series than bars.max_series allows",
};

/** Why ticks were rejected, the most frequent reason first; one sentence each. */
export function rejectedWords(rejected) {
  return Object.entries(rejected)
    .filter(([, number]) => number)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, number]) => `${count(number, "tick")} ${REJECTED[reason] ?? "rejected"} (${reason})`);
}
