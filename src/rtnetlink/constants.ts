/** Kernel constants under their kernel names. Each section names the header that they come from. */

// linux/netlink.h: message types below NLMSG_MIN_TYPE, and struct nlmsghdr.
export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;
/** Bytes of struct nlmsghdr. */
export const NLMSG_HDRLEN = 16;

// linux/netlink.h: flags of every message.
export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
/** The dump is inconsistent: what it lists changed while it was read. */
export const NLM_F_DUMP_INTR = 0x10;

// linux/netlink.h: flags of a GET request.
export const NLM_F_ROOT = 0x100;
export const NLM_F_MATCH = 0x200;
export const NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH;

// linux/netlink.h: flags of a NEW request.
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

// linux/netlink.h: flags of NLMSG_ERROR.
/** The acknowledged request is not embedded, only its header. */
export const NLM_F_CAPPED = 0x100;
/** Attributes of an extended acknowledgement (NLMSGERR_ATTR_*) follow. */
export const NLM_F_ACK_TLVS = 0x200;

// linux/netlink.h: struct nlattr.
export const NLA_F_NESTED = 0x8000;
export const NLA_F_NET_BYTEORDER = 0x4000;
export const NLA_TYPE_MASK = 0x3fff;
/** Bytes of struct nlattr. */
export const NLA_HDRLEN = 4;

// linux/netlink.h: enum nlmsgerr_attrs.
export const NLMSGERR_ATTR_MSG = 1;
export const NLMSGERR_ATTR_OFFS = 2;
export const NLMSGERR_ATTR_POLICY = 4;
export const NLMSGERR_ATTR_MISS_TYPE = 5;
export const NLMSGERR_ATTR_MISS_NEST = 6;

// linux/netlink.h: enum netlink_policy_type_attr.
export const NL_POLICY_TYPE_ATTR_TYPE = 1;
export const NL_POLICY_TYPE_ATTR_MIN_VALUE_S = 2;
export const NL_POLICY_TYPE_ATTR_MAX_VALUE_S = 3;
export const NL_POLICY_TYPE_ATTR_MIN_VALUE_U = 4;
export const NL_POLICY_TYPE_ATTR_MAX_VALUE_U = 5;
export const NL_POLICY_TYPE_ATTR_MIN_LENGTH = 6;
export const NL_POLICY_TYPE_ATTR_MAX_LENGTH = 7;
export const NL_POLICY_TYPE_ATTR_MASK = 12;

// linux/rtnetlink.h: message types.
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_SETLINK = 19;
export const RTM_NEWLINKPROP = 108;
export const RTM_DELLINKPROP = 109;
export const RTM_GETLINKPROP = 110;

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;
export const RTM_NEWQDISC = 36;
export const RTM_DELQDISC = 37;
export const RTM_GETQDISC = 38;
export const RTM_NEWVLAN = 112;
export const RTM_GETVLAN = 114;

/** Message types by number, for messages to people. */
export const RTM_NAMES: ReadonlyMap<number, string> = new Map([
  [NLMSG_NOOP, 'NLMSG_NOOP'],
  [NLMSG_ERROR, 'NLMSG_ERROR'],
  [NLMSG_DONE, 'NLMSG_DONE'],
  [NLMSG_OVERRUN, 'NLMSG_OVERRUN'],
  [RTM_NEWLINK, 'RTM_NEWLINK'],
  [RTM_DELLINK, 'RTM_DELLINK'],
  [RTM_GETLINK, 'RTM_GETLINK'],
  [RTM_SETLINK, 'RTM_SETLINK'],
  [RTM_NEWADDR, 'RTM_NEWADDR'],
  [RTM_DELADDR, 'RTM_DELADDR'],
  [RTM_GETADDR, 'RTM_GETADDR'],
  [RTM_NEWNEIGH, 'RTM_NEWNEIGH'],
  [RTM_DELNEIGH, 'RTM_DELNEIGH'],
  [RTM_GETNEIGH, 'RTM_GETNEIGH'],
  [RTM_NEWQDISC, 'RTM_NEWQDISC'],
  [RTM_DELQDISC, 'RTM_DELQDISC'],
  [RTM_GETQDISC, 'RTM_GETQDISC'],
  [RTM_NEWVLAN, 'RTM_NEWVLAN'],
  [RTM_GETVLAN, 'RTM_GETVLAN'],
  [RTM_NEWLINKPROP, 'RTM_NEWLINKPROP'],
  [RTM_DELLINKPROP, 'RTM_DELLINKPROP'],
  [RTM_GETLINKPROP, 'RTM_GETLINKPROP'],
]);

// linux/rtnetlink.h: IFLA_EXT_MASK.
export const RTEXT_FILTER_VF = 0x1;
/** Leaves the statistics within IFLA_AF_SPEC{AF_INET6} out of the reply; IFLA_STATS and IFLA_STATS64 stay. */
export const RTEXT_FILTER_SKIP_STATS = 0x8;

// linux/socket.h: address families.
export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

// linux/if_arp.h: hardware types.
export const ARPHRD_ETHER = 1;
export const ARPHRD_LOOPBACK = 772;
export const ARPHRD_NONE = 0xfffe;

