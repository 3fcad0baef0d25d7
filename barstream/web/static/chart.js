// The candles: bars go in, the chart library draws them.

import {
  CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, createChart, createSeriesMarkers,
} from "./vendor/lightweight-charts.mjs";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Days and longer have a date and no time of day. */
export const isLong = (timeframe) => !/[0-9][mh]$/.test(timeframe);
export const seconds = (bar) => Date.parse(bar.bucket_start) / 1000;

export class BarChart {
  /** `onHover(bar or null)`; `onOlder()` when the left end of what is loaded comes into view. */
  constructor(element, { onHover, onOlder }) {
    this.bars = new Map();
    this.chart = createChart(element, { autoSize: true });
    this.candles = this.chart.addSeries(CandlestickSeries, {});
    this.volumes = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    });
    this.marks = createSeriesMarkers(this.candles, []);
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.24 } });
    this.volumes.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.subscribeCrosshairMove((move) => onHover(this.bars.get(move.time) ?? null));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < 20 && this.bars.size) onOlder();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    this.paint();
  }

  /** Show `bars` (ascending) in place of everything; the view keeps its place unless `recent`. */
  replace(bars, recent, timeframe = this.timeframe) {
    this.timeframe = timeframe;
    this.chart.applyOptions({ timeScale: { timeVisible: !isLong(timeframe) } });
    this.bars = new Map(bars.map((bar) => [seconds(bar), bar]));
    const decimals = decimalsOf(bars);
    this.candles.applyOptions({
      priceFormat: { type: "price", precision: decimals, minMove: 10 ** -decimals },
    });
    this.candles.setData(bars.map((bar) => this.candle(bar)));
    this.volumes.setData(bars.map((bar) => this.volume(bar)));
    this.mark();
    if (recent && bars.length) {
      const wanted = Math.max(30, Math.round(this.chart.timeScale().width() / 8));
      this.chart.timeScale().setVisibleLogicalRange({ from: bars.length - wanted, to: bars.length + 3 });
    }
  }

  /** Show older `bars` (ascending) before those there are; what is in view stays in view. */
  prepend(bars) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const before = this.bars.size;
    this.replace([...bars, ...this.bars.values()], false);
    const moved = this.bars.size - before;
    if (range) this.chart.timeScale().setVisibleLogicalRange({ from: range.from + moved, to: range.to + moved });
  }

  /** Add or change bars; those that are as shown are left alone. */
  merge(bars) {
    let last = this.last ? seconds(this.last) : -Infinity;
    for (const bar of bars) {
      const time = seconds(bar);
      if (JSON.stringify(this.bars.get(time)) === JSON.stringify(bar)) continue;
      const between = time < last && !this.bars.has(time);
      this.bars.set(time, bar);
      if (between) {
        const sorted = [...this.bars.values()].sort((a, b) => seconds(a) - seconds(b));
        this.replace(sorted, false);
        continue;
      }
      this.candles.update(this.candle(bar), time < last);
      this.volumes.update(this.volume(bar), time < last);
      last = Math.max(last, time);
    }
    this.mark();
  }

  /** A dot above each bar that late ticks have changed. */
  mark() {
    const revised = [...this.bars.values()].filter((bar) => bar.revision);
    this.marks.setMarkers(revised.map((bar) => (
      { time: seconds(bar), position: "aboveBar", shape: "circle", size: 0.6, color: css("--accent") }
    )));
  }

  get last() { return [...this.bars.values()].at(-1); }
  get first() { return this.bars.values().next().value; }

  candle(bar) {
    const point = { time: seconds(bar), open: bar.open, high: bar.high, low: bar.low, close: bar.close };
    const flat = css("--flat");
    if (bar.synthetic) return { ...point, color: "transparent", borderColor: flat, wickColor: flat };
    const colour = css(bar.close >= bar.open ? "--up" : "--down");
    const body = bar.status === "live" ? `${colour}40` : colour;
    return { ...point, color: body, borderColor: colour, wickColor: colour };
  }

  volume(bar) {
    return { time: seconds(bar), value: bar.volume, color: `${css(bar.close >= bar.open ? "--up" : "--down")}59` };
  }

  paint() {
    const line = css("--line");
    this.chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: css("--panel") }, textColor: css("--muted"),
        fontFamily: getComputedStyle(document.body).fontFamily, attributionLogo: true,
      },
      grid: { vertLines: { color: `${line}80` }, horzLines: { color: `${line}80` } },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line, secondsVisible: false, rightOffset: 3 },
    });
    if (this.bars.size) this.replace([...this.bars.values()], false);
  }
}

/** How many decimals the prices of the latest bars need: 2 to 8. */
export function decimalsOf(bars) {
  let decimals = 2;
  for (const bar of bars.slice(-200)) {
    for (const price of [bar.open, bar.high, bar.low, bar.close]) {
      const text = String(Number(price.toFixed(8)));
      decimals = Math.max(decimals, text.includes("e") ? 8 : (text.split(".")[1] ?? "").length);
    }
  }
  return decimals;
}
