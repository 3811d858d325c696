# What the VMMs of the tests have in common: an API that speaks HTTP on a UNIX socket, and the ioctls of a TAP.
import array, errno, fcntl, json, os, socket, struct, sys

TUNSETIFF, TUNGETIFF, TUNGETFEATURES = 0x400454CA, 0x800454D2, 0x800454CF
TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454D0, 0x400454D8
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x100, 0x1000, 0x4000
IFF_PERSIST = 0x800
# CSUM, TSO4, TSO6, UFO
OFFLOADS = 0x1 | 0x2 | 0x4 | 0x10
# sizeof(struct virtio_net_hdr_v1)
VNET_HEADER = 12


class Refused(Exception):
    pass


def open_tap(name, flags=0):
    if len(name.encode()) > 15:
        raise Refused("Invalid interface name")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)
    try:
        fcntl.ioctl(fd, TUNSETIFF, request)
    except OSError as error:
        os.close(fd)
        raise Refused(f"Error while creating ifreq structure: {error.strerror} (os error {error.errno})")
    return fd


def set_header_size(fd):
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER))


def attached_to(fd):
    """The name and flags of the TAP; EBADFD where the descriptor is attached to none, ENOTTY where it is none."""
    name, flags = struct.unpack_from("16sH", fcntl.ioctl(fd, TUNGETIFF, bytes(40)))
    return name.rstrip(bytes(1)).decode(), flags


def note(**what):
    """For the test: a line of JSON."""
    with open(os.environ["VMM_NOTES"], "a") as notes:
        print(json.dumps(what), file=notes)


def note_tap(fd):
    name, flags = attached_to(fd)
    nonblocking = bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)
    note(tap=name, flags=flags & 0x7FFF, persistent=bool(flags & IFF_PERSIST), nonblocking=nonblocking)


def known(body, required, optional=()):
    """Both VMMs deserialize strictly: a field is missing, or unknown."""
    for key in required:
        if key not in body:
            raise Refused(f"missing field `{key}`")
    for key in body:
        if key not in required and key not in optional:
            raise Refused(f"unknown field `{key}`")


def receive(connection):
    """One request: method, path, body and the descriptors that came with it (SCM_RIGHTS)."""
    data, fds = b"", array.array("i")
    while True:
        head, separator, body = data.partition(b"\r\n\r\n")
        if separator:
            lines = head.decode().split("\r\n")
            headers = {key.lower(): value.strip() for key, value in (line.split(":", 1) for line in lines[1:])}
            if headers.get("transfer-encoding") == "chunked":
                raise Refused("Transfer-Encoding is not supported")
            if len(body) >= int(headers.get("content-length", 0)):
                method, path, _ = lines[0].split(" ")
                return method, path, json.loads(body) if body else None, list(fds)
        chunk, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(64))
        if not chunk:
            return None
        data += chunk
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])


def serve(path, handle, refuse):
    """Answers requests until the handler raises SystemExit; `refuse` makes status and body of a refusal."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            ends = None
            try:
                request = receive(connection)
                if request is None:
                    continue
                body = handle(*request)
                status = "204 No Content" if body is None else "200 OK"
            except Refused as error:
                status, body = refuse(str(error))
            except SystemExit as error:
                status, body, ends = "204 No Content", None, error
            text = "" if body is None else json.dumps(body)
            length = "" if body is None else f"Content-Length: {len(text)}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\n{length}\r\n{text}".encode())
        if ends:
            sys.exit(ends.code)
