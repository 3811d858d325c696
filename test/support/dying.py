# VMMs that take their time to die.
#   dying.py stuck NAME FIFO   attaches to the TAP and sits in D state, as a parent does whose child has not come to exec:
#                              the child opens the fifo, and waits there for somebody who writes
#   dying.py kill PID          kills the process, and keeps it from ending until standard input ends: it runs no more,
#                              it cannot be killed again, and it has its descriptors still
import ctypes, fcntl, os, signal, struct, sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_O_TRACEEXIT = 17, 0x4206, 0x40
PTRACE_EVENT_EXIT = 6
WALL = 0x40000000



def stuck(name, fifo):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    print("held", flush=True)
    # posix_spawn is clone(2) with CLONE_VFORK.
    actions = [
        (os.POSIX_SPAWN_CLOSE, tap),
        (os.POSIX_SPAWN_CLOSE, 1),
        (os.POSIX_SPAWN_OPEN, 3, fifo, os.O_RDONLY, 0),
    ]
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=actions)


def kill(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request, data=None):
        if libc.ptrace(request, pid, None, data) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    ptrace(PTRACE_SEIZE, PTRACE_O_TRACEEXIT)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, WALL)
    assert status >> 8 == signal.SIGTRAP | PTRACE_EVENT_EXIT << 8, hex(status)
    print("dying", flush=True)
    sys.stdin.read()
    ptrace(PTRACE_DETACH)


if sys.argv[1] == "stuck":
    stuck(*sys.argv[2:])
else:
    kill(int(sys.argv[2]))
