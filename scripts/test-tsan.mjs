// npm run test:tsan: the C side under ThreadSanitizer; docs/native.md.
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

const TOOL = 'tsan';
const FLAGS = ['-fsanitize=thread'];
const driverEnv = { TSAN_OPTIONS: 'halt_on_error=1:second_deadlock_stack=1' };

const bugs = {
  race: /data race/,
  'lock-order': /lock-order-inversion/,
  'use-after-free': /heap-use-after-free/,
};

const mutants = [
  {
    what: 'a lane whose owner submits without the mutex',
    file: 'lane.c',
    from: 'pthread_mutex_lock(&lane->mutex);\n  queue_put(',
    to: 'queue_put(',
    scene: 'lanes',
    pattern: /data race|unlock of an unlocked mutex/,
  },
  {
    what: 'a lane that is told to stop by a plain variable',
    file: 'lane.c',
    from: 'atomic_store(&lane->stopping, true);',
    to: '*(volatile bool *)&lane->stopping = true;',
    scene: 'lanes',
    pattern: /data race/,
  },
  {
    what: 'a lane that is freed without waiting for its thread',
    file: 'lane.c',
    from: 'pthread_join(lane->thread, NULL);',
    to: 'pthread_detach(lane->thread);',
    scene: 'lanes',
    pattern: /data race|heap-use-after-free|use of an invalid mutex/,
  },
];

const libtsan = compilerLibrary('libtsan.so', 'gcc libtsan2');
build();
testDriver(TOOL, FLAGS, (driver, args, show) => runIsolated(driver, args, { env: driverEnv, show }), {
  bugs,
  mutants,
});

// What happens in Node itself is out of sight, its locks are not: a race is told where the addon has a part in it.
const env = { LD_PRELOAD: libtsan, TSAN_OPTIONS: 'ignore_noninstrumented_modules=1:halt_on_error=1' };

const [{ what, pattern, ...change }] = mutants;
const broken = buildPackage(TOOL, FLAGS, mutant(TOOL, change));
expectReport(`${what}, in Node`, runPackage(broken, { env, words: ['native-runner'], show: false }), pattern);

const addon = buildPackage(TOOL, FLAGS);
const selections = [
  { words: ['native-runner'] },
  { words: ['native-lifetime', 'native-monitor'], pattern: 'terminate|several at once|is forgotten' },
];
for (const selection of selections)
  if (!runPackage(addon, { env, ...selection }).succeeded) fail('test:tsan: the addon failed');
