# Plants residue on TAPs and tells how they look, by means of its own: nothing of the library is used here.
#   residue.py [--uid UID --gid GID]   reads {"op": NAME, ...} per line, answers {"ok": VALUE} or {"errno": N}
import ctypes, fcntl, json, os, select, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
NLM_REQUEST, NLM_ACK, NLM_DUMP, NLM_REPLACE, NLM_EXCL, NLM_CREATE = 1, 4, 0x300, 0x100, 0x200, 0x400
AF_BRIDGE = 7


# --- netlink ---------------------------------------------------------------------------------------------------------


def nla(kind, value):
    if isinstance(value, str):
        value = value.encode() + b"\0"
    elif isinstance(value, int):
        value = struct.pack("I", value)
    elif isinstance(value, list):
        value = b"".join(value)
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def request(kind, flags, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.setsockopt(270, 12, 1)  # NETLINK_GET_STRICT_CHK
        netlink.send(struct.pack("IHHII", 16 + len(body), kind, flags | NLM_REQUEST, 1, 0) + body)
        replies = []
        while True:
            data = netlink.recv(1 << 20)
            while data:
                length, answer = struct.unpack_from("IH", data)
                payload = data[16:length]
                data = data[(length + 3) & ~3 :]
                if answer == 3:
                    return replies
                if answer == 2:
                    error = -struct.unpack_from("i", payload)[0]
                    if error:
                        raise OSError(error, os.strerror(error))
                    return replies
                replies.append((answer, payload))


def change(kind, body, flags=0):
    request(kind, NLM_ACK | flags, body)


def dump(kind, body):
    return request(kind, NLM_DUMP, body)


def link_body(ifindex, attrs=(), flags=0, mask=0):
    return struct.pack("BxHiII", 0, 0, ifindex, flags, mask) + b"".join(attrs)


def set_link(ifindex, attrs=(), flags=0, mask=0):
    change(16, link_body(ifindex, attrs, flags, mask))


# --- what a host may do ----------------------------------------------------------------------------------------------


def plant_flags(ifindex, flags, mask):
    set_link(ifindex, (), flags, mask)


def plant_attribute(ifindex, attribute, value=None, hex=None):
    set_link(ifindex, [nla(attribute, bytes.fromhex(hex) if hex is not None else value)])


def plant_port(ifindex, attribute, hex):
    set_link(ifindex, [nla(18, [nla(4, "bridge"), nla(5, [nla(attribute, bytes.fromhex(hex))])])])


def plant_alt_name(ifindex, name):
    change(108, link_body(ifindex, [nla(52 | 0x8000, [nla(53, name)])]), NLM_CREATE | NLM_EXCL)


def plant_address(ifindex, address, prefix):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    raw = socket.inet_pton(family, address)
    body = struct.pack("BBBBi", family, prefix, 0x02 if family == socket.AF_INET6 else 0, 0, ifindex)
    change(20, body + nla(1, raw) + nla(2, raw), NLM_CREATE | NLM_EXCL)


def plant_route(ifindex, destination, prefix, table=254):
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    body = struct.pack("BBBBBBBBI", family, prefix, 0, 0, min(table, 252), 4, 253, 1, 0)
    body += nla(1, socket.inet_pton(family, destination)) + nla(4, ifindex) + nla(15, table)
    change(24, body, NLM_CREATE | NLM_EXCL)


def plant_neighbour(ifindex, address, mac="", proxy=False):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    body = struct.pack("BxxxiHBB", family, ifindex, 0x80, 0x08 if proxy else 0, 0)
    body += nla(1, socket.inet_pton(family, address))
    if mac:
        body += nla(2, bytes.fromhex(mac.replace(":", "")))
    change(28, body, NLM_CREATE | NLM_EXCL)


def plant_forwarding(ifindex, mac, flags):
    body = struct.pack("BxxxiHBB", AF_BRIDGE, ifindex, 0xC0, flags, 0)  # NUD_NOARP | NUD_PERMANENT
    change(28, body + nla(2, bytes.fromhex(mac.replace(":", ""))), NLM_CREATE | NLM_EXCL)


def plant_multicast_database(ifindex, bridge, group):
    entry = struct.pack("IBBHI", ifindex, 1, 0, 0, 0)[:8]  # ifindex, MDB_PERMANENT, flags, vid
    entry += socket.inet_aton(group) + bytes(12) + struct.pack("!H", 0x0800) + bytes(2)
    change(84, struct.pack("BxxxI", AF_BRIDGE, bridge) + nla(1, entry), NLM_CREATE | NLM_EXCL)


def plant_vlan(ifindex, vid):
    spec = nla(26, [nla(2, struct.pack("HH", 0, vid))])  # IFLA_AF_SPEC { IFLA_BRIDGE_VLAN_INFO }
    change(19, struct.pack("BxHiII", AF_BRIDGE, 0, ifindex, 0, 0) + spec)


def plant_multicast(name, mac):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8931, struct.pack("16sH6s16x", name.encode(), 0, bytes.fromhex(mac.replace(":", ""))))


