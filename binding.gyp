{
  "targets": [
    {
      "target_name": "tap_pool",
      "sources": [
        "native/addon.c",
        "native/bytes.c",
        "native/courier.c",
        "native/handle.c",
        "native/holders.c",
        "native/kept.c",
        "native/lane.c",
        "native/monitor.c",
        "native/netlink.c",
        "native/program.c",
        "native/queue.c",
        "native/thread.c",
      ],
      # Node-API only: the same binary serves every Node from 20.19 on.
      "defines": ["NAPI_VERSION=9", "_GNU_SOURCE"],
      "cflags": [
        "-std=c11",
        "-Wall",
        "-Wextra",
        # Format strings that are not literals, and mistakes in those that are.
        "-Wformat=2",
        "-Wshadow",
        # A length that loses bits or its sign on the way is how a bounds check fails.
        "-Wconversion",
        "-Wstrict-prototypes",
        "-Werror",
        # Only the two symbols that Node-API asks for leave the library.
        "-fvisibility=hidden",
        # An overrun of an array on the stack ends the process instead of returning to where the overrun points.
        "-fstack-protector-strong",
        # A large frame touches each of its pages: the small stack of a lane cannot be jumped over into other memory.
        "-fstack-clash-protection",
      ],
      "configurations": {
        # Checked variants of memcpy(), read() and the like where the size of the target is known. Needs optimization.
        "Release": {"cflags_c": ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]},
      },
      "ldflags": [
        # The relocation tables are read-only once the library is loaded; all symbols are bound by then.
        "-Wl,-z,relro",
        "-Wl,-z,now",
        # The stack is no place for code.
        "-Wl,-z,noexecstack",
      ],
      "conditions": [
        # Indirect jumps land only where the compiler meant them to (CET; branch target identification).
        ["target_arch=='x64'", {"cflags": ["-fcf-protection=full"]}],
        ["target_arch=='arm64'", {"cflags": ["-mbranch-protection=standard"]}],
      ],
    }
  ]
}
