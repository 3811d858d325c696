# Firecracker as far as a launcher sees it: its API, and what it does to the TAP. It boots nothing.
#   firecracker.py --api-sock PATH
import argparse, fcntl, re, sys
from vmm import OFFLOADS, TUNSETOFFLOAD, Refused, known, note_tap, open_tap, serve, set_header_size

MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")

parser = argparse.ArgumentParser()
parser.add_argument("--api-sock", required=True)
parser.add_argument("--id")
arguments = parser.parse_args()

started = False
boot_source = None
drives, interfaces, macs = {}, {}, {}


def must_open(path, what):
    try:
        open(path, "rb").close()
    except OSError as error:
        raise Refused(f"{what}: {error.strerror} (os error {error.errno}) {path}")


def put_boot_source(_, body):
    global boot_source
    known(body, ["kernel_image_path"], ["boot_args", "initrd_path"])
    must_open(body["kernel_image_path"], "The kernel file cannot be opened")
    boot_source = body


def put_drive(drive_id, body):
    known(
        body,
        ["drive_id", "is_root_device"],
        ["path_on_host", "is_read_only", "partuuid", "cache_type", "rate_limiter", "io_engine", "socket"],
    )
    must_match(drive_id, body["drive_id"])
    must_open(body["path_on_host"], "Unable to create the virtio block device: Error manipulating the backing file")
    drives[drive_id] = body


def put_interface(iface_id, body):
    known(
        body, ["iface_id", "host_dev_name"], ["guest_mac", "rx_rate_limiter", "tx_rate_limiter", "mtu"]
    )
    must_match(iface_id, body["iface_id"])
    mac = body.get("guest_mac")
    if mac is not None and not MAC.fullmatch(mac):
        raise Refused(f"invalid value: {mac}")
    if mac is not None and macs.get(mac, iface_id) != iface_id:
        raise Refused(f"The MAC address is already in use: {mac}")
    # Not at the start of the guest: from this request on the TAP is held.
    try:
        tap = open_tap(body["host_dev_name"])
    except Refused as error:
        raise Refused(f"Could not create the network device: Open tap device failed: {error}")
    set_header_size(tap)
    interfaces[iface_id] = tap
    macs[mac] = iface_id
    note_tap(tap)


def put_action(_, body):
    global started
    known(body, ["action_type"])
    action = body["action_type"]
    if action == "InstanceStart":
        if started:
            raise Refused("The requested operation is not supported after starting the microVM.")
        if boot_source is None:
            raise Refused("Cannot start microvm without kernel configuration.")
        for tap in interfaces.values():
            fcntl.ioctl(tap, TUNSETOFFLOAD, OFFLOADS)
        started = True
    elif action == "SendCtrlAltDel":
        if not started:
            raise Refused("The requested operation is not supported before starting the microVM.")
        sys.exit(0)
    else:
        raise Refused(f"unknown variant `{action}`")


def must_match(path, body):
    if path != body:
        raise Refused(f"The id from the path [{path}] does not match the id from the body [{body}]!")


ROUTES = {
    "boot-source": put_boot_source,
    "drives": put_drive,
    "network-interfaces": put_interface,
    "actions": put_action,
}


def handle(method, path, body, _):
    _, resource, *identifier = path.split("/")
    route = ROUTES.get(resource)
    if method != "PUT" or not route or len(identifier) != (resource in ("drives", "network-interfaces")):
        raise Refused(f"Invalid request method and/or path: {method} {path}.")
    if body is None:
        raise Refused("Empty PUT request.")
    if started and route is not put_action:
        raise Refused("The requested operation is not supported after starting the microVM.")
    route(*(identifier or [None]), body)


serve(arguments.api_sock, handle, lambda message: ("400 Bad Request", {"fault_message": message}))
