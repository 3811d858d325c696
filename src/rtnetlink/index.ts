/**
 * The rtnetlink codec: link messages of linux/rtnetlink.h and linux/if_link.h as pure functions over bytes. No input
 * or output, no policy.
 */
export * from './constants.js';
export { align, HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
export { concatMessages, decodeMessages, encodeMessage, type NetlinkMessage } from './message.js';
export { AttributeReader, decodeAttributes, encodeAttributes, type Attribute } from './attribute.js';
export { AttributeWriter } from './attribute-writer.js';
export { decodeAck, type Ack, type AckPolicy } from './error.js';
export { errnoName } from './errno.js';
export { formatMac, parseMac } from './mac.js';
export { NEW_BRIDGE_PORT, type BridgePort } from './bridge-port.js';
export {
  decodeLink,
  decodeLinkMessage,
  encodeLinkMessage,
  type LinkInfo,
  type LinkMessage,
  type TunLink,
} from './link.js';
export * from './attachments.js';
export {
  createBridge,
  deleteAltNames,
  deleteByGroup,
  deleteByIndex,
  detachXdp,
  dumpLinks,
  getLink,
  newLink,
  resetLink,
  setBridgePort,
  type BridgeAttributes,
  type LinkAttributes,
  type ResetAttributes,
} from './requests.js';
