// How bars are drawn. No state of a bar is told by its colour alone:
//
//   up, down      body and wick, solid
//   still open    the body is an outline
//   one price     a thick dash
//   no tick       a dot at the price that was carried on
//   revised       a diamond above

import { customSeriesDefaultOptions } from "./vendor/lightweight-charts.mjs";
import { isFlat } from "./text.js";

/** In CSS pixels: a few bars stand apart, they do not become walls. */
const WIDEST = 40, DASH = 3, DOT = 2, DIAMOND = 4;

/** A series of `draw(pen, item)`, called for each bar in view; `values(item)`: what must fit the scale. */
class View {
  constructor(draw, values) {
    Object.assign(this, { paint: draw, values, data: null });
  }

  renderer() { return this; }
  update(data) { this.data = data; }
  priceValueBuilder(item) { return this.values(item); }
  isWhitespace(item) { return item.bar === undefined; }
  defaultOptions() { return customSeriesDefaultOptions; }

  draw(target, toY) {
    const { bars, barSpacing, visibleRange } = this.data ?? {};
    if (!visibleRange) return;
    target.useBitmapCoordinateSpace(({ context, horizontalPixelRatio: across, verticalPixelRatio: down }) => {
      const line = Math.max(1, Math.floor(across));
      let width = Math.max(line, Math.round(Math.min(barSpacing * 0.72, WIDEST) * across));
      // the wick in the middle of the body, to the pixel
      if (width > line && (width - line) % 2) width -= 1;
      for (let at = visibleRange.from; at < visibleRange.to; at++) {
        const { x, originalData: item, barColor: color } = bars[at];
        const middle = Math.round(x * across);
        this.paint({
          context, color, line, width, across, down, middle, left: middle - Math.floor(width / 2),
          y: (price) => Math.round(toY(price) * down),
        }, item);
      }
    });
  }
}

export const candles = () => new View(drawCandle, ({ bar }) => [bar.high, bar.low, bar.close]);
export const volumes = () => new View(drawVolume, ({ bar }) => [0, bar.volume]);

function drawCandle(pen, { bar, mark }) {
  const { context, color, line, width, left, middle, across, down, y } = pen;
  context.fillStyle = context.strokeStyle = color;
  const [top, bottom] = [y(bar.high), y(bar.low)];
  if (bar.synthetic) {
    disc(context, middle, y(bar.close), Math.min(DOT * across, Math.max(1, width / 2)));
  } else if (isFlat(bar)) {
    // an outline has room for what it is around
    const height = Math.round((bar.status === "live" ? 2 : 1) * DASH * down);
    body(pen, bar, top - Math.floor(height / 2), height);
  } else {
    const open = y(Math.max(bar.open, bar.close));
    const height = Math.max(line, y(Math.min(bar.open, bar.close)) - open);
    const wick = middle - Math.floor(line / 2);
    context.fillRect(wick, top, line, open - top);
    context.fillRect(wick, open + height, line, bottom - open - height);
    body(pen, bar, open, height);
  }
  if (bar.revision) {
    const size = Math.round(DIAMOND * across), tip = top - 3 * size;
    context.fillStyle = mark;
    context.beginPath();
    context.moveTo(middle, tip);
    context.lineTo(middle + size, tip + size);
    context.lineTo(middle, tip + 2 * size);
    context.lineTo(middle - size, tip + size);
    context.fill();
  }
}

function body({ context, left, width, line }, bar, top, height) {
  if (bar.status !== "live" || width < 4 * line) return context.fillRect(left, top, width, height);
  const edge = width < 10 * line ? line : 2 * line;
  context.globalAlpha = 0.2;
  context.fillRect(left, top, width, height);
  context.globalAlpha = 1;
  context.lineWidth = edge;
  context.strokeRect(left + edge / 2, top + edge / 2, width - edge, Math.max(0, height - edge));
}

function disc(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function drawVolume({ context, color, left, width, y }, { bar }) {
  if (!bar.volume) return;
  const top = y(bar.volume), bottom = y(0);
  context.globalAlpha = 0.35;
  context.fillStyle = color;
  context.fillRect(left, Math.min(top, bottom - 1), width, Math.max(1, bottom - top));
  context.globalAlpha = 1;
}
