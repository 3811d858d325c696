/** Flags of a bridge port: one u8 attribute each, within IFLA_INFO_SLAVE_DATA of slave kind "bridge". */
import {
  IFLA_BRPORT_BCAST_FLOOD,
  IFLA_BRPORT_GUARD,
  IFLA_BRPORT_ISOLATED,
  IFLA_BRPORT_LEARNING,
  IFLA_BRPORT_MCAST_FLOOD,
  IFLA_BRPORT_MODE,
  IFLA_BRPORT_NEIGH_SUPPRESS,
  IFLA_BRPORT_UNICAST_FLOOD,
} from './constants.js';

export interface BridgePort {
  /** IFLA_BRPORT_ISOLATED. */
  isolated: boolean;
  /** IFLA_BRPORT_LEARNING. */
  learning: boolean;
  /** IFLA_BRPORT_UNICAST_FLOOD. */
  flood: boolean;
  /** IFLA_BRPORT_MCAST_FLOOD. */
  multicastFlood: boolean;
  /** IFLA_BRPORT_BCAST_FLOOD. */
  broadcastFlood: boolean;
  /** IFLA_BRPORT_NEIGH_SUPPRESS. */
  neighSuppress: boolean;
  /** IFLA_BRPORT_MODE. */
  hairpin: boolean;
  /** IFLA_BRPORT_GUARD. */
  guard: boolean;
}

export const BRIDGE_PORT_ATTRIBUTES: readonly (readonly [flag: keyof BridgePort, type: number])[] = [
  ['isolated', IFLA_BRPORT_ISOLATED],
  ['learning', IFLA_BRPORT_LEARNING],
  ['flood', IFLA_BRPORT_UNICAST_FLOOD],
  ['multicastFlood', IFLA_BRPORT_MCAST_FLOOD],
  ['broadcastFlood', IFLA_BRPORT_BCAST_FLOOD],
  ['neighSuppress', IFLA_BRPORT_NEIGH_SUPPRESS],
  ['hairpin', IFLA_BRPORT_MODE],
  ['guard', IFLA_BRPORT_GUARD],
];

/** What a new port has; and what holds on a kernel that does not know a flag. */
export const NEW_BRIDGE_PORT: Readonly<BridgePort> = {
  isolated: false,
  learning: true,
  flood: true,
  multicastFlood: true,
  broadcastFlood: true,
  neighSuppress: false,
  hairpin: false,
  guard: false,
};
