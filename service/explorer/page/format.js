/** Figures as text for people. */

/** Formats a number with at most `digits` decimals. */
export function number(value, digits = 0) {
  return Number(value).toLocaleString("en", { maximumFractionDigits: digits });
}

/** Formats milliseconds. */
export function milliseconds(value) {
  return `${number(value, value < 10 ? 1 : 0)} ms`;
}

/** Formats a time in seconds, such as a wait: "7 s", "3 min" or "2 h". */
export function duration(seconds) {
  if (seconds < 120) return `${number(seconds)} s`;
  return seconds < 7200 ? `${number(Math.ceil(seconds / 60))} min` : `${number(Math.ceil(seconds / 3600))} h`;
}

/** Returns a count with its noun, such as "1 item" or "12 items". */
export function count(amount, noun) {
  return `${number(amount)} ${noun}${amount === 1 ? "" : "s"}`;
}

/** Formats a share from 0 to 1. */
export function percent(share) {
  const isAlmostAll = share > 0.99 && share < 1;
  return `${number(100 * share, isAlmostAll ? 1 : 0)} %`;
}

/** Formats a probability, which can be small. */
export function chance(probability) {
  const percents = 100 * probability;
  return percents >= 0.1 ? `${percents < 10 ? percents.toFixed(1) : number(percents)} %` : "< 0.1 %";
}

/** Formats a difference with its sign. */
export function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}
