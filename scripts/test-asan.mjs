// npm run test:asan: the C side under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer; docs/native.md.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import {
  buildPackage,
  compilerLibrary,
  expectReport,
  fail,
  mutant,
  runIsolated,
  runPackage,
  testDriver,
} from './instrumented.mjs';
import { build } from './prepare.mjs';

const TOOL = 'asan';
const FLAGS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const ASAN_OPTIONS =
  'detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1';
const UBSAN_OPTIONS = 'print_stacktrace=1';

const bugs = {
  leak: /LeakSanitizer: detected memory leaks/,
  'use-after-free': /heap-use-after-free/,
  overrun: /heap-buffer-overflow/,
  undefined: /runtime error: shift exponent/,
};

const mutants = [
  {
    what: 'a batch whose lengths are not checked',
    ...{
      file: 'program.c',
      from: 'step->length > rest || align(step->length) > rest',
      to: 'rest == SIZE_MAX',
    },
    ...{ scene: 'malformed', pattern: /heap-buffer-overflow|SEGV|unknown-crash/ },
  },
  {
    what: 'a lane that is freed without waiting for its thread',
    ...{ file: 'lane.c', from: 'pthread_join(lane->thread, NULL);', to: 'pthread_detach(lane->thread);' },
    ...{ scene: 'lanes', pattern: /heap-use-after-free/ },
  },
  {
    what: 'batches that are dropped and not freed',
    ...{
      file: 'queue.c',
      from: 'while ((batch = queue_take(queue)))\n    batch_free(batch);',
      to: 'while ((batch = queue_take(queue)))\n    ;',
    },
    ...{ scene: 'lanes', pattern: /LeakSanitizer: detected memory leaks/ },
  },
];

const libasan = compilerLibrary('libasan.so', 'gcc libasan8');
build();

const env = { ASAN_OPTIONS, UBSAN_OPTIONS };
testDriver(TOOL, FLAGS, (driver, args, show) => runIsolated(driver, args, { env, show }), { bugs, mutants });

/**
 * Runs tests with a package whose addon was built from that copy of native/. Whatever else a test starts has the
 * library as well: reports go to files, and only what the addon did counts. Node and others leave at exit what the
 * kernel takes back anyway, so leaks do not change the exit status.
 */
function testAddon(selections, native, show) {
  const directory = buildPackage(TOOL, FLAGS, native);
  const reports = `${directory}/reports`;
  mkdirSync(reports);
  const env = {
    LD_PRELOAD: libasan,
    // The module as well, which is what tells the addon from the rest.
    ASAN_OPTIONS: `${ASAN_OPTIONS}:log_path=${reports}/asan:stack_trace_format="    #%n %p %F %L %m"`,
    LSAN_OPTIONS: 'exitcode=0',
    UBSAN_OPTIONS: `${UBSAN_OPTIONS}:log_path=${reports}/ubsan`,
  };
  const results = selections.map((selection) => runPackage(directory, { env, show, ...selection }));
  const ours = readdirSync(reports)
    .flatMap((name) => readFileSync(`${reports}/${name}`, 'utf8').split(/^(?=(?:Direct|Indirect) leak of )/m))
    // Of a leak, whoever called malloc(); of anything else, whoever took part.
    .filter((part) =>
      (/^(Direct|Indirect) leak/.test(part)
        ? /^ *#1 .*tap_pool\.node/m
        : /tap_pool\.node|runtime error/
      ).test(part),
    );
  return {
    succeeded: results.every(({ succeeded }) => succeeded) && ours.length === 0,
    text: ours.join('\n'),
  };
}

const addonMutant = {
  what: 'results that JavaScript has taken and nobody frees, in Node',
  ...{
    file: 'addon.c',
    from: '    handle_let_go(handle);\n  }\n  batch_free(batch);',
    to: '    handle_let_go(handle);\n    return;\n  }',
  },
};
expectReport(
  addonMutant.what,
  testAddon([{ words: ['native-netns'] }], mutant(TOOL, addonMutant), false),
  /leak of/,
);

const { succeeded, text } = testAddon(
  [
    // In two runs: each has a time limit of its own.
    { words: ['native-kept', 'native-lane', 'native-netlink', 'native-netns', 'native-runner'] },
    { words: ['native-lifetime'] },
    {
      words: ['native-monitor'],
      pattern: 'overflows|moves to another|many watches|terminate',
    },
  ],
  undefined,
  true,
);
if (!succeeded) fail(`${text}\ntest:asan: the addon failed`);
