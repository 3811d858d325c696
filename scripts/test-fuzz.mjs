// npm run test:fuzz [-- SECONDS [HARNESS]]: what in native/ reads bytes of JavaScript or of the kernel, under libFuzzer
// with ASan and UBSan; docs/native.md. Without arguments about a minute altogether.
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { expectReport, fail, must, mutant, needCommand, runIsolated } from './instrumented.mjs';
import { root } from './prepare.mjs';

const CLANG = process.env.CLANG ?? 'clang';
const FLAGS = [
  ...['-std=c11', '-D_GNU_SOURCE', '-g', '-O1', '-Wall', '-Wextra', '-Wshadow', '-Wconversion'],
  ...['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all'],
];
const KERNEL = [
  ...['open', 'close', 'ioctl', 'setns', 'socket', 'setsockopt', 'bind', 'getsockname'],
  ...['sendto', 'recvfrom', 'poll', 'nanosleep'],
];

const harnesses = [
  {
    name: 'batch',
    sources: ['fuzz/kernel.c', 'bytes.c', 'kept.c', 'netlink.c', 'program.c', 'thread.c'],
    wrap: KERNEL,
    mutant: {
      what: 'a batch whose lengths are not checked',
      file: 'program.c',
      from: 'step->length > rest || align(step->length) > rest',
      to: 'rest == SIZE_MAX',
    },
  },
  {
    name: 'netlink',
    sources: ['fuzz/kernel.c', 'bytes.c', 'netlink.c'],
    wrap: KERNEL,
    mutant: {
      what: 'an answer that is longer than its datagram',
      file: 'netlink.c',
      from: 'message_length < sizeof(struct nlmsghdr) || message_length > length - at',
      to: 'message_length < sizeof(struct nlmsghdr)',
    },
  },
  {
    name: 'monitor',
    sources: ['fuzz/kernel.c', 'bytes.c', 'thread.c'],
    wrap: KERNEL,
    mutant: {
      what: 'a notification that is longer than its datagram',
      file: 'monitor.c',
      from: 'header.message.nlmsg_len < sizeof header || header.message.nlmsg_len > length - at',
      to: 'header.message.nlmsg_len < sizeof header',
    },
  },
  {
    name: 'holders',
    sources: ['bytes.c'],
    wrap: ['openat', 'close', 'read', 'readlinkat'],
    mutant: {
      what: 'a name that is longer than names are',
      file: 'holders.c',
      from: 'end == 0 || end >= HOLDER_NAME',
      to: 'end == 0',
    },
  },
];

function compile({ name, sources, wrap }, directory, suffix = '') {
  const target = `${root}build/fuzz/${name}${suffix}`;
  const files = [`fuzz/fuzz_${name}.c`, ...sources].map((file) => `${directory}/${file}`);
  must(CLANG, [...FLAGS, ...wrap.map((call) => `-Wl,--wrap=${call}`), ...files, '-o', target]);
  return target;
}

/** Starts from the corpus of the repository; what is new stays under build/. */
function fuzz(binary, { name }, seconds) {
  const found = `${binary}-corpus`;
  mkdirSync(found, { recursive: true });
  const args = [
    ...[`-max_total_time=${seconds}`, '-max_len=4096', '-timeout=10', '-rss_limit_mb=4096'],
    ...['-print_final_stats=1', `-artifact_prefix=${binary}-`],
  ];
  const corpora = [found, `${root}native/fuzz/corpus/${name}`];
  return runIsolated(binary, [...args, ...corpora], { show: false, timeout: (seconds + 120) * 1000 });
}

needCommand(CLANG, 'clang libclang-rt-14-dev');
const runtimes = `${must(CLANG, ['-print-resource-dir']).trim()}/lib/linux`;
if (!existsSync(runtimes) || !readdirSync(runtimes).some((file) => file.startsWith('libclang_rt.fuzzer-')))
  fail('clang has no libFuzzer; install it, e.g. apt-get install libclang-rt-14-dev');

const [seconds = '10', only] = process.argv.slice(2);
const chosen = harnesses.filter(({ name }) => only === undefined || name === only);
if (chosen.length === 0 || !(Number(seconds) > 0))
  fail('npm run test:fuzz [-- SECONDS [batch|netlink|monitor|holders]]');

mkdirSync(`${root}build/fuzz`, { recursive: true });
for (const harness of chosen) {
  const { name } = harness;
  const { succeeded, text } = fuzz(compile(harness, `${root}native`), harness, Number(seconds));
  const runs = /number_of_executed_units: (\d+)/.exec(text)?.[1];
  if (!succeeded) fail(`${text}\ntest:fuzz: ${name}; docs/native.md tells how to run that input again`);
  console.log(
    `${name}: ${runs} inputs, ${/cov: (\d+)/.exec(text.split('DONE').at(-1) ?? '')?.[1]} edges, nothing found`,
  );

  const { what, ...change } = harness.mutant;
  const broken = compile(harness, mutant('fuzz', change), '-broken');
  // Found within a second or two; the rest is for a slow machine. The harness may see what came of it first.
  expectReport(what, fuzz(broken, harness, 60), /AddressSanitizer: |: not so: /);
}