def plant_qdisc(ifindex, kind):
    parent, handle, options = 0xFFFFFFFF, 0x10000, b""
    if kind in ("clsact", "ingress"):
        parent, handle = 0xFFFFFFF1, 0xFFFF0000
    if kind == "tbf":
        rate = struct.pack("BBHhHI", 0, 1, 0, 0, 0, 25_000)
        parms = rate + bytes(12) + struct.pack("III", 1 << 20, 0, 0)
        options = nla(2, [nla(1, parms), nla(6, 2000)])  # TCA_OPTIONS { TCA_TBF_PARMS, TCA_TBF_BURST }
    body = struct.pack("BxxxiIII", 0, ifindex, handle, parent, 0) + nla(1, kind) + options
    change(36, body, NLM_CREATE | NLM_REPLACE)


def plant_filter(ifindex, parent=0xFFFFFFF2):
    """u32 that matches every packet: tc filter add dev NAME ingress u32 match u32 0 0 flowid 1:1"""
    selector = struct.pack("BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("IIii", 0, 0, 0, 0)
    body = struct.pack("BxxxiIII", 0, ifindex, 0, parent, (1 << 16) | 0x0300)
    body += nla(1, "u32") + nla(2, [nla(1, 0x10001), nla(5, selector)])
    change(44, body, NLM_CREATE | NLM_EXCL)


def plant_macvlan(ifindex, name, up):
    attrs = [nla(3, name), nla(5, ifindex), nla(18, [nla(1, "macvlan"), nla(2, [nla(1, 4)])])]
    change(16, link_body(0, attrs, int(up), 1), NLM_CREATE | NLM_EXCL)


def delete_link(name):
    change(17, link_body(socket.if_nametoindex(name)))


def plant_sysctl(path, value):
    with open("/proc/sys/net/" + path, "w") as file:
        file.write(value)


def read_sysctl(path):
    with open("/proc/sys/net/" + path) as file:
        return file.read().strip()


def ethtool(name, data):
    buffer = ctypes.create_string_buffer(data, max(len(data), 1024))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8946, struct.pack("16sP16x", name.encode(), ctypes.addressof(buffer)))
    return buffer.raw


def link_settings(name):
    """ETHTOOL_GLINKSETTINGS, asked first for its number of words."""
    settings = bytearray(ethtool(name, struct.pack("I", 0x4C))[:48])
    words = -struct.unpack_from("b", settings, 15)[0]
    settings[15] = words
    return ethtool(name, bytes(settings))[: 48 + 12 * words]


def plant_speed(name, speed):
    current = bytearray(link_settings(name))
    struct.pack_into("II", current, 0, 0x4D, speed)
    ethtool(name, bytes(current))


def plant_coalescing(name, frames):
    current = bytearray(ethtool(name, struct.pack("I", 0xE))[:92])  # ETHTOOL_GCOALESCE
    struct.pack_into("I", current, 0, 0xF)
    struct.pack_into("I", current, 8, frames)
    ethtool(name, bytes(current))


# --- BPF -------------------------------------------------------------------------------------------------------------

BPF_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}[os.uname().machine]
SOCKET_FILTER, SCHED_CLS, XDP = 1, 3, 6
kept = []


def bpf(command, attr):
    buffer = ctypes.create_string_buffer(attr, 120)
    result = libc.syscall(BPF_SYSCALL, command, buffer, 120)
    if result < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return result


