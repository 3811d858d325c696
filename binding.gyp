# The native addon: threads that run programs of TUN ioctls and netlink requests. Plain Node-API, so that one binary
# fits every Node from 20.19 on. Built by `npm run build`; not part of the published package.
{
  'variables': {
    # Set by the sanitizer builds; they bring their own hardening and cannot have _FORTIFY_SOURCE.
    'sanitize%': '',
  },
  'target_defaults': {
    'default_configuration': 'Release',
  },
  'targets': [
    {
      'target_name': 'tap_pool',
      'sources': [
        'native/addon.c',
        'native/bytes.c',
        'native/lane.c',
        'native/netlink.c',
        'native/program.c',
      ],
      'defines': ['_GNU_SOURCE', 'NAPI_VERSION=9'],
      'cflags!': ['-Wno-unused-parameter'],
      'cflags_c': [
        '-std=c11',
        '-Wall',
        '-Wextra',
        '-Wshadow',
        '-Wconversion',
        '-Wformat=2',
        '-Wundef',
        '-Wstrict-prototypes',
        '-Werror',
        # Only napi_register_module_v1 and node_api_module_get_api_version_v1 leave the library.
        '-fvisibility=hidden',
        # A return address that was overwritten ends the process.
        '-fstack-protector-strong',
        # No allocation on the stack can jump over the guard page of a lane's small stack.
        '-fstack-clash-protection',
      ],
      'ldflags': [
        # The relocation tables are read-only once loaded.
        '-Wl,-z,relro,-z,now',
        # No executable stack.
        '-Wl,-z,noexecstack',
      ],
      'conditions': [
        ['target_arch=="x64"', { 'cflags_c': [
          # Indirect branches land only where the compiler meant them to.
          '-fcf-protection=full',
        ] }],
        ['target_arch=="arm64"', { 'cflags_c': [
          # The same on arm64: pointer authentication and branch targets.
          '-mbranch-protection=standard',
        ] }],
        ['sanitize==""', {
          # Checked variants of memcpy and its like; needs optimization.
          'defines': ['_FORTIFY_SOURCE=2'],
        }, {
          'cflags_c': ['-fsanitize=<(sanitize)', '-fno-omit-frame-pointer', '-g', '-O1'],
          'ldflags': ['-fsanitize=<(sanitize)'],
        }],
      ],
    },
  ],
}
