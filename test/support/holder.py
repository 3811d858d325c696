# Opens TAPs as a VMM does and holds them until standard input ends.
#   holder.py [--uid UID] NAME...   prints "held" when all are attached, or "error ERRNO NAME"
import fcntl, os, struct, sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_CARRIER, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x40, 0x100, 0x1000, 0x4000

args = sys.argv[1:]
flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
uid = None
while args and args[0].startswith("--"):
    option = args.pop(0)
    if option == "--uid":
        uid = int(args.pop(0))
    elif option == "--multi-queue":
        flags |= IFF_MULTI_QUEUE
    elif option == "--no-carrier":
        flags |= IFF_NO_CARRIER
    elif option == "--no-vnet-header":
        flags &= ~IFF_VNET_HDR

fds = []
descriptors = [os.open("/dev/net/tun", os.O_RDWR) for _ in args]
if uid is not None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
for fd, name in zip(descriptors, args):
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError as error:
        print("error", error.errno, name, flush=True)
        sys.exit(1)
print("held", flush=True)
sys.stdin.read()
