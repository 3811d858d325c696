# Opens each TAP whose name it reads, as a VMM does, and lets it go again. Says of each what the kernel answered: 0, or an
# errno.
import fcntl, os, struct, sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000

for line in sys.stdin:
    request = struct.pack("16sH22x", line.strip().encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, request)
        answer = 0
    except OSError as error:
        answer = error.errno
    os.close(fd)
    print(answer, flush=True)
