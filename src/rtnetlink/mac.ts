/** Link-layer addresses as text. */
import { TapPoolError } from '../errors.js';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i;

/** `fe:00:0a:0b:0c:0d`, in lower case; a link-layer address of any length. */
export function formatMac(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += `:${HEX[byte] ?? ''}`;
  return text.slice(1);
}

/**
 * The six bytes of `xx:xx:xx:xx:xx:xx`, in upper or lower case.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT`
 */
export function parseMac(text: string): Uint8Array {
  if (!MAC.test(text)) {
    const message = `${JSON.stringify(text)} is no MAC address xx:xx:xx:xx:xx:xx`;
    throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', message);
  }
  const bytes = new Uint8Array(6);
  for (let at = 0; at < 6; at++) bytes[at] = (digit(text, at * 3) << 4) | digit(text, at * 3 + 1);
  return bytes;
}

function digit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57;
}