def load(kind, value):
    """A program that returns a value."""
    code = ctypes.create_string_buffer(struct.pack("BBhi", 0xB7, 0, 0, value) + struct.pack("BBhi", 0x95, 0, 0, 0))
    license = ctypes.create_string_buffer(b"GPL")
    head = struct.pack("IIQQ", kind, 2, ctypes.addressof(code), ctypes.addressof(license))
    fd = bpf(5, head + bytes(24 + 16 + 4 + 4))
    kept.append(fd)
    return fd


def plant_xdp(ifindex, mode):
    set_link(ifindex, [nla(43, [nla(1, struct.pack("i", load(XDP, 2))), nla(3, mode)])])


def plant_bpf_link(ifindex, attach):
    """attach: BPF_XDP 37, BPF_TCX_INGRESS 46, BPF_TCX_EGRESS 47"""
    program = load(XDP, 2) if attach == 37 else load(SCHED_CLS, -1)
    kept.append(bpf(28, struct.pack("IIII", program, ifindex, attach, 0)))


def programs_of(ifindex, attach):
    """BPF_PROG_QUERY: how many programs of TCX there are."""
    ids = (ctypes.c_uint32 * 16)()
    buffer = ctypes.create_string_buffer(struct.pack("IIIIQI", ifindex, attach, 0, 0, ctypes.addressof(ids), 16), 120)
    if libc.syscall(BPF_SYSCALL, 16, buffer, 120) < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return struct.unpack_from("I", buffer, 24)[0]


# --- packet sockets --------------------------------------------------------------------------------------------------

sniffers = {}


def sniff(name, promiscuous):
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
    sniffer.bind((name, 3))
    if promiscuous:
        sniffer.setsockopt(263, 1, struct.pack("iHH8x", socket.if_nametoindex(name), 1, 0))
    sniffers[name] = sniffer


def sniffed(name):
    frames = []
    try:
        while True:
            frames.append(sniffers[name].recv(65536).hex())
    except (BlockingIOError, OSError):
        return frames


def stop_sniffing(name):
    sniffers.pop(name).close()


def send(name, frames):
    """Into the queue of the link, as the host's own traffic goes."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((name, 0))
        for frame in frames:
            sender.send(bytes.fromhex(frame))


# --- a tenant: through the descriptor ---------------------------------------------------------------------------------

taps, spare = {}, []


def attach(name, flags=0x5002):
    # Opened as root, as a jailer does for its VMM.
    fd = spare.pop() if spare else os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), flags))
    except OSError:
        os.close(fd)
        raise
    taps[name] = fd


def detach(name):
    os.close(taps.pop(name))


def ioctl_value(name, request, value):
    fcntl.ioctl(taps[name], request, value)


def ioctl_buffer(name, request, hex):
    return fcntl.ioctl(taps[name], request, bytes.fromhex(hex)).hex()


def ioctl_program(name, request, value=0):
    """TUNSETFILTEREBPF: let so many bytes through; TUNSETSTEERINGEBPF: choose this queue."""
    fcntl.ioctl(taps[name], request, struct.pack("i", load(SOCKET_FILTER, value)))


def attach_filter(name):
    """TUNATTACHFILTER: a classic filter that lets nothing through."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    kept.append(code)
    fcntl.ioctl(taps[name], 0x401054D5, struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))


def set_mac(name, mac):
    """SIOCSIFHWADDR, which a TAP's own descriptor takes."""
    ifreq = struct.pack("16sH6s16x", name.encode(), 1, bytes.fromhex(mac.replace(":", "")))
    fcntl.ioctl(taps[name], 0x8924, ifreq)


def write(name, frames, header=10):
    for frame in frames:
        os.write(taps[name], bytes(header) + bytes.fromhex(frame))


def read(name, header=10):
    """All frames that are there."""
    frames = []
    try:
        while True:
            frames.append(os.read(taps[name], 65536)[header:].hex())
    except BlockingIOError:
        return frames


def read_for(seconds):
    """All frames that come to any TAP in this time."""
    frames, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        select.select(list(taps.values()), [], [], left)
        for name in taps:
            frames += [[name, frame] for frame in read(name)]
    return frames


# --- how a TAP looks ---------------------------------------------------------------------------------------------------


def read_directory(path):
    values = {}
    for entry in sorted(os.listdir("/proc/sys/net/" + path)):
        try:
            values[entry] = read_sysctl(f"{path}/{entry}")
        except OSError as error:
            values[entry] = error.errno
    return values


