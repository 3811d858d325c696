# cloud-hypervisor as far as a launcher sees it: its command line and API, and what it does to the TAP. It boots nothing.
#   cloud-hypervisor.py --api-socket path=PATH [--kernel … --cpus boot=N --net …]
import argparse, errno, fcntl, os, re, struct, sys
from vmm import (
    IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, OFFLOADS, TUNSETIFF, TUNSETOFFLOAD,
    Refused, attached_to, known, note_tap, open_tap, serve, set_header_size,
)

parser = argparse.ArgumentParser()
parser.add_argument("--api-socket", required=True)
parser.add_argument("--kernel")
parser.add_argument("--cmdline")
parser.add_argument("--cpus", default="boot=1")
parser.add_argument("--memory")
parser.add_argument("--net", action="append", default=[])
arguments = parser.parse_args()

config, state, taps = None, None, []


def parse_net(text):
    """`tap=NAME,mac=…` or `fd=3` or `fd=[3,4],num_queues=4`."""
    fields = dict(field.split("=", 1) for field in re.split(r",(?![^\[]*\])", text))
    fds = fields.pop("fd", None)
    net = {key: int(value) if key.startswith("num_") else value for key, value in fields.items()}
    return {**net, **({"fds": [int(fd) for fd in fds.strip("[]").split(",")]} if fds else {})}


def check_net(net, vcpus):
    known(net, [], ["tap", "mac", "host_mac", "mtu", "num_queues", "queue_size", "id", "fds"])
    queues = net.get("num_queues", 2)
    if queues < 2:
        raise Refused("Number of queues to virtio_net less than 2")
    if queues // 2 > vcpus:
        raise Refused("Number of queues to virtio_net exceeds the number of vCPUs")
    fds = net.get("fds")
    if fds is not None and any(fd <= 2 for fd in fds):
        raise Refused("Reserved fd number (<= 2)")
    if fds is not None and len(fds) * 2 != queues:
        raise Refused("Number of queues to virtio_net does not match the number of input FDs")


def create(body, from_api=True):
    global config, state
    if config is not None:
        raise Refused("VM is already created")
    known(body, ["payload"], ["cpus", "memory", "net", "disks", "serial", "console", "rng"])
    known(body["payload"], ["kernel"], ["cmdline", "initramfs", "firmware"])
    for net in body.get("net", []):
        # A number in a body is nobody's descriptor here: they come with vm.add-net.
        if from_api and "fds" in net:
            net["fds"] = [-1 for _ in net["fds"]]
        check_net(net, body.get("cpus", {}).get("boot_vcpus", 1))
    config, state = body, "Created"


def attach(net):
    pairs = net.get("num_queues", 2) // 2
    flags = IFF_MULTI_QUEUE if pairs > 1 else 0
    if "fds" in net:
        for fd in net["fds"]:
            try:
                name, _ = attached_to(fd)
            except OSError as error:
                raise Refused(f"Failed to open taps from fds: ioctl failed: {error.strerror}")
            request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)
            try:
                fcntl.ioctl(fd, TUNSETIFF, request)
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise Refused(f"Unable to configure tap interface: {error.strerror}")
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
        opened = net["fds"]
    else:
        opened = [open_tap(net.get("tap", "vmtap%d"), flags) for _ in range(pairs)]
    for fd in opened:
        set_header_size(fd)
        fcntl.ioctl(fd, TUNSETOFFLOAD, OFFLOADS)
        note_tap(fd)
    taps.extend(opened)


def boot():
    global state
    if config is None:
        raise Refused("VM is not created")
    if state == "Running":
        raise Refused("Invalid transition: Running -> Running")
    if not os.path.isfile(config["payload"]["kernel"]):
        raise Refused("Cannot open kernel file: No such file or directory (os error 2)")
    for net in config.get("net", []):
        attach(net)
    state = "Running"


def add_net(body, fds):
    if config is None:
        raise Refused("VM is not created")
    net = {**body, **({"fds": fds} if fds else {})}
    check_net(net, config.get("cpus", {}).get("boot_vcpus", 1))
    attach(net)
    return {"id": body.get("id", "_net0"), "bdf": "0000:00:05.0"}


def handle(method, path, body, fds):
    call = f"{method} {path.removeprefix('/api/v1/')}"
    if fds and call != "PUT vm.add-net":
        raise Refused("descriptors where none are expected")
    if call == "PUT vm.create":
        return create(body or {})
    if call == "PUT vm.boot":
        return boot()
    if call == "PUT vm.add-net":
        return add_net(body or {}, fds)
    if call == "GET vm.info" and config is not None:
        return {"config": config, "state": state}
    if call == "PUT vmm.shutdown":
        sys.exit(0)
    raise Refused(f"{call}: not found, or the VM is not created")


if arguments.kernel:
    cpus = int(arguments.cpus.split("boot=")[1].split(",")[0])
    try:
        nets = [parse_net(net) for net in arguments.net]
        create({"payload": {"kernel": arguments.kernel}, "cpus": {"boot_vcpus": cpus}, "net": nets}, False)
        boot()
    except Refused as error:
        sys.exit(f"Error booting VM: {error}")
serve(arguments.api_socket.removeprefix("path="), handle, lambda message: ("500 Internal Server Error", [message]))
