/** Durations and lists, as people write and read them. */
import { UsageError } from './exit.js';

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `90`, `90s`, `10m`, `2h`, `1d` in milliseconds; a number alone is seconds. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})([smhd]?)$/.exec(text);
  if (!match) throw new UsageError(`${JSON.stringify(text)} is no duration: say 90s, 10m, 2h or 1d`);
  const [, count, unit] = match;
  return Number(count) * (SECONDS[unit === '' ? 's' : (unit ?? '')] ?? 1) * 1000;
}

export function formatAge(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

export function parseWhole(text: string, what: string, maximum: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= maximum)) throw new UsageError(`${what} must be a whole number from 0 to ${maximum}`);
  return value;
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