# Of IFLA_*: name, alias, statistics, carrier, operational state. Of IFLA_BRPORT_*: state, identifiers, timers.
LINK_SKIPPED = {3, 7, 16, 20, 23, 33, 35, 47, 48}
PORT_SKIPPED = {1, *range(13, 25)}
FEATURES_WORDS = 2


def look_link(ifindex):
    [(_, payload)] = request(18, NLM_ACK, link_body(ifindex, [nla(29, 8)]))
    _, kind, _, flags, _ = struct.unpack_from("BxHiII", payload)
    seen = {"type": kind, "flags": flags & ~0x10040}
    for attribute, value in attributes(payload[16:]):
        if attribute == 18:
            info = dict(attributes(value))
            seen["tun"] = {k: v.hex() for k, v in attributes(info.get(2, b""))}
            port = attributes(info.get(5, b""))
            seen["port"] = {k: v.hex() for k, v in port if k not in PORT_SKIPPED}
        elif attribute == 26:
            families = {family: dict(attributes(spec)) for family, spec in attributes(value)}
            inet6 = families.get(10, {})
            seen["inet"] = {k: v.hex() for k, v in families.get(2, {}).items()}
            seen["inet6"] = {k: v.hex() for k, v in inet6.items() if k not in (1, 3, 5, 6)}
        elif attribute not in LINK_SKIPPED:
            seen[attribute] = value.hex()
    return seen


def rows(kind, header, at, ifindex, index_attribute=None, drop=()):
    """Rows of a dump that are about the link, without its index and their changing attributes."""
    found = []
    for _, payload in dump(kind, header):
        attrs = dict(attributes(payload[len(header) :]))
        index = struct.unpack("i", attrs[index_attribute])[0] if index_attribute in attrs else None
        if index_attribute is None:
            index = struct.unpack_from("i", payload, at)[0]
        if index == ifindex:
            head = bytearray(payload[: len(header)])
            if index_attribute is None:
                head[at : at + 4] = bytes(4)
            found.append([head.hex(), {k: v.hex() for k, v in attrs.items() if k not in drop}])
    return sorted(found, key=str)


def look_groups(name):
    """dev->mc and the groups of both families, without their timers and counters of users."""
    groups = {"link": [], "ipv6": []}
    with open("/proc/net/dev_mcast") as file:
        groups["link"] = sorted(line.split()[2:] for line in file if line.split()[1] == name)
    with open("/proc/net/igmp6") as file:
        groups["ipv6"] = sorted(line.split()[2] for line in file if line.split()[1] == name)
    return groups


def look_descriptor(fd):
    read = lambda request: struct.unpack("i", fcntl.ioctl(fd, request, bytes(4)))[0]
    return {
        "TUNGETVNETHDRSZ": read(0x800454D7),
        "TUNGETVNETLE": read(0x800454DD),
        "TUNGETSNDBUF": read(0x800454D3),
    }


def wait_until_settled(ifindex):
    """A link with a carrier comes to life a little later (net/core/link_watch.c), and so do its IPv6 addresses."""
    addresses = struct.pack("BBBBi", socket.AF_INET6, 0, 0, 0, ifindex)
    for _ in range(500):
        [(_, payload)] = request(18, NLM_ACK, link_body(ifindex))
        flags = struct.unpack_from("I", payload, 8)[0]
        dormant = dict(attributes(payload[16:]))[16] == b"\x05"
        settled = not flags & 1 or flags & 0x40 or dormant
        if settled and not any(payload[2] & 0x40 for _, payload in dump(22, addresses)):
            return
        time.sleep(0.01)
    raise OSError(110, "the link does not come up")


def look_ethtool(name):
    features = ethtool(name, struct.pack("II", 0x3A, FEATURES_WORDS))[8 : 8 + 16 * FEATURES_WORDS]
    words = [struct.unpack_from("IIII", features, 16 * i) for i in range(FEATURES_WORDS)]
    return {
        "active": [active for _, _, active, _ in words],
        "requested": [asked for _, asked, _, _ in words],
        "messages": struct.unpack_from("I", ethtool(name, struct.pack("I", 7)), 4)[0],
        "settings": link_settings(name)[4:].hex(),
        "coalescing": ethtool(name, struct.pack("I", 0xE))[4:92].hex(),
    }


