// Why there is no chart, in words, with the command that mends it.

import { namesOf } from "./panels.js";
import { rejectedWords } from "./text.js";

export function unreachable() {
  return {
    title: "The worker does not answer",
    text: "This page asks it again every few seconds. If it was stopped, start it:",
    command: "barstream worker",
  };
}

export function recovering(status) {
  // what is not known yet is null, and the list of tables is for machines
  const known = Object.entries(status.progress).filter(([, value]) => value !== null && typeof value !== "object");
  const progress = known.map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`);
  return {
    title: "The worker is getting ready",
    text: `It reads its bars back from Kafka before it answers, so that nothing is shown in part. Now: ${status.reasons.join("; ")}.`,
    command: progress.join("\n"),
  };
}

export function noSeries(status) {
  if (status.unscheduled.length || status.rejected.unscheduled) {
    const names = namesOf(status.unscheduled);
    return {
      title: "Ticks arrive, but they have no market schedule",
      text: `A tick makes a bar only inside a session, and these series have none: ${names || "see barstream_ticks_rejected_total"}. Load their sessions from a file, or from an exchange calendar:`,
      command: (status.what_to_do ?? "barstream schedule load --calendar NAME, or barstream schedule load FILE").replace(", or ", "\n"),
    };
  }
  if (status.scheduled_series === 0) {
    return {
      title: "No market schedule yet, and no tick",
      text: "A tick makes a bar only inside a session. Load sessions first, then a feed:",
      command: "barstream schedule load --calendar NAME\nbarstream ticks simulate",
    };
  }
  const rejected = rejectedWords(status.rejected);
  if (rejected.length) {
    return {
      title: "Ticks arrive, but every one is rejected",
      text: `${rejected.join(", ")}. The rejected ticks stand in the topic ticks_rejected, each with its reason.`,
    };
  }
  return {
    title: "No tick seen yet",
    text: status.partitions.length
      ? "The worker is ready and listens. Bars appear with the first tick. To try it without a feed of your own:"
      : "This worker holds no partition and answers for the others. To try it without a feed of your own:",
    command: "barstream ticks simulate",
  };
}

export function refused(error) {
  const text = error.body.what_to_do ?? (error.body.required ? `It must be ${error.body.required}` : "");
  return { title: error.message, text: text && `${text[0].toUpperCase()}${text.slice(1).replace(/[.]?$/, ".")}` };
}

export function noBars(series) {
  return {
    title: `No bars of ${series.broker} ${series.symbol} yet`,
    text: "Its first accepted tick opens one. Bars older than the retention are gone.",
  };
}
