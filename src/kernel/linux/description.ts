/** What two TAPs must have in common so that fresh ones look alike. */
import type { TapSpec } from '../kernel.js';

export function description(spec: TapSpec): string {
  const { owner, mtu, txQueueLength, vnetHeader, multiQueue, up, ipv6, master, port } = spec;
  const flags = port === undefined ? '' : JSON.stringify(port);
  return `${owner?.uid} ${owner?.gid} ${mtu} ${txQueueLength} ${vnetHeader} ${multiQueue} ${up} ${ipv6} ${master} ${flags}`;
}

/** Whether two TAPs have the same description, as far as that shows without looking into it. */
export function looksAlike(a: TapSpec, b: TapSpec): boolean {
  return DESCRIBED.every((key) => a[key] === b[key]);
}

const DESCRIBED = [
  ...(['owner', 'mtu', 'txQueueLength', 'vnetHeader', 'multiQueue', 'up', 'ipv6', 'master', 'port'] as const),
];