// linux/if.h: interface flags.
export const IFF_UP = 0x1;
export const IFF_BROADCAST = 0x2;
export const IFF_DEBUG = 0x4;
export const IFF_LOOPBACK = 0x8;
export const IFF_POINTOPOINT = 0x10;
export const IFF_RUNNING = 0x40;
export const IFF_NOARP = 0x80;
export const IFF_PROMISC = 0x100;
export const IFF_ALLMULTI = 0x200;
export const IFF_MULTICAST = 0x1000;
export const IFF_LOWER_UP = 0x10000;

// linux/if_link.h: attributes of a link. Bytes of struct ifinfomsg (linux/rtnetlink.h) come before them.
export const IFINFOMSG_LENGTH = 16;
export const IFLA_ADDRESS = 1;
export const IFLA_BROADCAST = 2;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_STATS = 7;
export const IFLA_MASTER = 10;
export const IFLA_TXQLEN = 13;
export const IFLA_OPERSTATE = 16;
export const IFLA_LINKMODE = 17;
export const IFLA_LINKINFO = 18;
export const IFLA_IFALIAS = 20;
export const IFLA_STATS64 = 23;
export const IFLA_AF_SPEC = 26;
export const IFLA_GROUP = 27;
/** A descriptor of this process, of the network namespace that the link is to move to. */
export const IFLA_NET_NS_FD = 28;
export const IFLA_EXT_MASK = 29;
export const IFLA_PROMISCUITY = 30;
export const IFLA_CARRIER = 33;
export const IFLA_CARRIER_CHANGES = 35;
export const IFLA_CARRIER_UP_COUNT = 47;
export const IFLA_CARRIER_DOWN_COUNT = 48;
export const IFLA_GRO_MAX_SIZE = 58;
/** linux/if_link.h: within IFLA_AF_SPEC{AF_INET}: the sysctls net.ipv4.conf.NAME.*, as an array, and as attributes. */
export const IFLA_INET_CONF = 1;
/** linux/ip.h: a number within IFLA_INET_CONF, and the sysctl net.ipv4.conf.NAME.proxy_arp. */
export const IPV4_DEVCONF_PROXY_ARP = 3;
/** linux/if_link.h: within IFLA_AF_SPEC{AF_INET6}: times of the interface, which count on. */
export const IFLA_INET6_CACHEINFO = 5;
/** linux/if_link.h: within IFLA_XDP. */
export const IFLA_XDP_FD = 1;
export const IFLA_XDP_ATTACHED = 2;
export const IFLA_XDP_FLAGS = 3;
/** Since Linux 6.3, as IFLA_GRO_IPV4_MAX_SIZE is. */
export const IFLA_GSO_IPV4_MAX_SIZE = 63;
export const IFLA_GRO_IPV4_MAX_SIZE = 64;
export const IFLA_GSO_MAX_SEGS = 40;
export const IFLA_GSO_MAX_SIZE = 41;
export const IFLA_XDP = 43;
/**
 * For recognizing it only; no request of this library carries it. In RTM_NEWLINK and RTM_SETLINK it does not say
 * where the link is, it moves the link there.
 */
export const IFLA_TARGET_NETNSID = 46;
export const IFLA_PROP_LIST = 52;
export const IFLA_ALT_IFNAME = 53;

// linux/if_link.h: within IFLA_LINKINFO.
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
export const IFLA_INFO_SLAVE_KIND = 4;
export const IFLA_INFO_SLAVE_DATA = 5;

// linux/if_link.h: within IFLA_AF_SPEC{AF_INET6}.
export const IFLA_INET6_FLAGS = 1;
export const IFLA_INET6_ADDR_GEN_MODE = 8;

// linux/if_link.h: enum in6_addr_gen_mode.
export const IN6_ADDR_GEN_MODE_EUI64 = 0;
export const IN6_ADDR_GEN_MODE_NONE = 1;

// linux/if_link.h: within IFLA_INFO_DATA of kind "tun".
export const IFLA_TUN_OWNER = 1;
export const IFLA_TUN_GROUP = 2;
/** IFF_TUN (1) or IFF_TAP (2) of linux/if_tun.h. */
export const IFLA_TUN_TYPE = 3;
export const IFLA_TUN_PI = 4;
export const IFLA_TUN_VNET_HDR = 5;
export const IFLA_TUN_PERSIST = 6;
export const IFLA_TUN_MULTI_QUEUE = 7;
export const IFLA_TUN_NUM_QUEUES = 8;
export const IFLA_TUN_NUM_DISABLED_QUEUES = 9;

// linux/if_link.h: within IFLA_INFO_SLAVE_DATA of slave kind "bridge".
export const IFLA_BRPORT_STATE = 1;
/** Hairpin mode. */
export const IFLA_BRPORT_MODE = 4;
export const IFLA_BRPORT_GUARD = 5;
export const IFLA_BRPORT_LEARNING = 8;
export const IFLA_BRPORT_UNICAST_FLOOD = 9;
export const IFLA_BRPORT_FLUSH = 24;
export const IFLA_BRPORT_MCAST_FLOOD = 27;
export const IFLA_BRPORT_BCAST_FLOOD = 30;
export const IFLA_BRPORT_NEIGH_SUPPRESS = 32;
export const IFLA_BRPORT_ISOLATED = 33;
