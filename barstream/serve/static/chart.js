// The chart: bars go in, the chart library lays them out, `candles.js` draws them.

import { ColorType, CrosshairMode, TickMarkType, createChart } from "./vendor/lightweight-charts.mjs";
import { candles, volumes } from "./candles.js";
import { dayText } from "./text.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Days and longer have a date and no time of day. */
export const isLong = (timeframe) => !/[0-9][mh]$/.test(timeframe);
export const seconds = (bar) => Date.parse(bar.bucket_start) / 1000;

/** So wide is a bar, in CSS pixels, when there are enough of them. */
const SPACING = 8, LEAST = 30;
/** In CSS pixels: the widest label of the time axis, and how far from the first bar the library moves labels. */
const LABEL = 50, MOVED = 80;

export class BarChart {
  /** `onHover()` when another bar is looked at; `onOlder()` when the left end of what is loaded comes into view. */
  constructor(element, { onHover, onOlder }) {
    this.bars = new Map();
    this.hasVolume = true;
    this.chart = createChart(element, { autoSize: true });
    this.candles = this.chart.addCustomSeries(candles(), {});
    this.volumes = this.chart.addCustomSeries(volumes(), {
      priceScaleId: "", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    });
    this.volumes.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.subscribeCrosshairMove(({ time }) => {
      if (time === this.under) return;
      this.under = time;
      onHover();
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      // the library keeps the labels it has asked for: those at the left edge have to be asked for again
      this.chart.applyOptions({ localization: {} });
      if (range && range.from < 20 && this.bars.size) onOlder();
    });
    // whoever has moved or zoomed keeps the view; until then it is ours to fit
    this.moved = false;
    for (const event of ["wheel", "pointerdown"]) {
      element.addEventListener(event, () => { this.moved = true; }, { capture: true, passive: true });
    }
    this.chart.timeScale().subscribeSizeChange(() => this.fit());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    this.paint();
  }

  /** Show `bars` (ascending) in place of everything; the view keeps its place unless `recent`. */
  replace(bars, recent, timeframe = this.timeframe) {
    this.timeframe = timeframe;
    this.chart.applyOptions({ timeScale: { timeVisible: !isLong(timeframe) } });
    this.bars = new Map(bars.map((bar) => [seconds(bar), bar]));
    const items = bars.map((bar) => this.item(bar));
    this.candles.setData(items);
    this.volumes.setData(items);
    this.showVolume();
    if (recent) this.moved = false;
    this.fit();
  }

  /** Few bars fill the width; of many the recent ones are shown. */
  fit() {
    if (this.moved || !this.bars.size) return;
    const scale = this.chart.timeScale(), size = this.bars.size;
    const wanted = Math.max(LEAST, Math.round(scale.width() / SPACING));
    // the labels of the first bars are moved to where they have room; wide bars have it, and may stand in the middle
    scale.applyOptions({ fixLeftEdge: scale.width() / size < LABEL });
    scale.setVisibleLogicalRange(
      size < wanted ? { from: -0.5, to: size - 0.5 } : { from: size - wanted, to: size + 3 },
    );
  }

  /** The decimals of axis, crosshair and price line. */
  setDecimals(decimals) {
    if (decimals === this.decimals) return;
    this.decimals = decimals;
    this.candles.applyOptions({
      priceFormat: { type: "price", precision: decimals, minMove: 10 ** -decimals },
    });
  }

  /** A feed that has no sizes has no volume to show either. */
  showVolume() {
    const bars = [...this.bars.values()];
    this.hasVolume = bars.some((bar) => bar.volume) || !bars.some((bar) => bar.tick_count);
    this.volumes.applyOptions({ visible: this.hasVolume });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: this.hasVolume ? 0.24 : 0.08 } });
  }

  /** Show older `bars` (ascending) before those there are; what is in view stays in view. */
  prepend(bars) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const before = this.bars.size;
    this.replace([...bars, ...this.bars.values()], false);
    const added = this.bars.size - before;
    if (range) this.chart.timeScale().setVisibleLogicalRange({ from: range.from + added, to: range.to + added });
  }

  /** Add or change bars; those that are as shown are left alone. */
  merge(bars) {
    const size = this.bars.size;
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
      for (const series of [this.candles, this.volumes]) series.update(this.item(bar), time < last);
      last = Math.max(last, time);
    }
    if (this.bars.size !== size) this.fit();
    if (!this.hasVolume) this.showVolume();
  }

  /** The bar under the cursor, else the latest. */
  get looked() { return this.bars.get(this.under) ?? this.last; }
  get last() { return [...this.bars.values()].at(-1); }
  get first() { return this.bars.values().next().value; }

  item(bar) {
    const { flat, up, down, mark } = this.palette;
    return { time: seconds(bar), bar, mark, color: bar.synthetic ? flat : bar.close >= bar.open ? up : down };
  }

  /** A label of the time axis; null: as the library writes it. One that the left edge would cut is left out. */
  label(time, type) {
    const scale = this.chart.timeScale(), x = scale.timeToCoordinate(time), date = new Date(time * 1000);
    const text = type === TickMarkType.DayOfMonth ? dayText(date)
      : type === TickMarkType.Time ? date.toISOString().slice(11, 16) : null;
    if (x >= LABEL / 2) return text;
    const isMoved = scale.coordinateToLogical(x) * scale.options().barSpacing < MOVED;
    // a bold label is moved as far as a thin one would need: the spaces are for the rest
    return isMoved && text ? `  ${text}` : "";
  }

  paint() {
    const line = css("--line");
    this.palette = { flat: css("--flat"), up: css("--up"), down: css("--down"), mark: css("--accent") };
    this.chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: css("--panel") }, textColor: css("--muted"),
        fontFamily: getComputedStyle(document.body).fontFamily, attributionLogo: true,
      },
      grid: { vertLines: { color: `${line}80` }, horzLines: { color: `${line}80` } },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { borderColor: line, entireTextOnly: true },
      timeScale: {
        borderColor: line, secondsVisible: false,
        tickMarkFormatter: (time, type) => this.label(time, type),
      },
    });
    if (this.bars.size) this.replace([...this.bars.values()], false);
  }
}
