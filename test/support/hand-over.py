# Ways of a holder that make it hard to find. Each attaches to the TAP, prints the id of the process that holds it in the
# end, and holds until it is killed.
#   hand-over.py fork NAME     a child without close-on-exec holds it as well; the parent, whose id is printed first, may die
#   hand-over.py steal NAME    another process takes the descriptor out of the first with pidfd_getfd
#   hand-over.py send NAME     another process is sent the descriptor (SCM_RIGHTS)
#   hand-over.py flight NAME   nobody: the descriptor is in the queue of a socket that is not read
#   hand-over.py hide NAME     without a carrier: IFF_NO_CARRIER, then TUNSETCARRIER 0
import array, ctypes, fcntl, os, signal, socket, struct, sys

TUNSETIFF, TUNSETCARRIER = 0x400454CA, 0x400454E2
IFF_TAP, IFF_NO_CARRIER, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x40, 0x1000, 0x4000
PIDFD_OPEN, PIDFD_GETFD = 434, 438

mode, name = sys.argv[1:]
flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
fd = os.open("/dev/net/tun", os.O_RDWR)
ours, theirs = socket.socketpair()


def attach():
    if mode == "hide":
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags | IFF_NO_CARRIER))
        fcntl.ioctl(fd, TUNSETCARRIER, struct.pack("i", 0))
    else:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))


def syscall(*args):
    result = ctypes.CDLL(None, use_errno=True).syscall(*args)
    if result < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return result


if mode == "fork":
    attach()
    child = os.fork()
    if child == 0:
        signal.pause()
    print(os.getpid(), child, flush=True)
elif mode == "flight":
    attach()
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    os.close(fd)
    print(os.getpid(), os.getpid(), flush=True)
elif mode == "hide":
    attach()
    print(os.getpid(), os.getpid(), flush=True)
else:
    child = os.fork()
    if child == 0:
        os.close(fd)
        if mode == "steal":
            theirs.recv(1)
            syscall(PIDFD_GETFD, syscall(PIDFD_OPEN, os.getppid(), 0), fd, 0)
        else:
            received = array.array("i")
            _, ancillary, _, _ = theirs.recvmsg(1, socket.CMSG_LEN(received.itemsize))
            received.frombytes(ancillary[0][2][: received.itemsize])
        theirs.send(b"x")
        signal.pause()
    attach()
    if mode == "steal":
        ours.send(b"x")
    else:
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    ours.recv(1)
    print(os.getpid(), child, flush=True)
signal.pause()
