// npm run test:valgrind: the C side under valgrind's memcheck, open descriptors included; docs/native.md.
import { buildPackage, fail, needCommand, runIsolated, runPackage, testDriver } from './instrumented.mjs';
import { build, root } from './prepare.mjs';

const TOOL = 'valgrind';
const MEMCHECK = [
  '--error-exitcode=9',
  '--leak-check=full',
  '--show-leak-kinds=all',
  '--errors-for-leak-kinds=all',
  '--track-fds=yes',
  '--fair-sched=yes',
];

const bugs = {
  leak: /definitely lost/,
  'use-after-free': /inside a block of size .* free'd/,
  overrun: /after a block of size/,
  uninitialized: /depends on uninitialised value/,
  descriptor: /LEFT OPEN/,
};

const mutants = [
  {
    what: 'a descriptor of a namespace that is not closed',
    file: 'thread.c',
    from: '  close(fd);\n  return error;',
    to: '  return error;',
    scene: 'netns',
    pattern: /not so: open_descriptors|LEFT OPEN/,
  },
  {
    what: 'a batch that is checked without having been copied',
    file: 'program.c',
    from: 'memcpy(batch->data, data, length);',
    to: '(void)data;',
    scene: 'steps',
    pattern: /uninitialised value/,
  },
];

/** valgrind 3.19 lists what is left open and leaves the exit status alone. */
function leftOpen(text) {
  return text
    .split(/^==\d+== Open (?=file descriptor|AF_)/m)
    .slice(1)
    .filter((part) => !/^[^\n]*\n==\d+==\s+<inherited from parent>/.test(part));
}

function memcheck(driver, args, show) {
  const { succeeded, text } = runIsolated('valgrind', [...MEMCHECK, driver, ...args], { show });
  const open = leftOpen(text);
  for (const part of show ? open : []) console.log(`LEFT OPEN: ${part.split('\n').slice(0, 6).join('\n')}`);
  return { succeeded: succeeded && open.length === 0, text: open.length > 0 ? `${text}\nLEFT OPEN` : text };
}

needCommand('gcc', 'gcc');
needCommand('valgrind', 'valgrind');
build();
testDriver(TOOL, [], memcheck, { args: ['-r', '20'], bugs, mutants });

// V8 writes its code while it runs; Node leaves at exit what is still reachable, descriptors as well.
const memcheckNode = [
  ...[
    'valgrind',
    '--error-exitcode=9',
    '--leak-check=full',
    '--errors-for-leak-kinds=definite',
    '--fair-sched=yes',
  ],
  ...['--smc-check=all-non-file', `--suppressions=${root}native/test/node.supp`],
];
const addon = buildPackage(TOOL, []);
const selection = { words: ['native-lifetime'], pattern: 'several at once|forgotten with programs' };
if (!runPackage(addon, { under: memcheckNode, ...selection }).succeeded)
  fail('test:valgrind: the addon failed');