def look(name, flags=0x5002):
    """Everything that the kernel tells of a TAP that is held, and that two fresh ones have in common."""
    ifindex = socket.if_nametoindex(name)
    with open("/dev/net/tun", "rb+", buffering=0) as file:
        fcntl.ioctl(file, 0x400454CA, struct.pack("16sH22x", name.encode(), flags))
        wait_until_settled(ifindex)
        return look_closely(name, ifindex, file)


def look_closely(name, ifindex, descriptor):
    seen = {"link": look_link(ifindex), "descriptor": look_descriptor(descriptor)}
    seen["addresses"] = rows(22, struct.pack("BBBBi", 0, 0, 0, 0, ifindex), 4, ifindex, drop=(6,))
    seen["routes"] = rows(26, bytes(12), 0, ifindex, 4, drop=(4, 12))
    neighbour = struct.pack("BxxxiHBB", 0, 0, 0, 0, 0)
    seen["neighbours"] = [
        row for row in rows(30, neighbour, 4, ifindex, drop=(3, 4)) if row[0][16:20] != "4000"  # NUD_NOARP: multicast
    ]
    seen["proxies"] = rows(30, neighbour[:10] + b"\x08\x00", 4, ifindex, drop=(3,))
    seen["forwarding"] = rows(30, struct.pack("BxxxiHBB", AF_BRIDGE, 0, 0, 0, 0), 4, ifindex, drop=(3, 9))
    seen["multicast database"] = [
        value.hex()
        for _, payload in dump(86, struct.pack("BxxxI", AF_BRIDGE, 0))
        for _, database in attributes(payload[8:])
        for _, entries in attributes(database)
        for _, value in attributes(entries)
        if struct.unpack_from("I", value)[0] == ifindex
    ]
    try:
        seen["vlans"] = rows(114, struct.pack("BxxxI", AF_BRIDGE, ifindex), 4, ifindex)
    except OSError as error:
        seen["vlans"] = error.errno  # EOPNOTSUPP without CONFIG_BRIDGE_VLAN_FILTERING
    seen["qdiscs"] = rows(38, struct.pack("BxxxiIII", 0, 0, 0, 0, 0), 4, ifindex, drop=(3, 4, 7))
    seen["filters"] = [rows(46, struct.pack("BxxxiIII", 0, ifindex, 0, 0xFFFFFFF0 | at, 0), 4, ifindex) for at in (2, 3)]
    seen["groups"] = look_groups(name)
    seen["sysctls"] = {
        f"{family}/{what}": read_directory(f"{family}/{what}/{name}")
        for family in ("ipv4", "ipv6")
        for what in ("conf", "neigh")
        if os.path.exists(f"/proc/sys/net/{family}/{what}/{name}")
    }
    seen["ethtool"] = look_ethtool(name)
    seen["uppers"] = [
        index
        for _, payload in dump(18, link_body(0))
        if (index := struct.unpack_from("i", payload, 4)[0]) != ifindex
        and dict(attributes(payload[16:])).get(5) == struct.pack("i", ifindex)
    ]
    with open("/proc/net/packet") as file:
        seen["packet sockets"] = sum(line.split()[4] == str(ifindex) for line in file)
    return seen


def forwarding(ifindex):
    """MAC addresses of the forwarding entries that point to the link."""
    found = rows(30, struct.pack("BxxxiHBB", AF_BRIDGE, 0, 0, 0, 0), 4, ifindex)
    return [bytes.fromhex(attrs[2]).hex(":") for _, attrs in found]


def counters(ifindex):
    """IFLA_STATS64: packets that the link received."""
    [(_, payload)] = request(18, NLM_ACK, link_body(ifindex))
    return struct.unpack_from("Q", dict(attributes(payload[16:]))[23])[0]


def main():
    args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    if args:
        spare.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
    # In a user namespace of one's own there is but one user, and no group can be given up.
    uid, gid = int(args.get("--uid", os.getuid())), int(args.get("--gid", os.getgid()))
    if (uid, gid) != (os.getuid(), os.getgid()):
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    for line in sys.stdin:
        call = json.loads(line)
        operation = globals()[call.pop("op")]
        try:
            answer = {"ok": operation(**call)}
        except OSError as error:
            answer = {"errno": error.errno}
        print(json.dumps(answer), flush=True)


main()
