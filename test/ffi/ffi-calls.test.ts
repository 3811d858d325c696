/** How the FFI kernel calls the C library and node-netlink: errnos, threads, descriptors, silence. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TapPoolError } from 'tap-pool';
import { FfiKernel } from 'tap-pool/ffi';
import { Libc } from '#dist/kernel/ffi/libc';
import { loadPackages } from '#dist/kernel/ffi/packages';
import { getFeatures, setIff, TUNGETFEATURES, TUNSETIFF, TUNSETPERSIST } from '#dist/kernel/linux/tun';
import { errnoName } from '#dist/rtnetlink/index';
import { PackageCopy, REAL } from '../support/ffi-package.js';
import { assertNothingLeft, assertPrivateNamespace } from '../support/namespace.js';

const openDescriptors = () => readdirSync('/proc/self/fd').length;

/** Makes a TAP, and prints what became of it. */
const CREATE = `
  import { FfiKernel } from 'tap-pool/ffi';
  const kernel = new FfiKernel({ replyTimeoutMillis: 200 });
  const [tap] = await kernel.createTaps([{ name: 'calls' }]);
  const { code, errno, syscall } = tap;
  console.log(JSON.stringify({ code, errno, syscall }));
  await kernel.close();`;

describe('the FFI kernel', () => {
  before(assertPrivateNamespace);
  after(assertNothingLeft);

  test('tells every errno of the C library', async () => {
    const packages = await loadPackages();
    const libc = new Libc(packages);
    const { strerror } = packages.ffi.Library(null, { strerror: ['string', ['int']] });
    assert(strerror);
    for (const errno of [...Array.from({ length: 133 }, (_, i) => i + 1), 524])
      assert.equal(libc.errnoOf(new Error(String(strerror(errno)))), errno);
  });

  test('tells each call its own errno, however many are made at once', async () => {
    const libc = new Libc(await loadPackages());
    const [zero, tun] = [openSync('/dev/null', 'r+'), openSync('/dev/net/tun', 'r+')];
    const memory = (bytes: Uint8Array) => Buffer.concat([bytes], 64);
    const calls: [string, () => Promise<number>][] = [
      ['ENOTTY', () => libc.ioctl(zero, TUNGETFEATURES, memory(getFeatures(0).buffer))],
      ['EBADF', () => libc.ioctl(-1, TUNGETFEATURES, memory(getFeatures(0).buffer))],
      ['EBADFD', () => libc.ioctl(tun, TUNSETPERSIST, 1)],
      ['EINVAL', () => libc.ioctl(tun, TUNSETIFF, memory(setIff(0, 'x', 0x1000).buffer))],
      ['errno 0', () => libc.ioctl(tun, TUNGETFEATURES, memory(getFeatures(0).buffer))],
    ];
    const made = Array.from(
      { length: 2000 },
      (_, i) => calls[(i * 7) % calls.length] as (typeof calls)[number],
    );
    const errnos = await Promise.all(made.map(([, call]) => call()));
    assert.deepEqual(
      errnos.map(errnoName),
      made.map(([name]) => name),
    );
    for (const fd of [zero, tun]) closeSync(fd);
  });

  for (const errno of ['EPERM', 'EIO', 'EBADF', 'ENOMEM', 'EFAULT', 'EINVAL', 'ENFILE', 'ENOSPC', 'EBADFD']) {
    test(`tells of an ioctl that returns -1 with ${errno}, and leaves nothing`, async () => {
      using copy = new PackageCopy({ packages: REAL });
      const strace = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=ioctl', '-P', '/dev/net/tun'];
      const { stdout, stderr } = await copy.run(CREATE, [...strace, '-e', `inject=ioctl:error=${errno}`]);
      const told = JSON.parse(stdout) as Record<string, string>;
      assert.deepEqual([told['errno'], told['syscall']], [errno, 'ioctl TUNSETIFINDEX'], stderr);
      assert.equal(told['code'], errno === 'EPERM' ? 'ERR_TAP_PERMISSION' : 'ERR_TAP_KERNEL');
      assert.equal(stderr, '');
    });
  }

  test('makes no call on the event loop’s thread', async () => {
    using copy = new PackageCopy({ packages: REAL });
    const directory = mkdtempSync(join(tmpdir(), 'tap-pool-'));
    const trace = join(directory, 'trace');
    try {
      const calls = ['-e', 'trace=openat,ioctl,close', '-P', '/dev/net/tun'];
      const { stdout } = await copy.run(`console.log(process.pid); ${CREATE}`, [
        'strace',
        '-f',
        '-qq',
        '-o',
        trace,
        ...calls,
      ]);
      const [pid] = stdout.split('\n');
      const threads = [...readFileSync(trace, 'utf8').matchAll(/^(\d+) +\w+\(/gm)].map(
        ([, thread]) => thread,
      );
      assert(threads.length >= 5, `${threads.length} calls`);
      assert.equal(threads.includes(pid), false);
    } finally {
      rmSync(directory, { recursive: true });
      const [tap] = [...(await new FfiKernel().listLinks({ kind: 'tun' })).links];
      assert.equal(tap?.name, 'calls');
      await new FfiKernel().removeTaps([{ ifindex: tap.ifindex }]);
    }
  });

  test('tells of netlink replies that never come, without a word on the console, and lets nothing remain', async () => {
    using copy = new PackageCopy({ packages: REAL });
    // The request is dropped on its way, and node-netlink believes that it was sent.
    const strace = [
      'strace',
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      'trace=sendmsg',
      '-e',
      'inject=sendmsg:retval=32',
    ];
    const { stdout, stderr, code } = await copy.run(CREATE, strace);
    const told = JSON.parse(stdout) as Record<string, string>;
    assert.deepEqual([told['code'], told['errno']], ['ERR_TAP_DEADLINE', 'ETIMEDOUT']);
    assert.deepEqual([stderr, code], ['', 0]);
  });

  test('tells of a socket that node-netlink stopped reading, and goes on with another', async () => {
    using copy = new PackageCopy({ packages: REAL });
    const source = `
      import { FfiKernel } from 'tap-pool/ffi';
      const kernel = new FfiKernel();
      const { code, errno } = await kernel.getLink({ name: 'lo' }).catch((error) => error);
      const link = await kernel.getLink({ name: 'lo' });
      console.log(JSON.stringify({ code, errno, name: link.name }));
      await kernel.close();`;
    const strace = [
      'strace',
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      'trace=recvmsg',
      '-e',
      'inject=recvmsg:error=ENOBUFS:when=1',
    ];
    const { stdout, stderr } = await copy.run(source, strace);
    const told = JSON.parse(stdout) as Record<string, string>;
    assert.deepEqual(told, { code: 'ERR_TAP_KERNEL', errno: 'ENOBUFS', name: 'lo' });
    assert.equal(stderr, '');
  });

  test('leaves the console as it was, and lets others print while it works', async () => {
    using copy = new PackageCopy({ packages: REAL });
    const source = `
      import { FfiKernel } from 'tap-pool/ffi';
      const { error, warn } = console;
      const kernel = new FfiKernel();
      const busy = kernel.listLinks();
      setImmediate(() => console.error('somebody else'));
      await busy;
      console.error('after it');
      await kernel.close();
      console.log(console.error === error && console.warn === warn);`;
    const { stdout, stderr } = await copy.run(source);
    assert.deepEqual([stdout, stderr], ['true\n', 'somebody else\nafter it\n']);
  });

  test('keeps no process alive that forgot it, not even with a watch', async () => {
    using copy = new PackageCopy({ packages: REAL });
    const source = `
      import { FfiKernel } from 'tap-pool/ffi';
      const kernel = new FfiKernel();
      await kernel.watchLinks({ interesting: () => true, onEvent() {} });
      console.log((await kernel.getLink({ name: 'lo' })).name);`;
    const { stdout, code, signal } = await copy.run(source);
    assert.deepEqual([stdout, code, signal], ['lo\n', 0, null]);
  });

  test('leaves no descriptor behind, whatever failed, and has none that a program started meanwhile would inherit', async () => {
    await loadPackages();
    const before = openDescriptors();
    const kernel = new FfiKernel();
    const watch = await kernel.watchLinks({ interesting: () => false, onEvent: () => undefined });
    const results = await kernel.createTaps([
      { name: 'calls' },
      { name: 'calls' },
      { name: 'calls2', master: 2 ** 31 - 1 },
      { name: 'lo' },
    ]);
    assert.equal(results.filter((result) => result instanceof TapPoolError).length, 3);
    const ours = readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
      } catch {
        return false;
      }
    });
    const netlink = readFileSync('/proc/self/net/netlink', 'utf8');
    const inherited = ours
      .filter((fd) => netlink.includes(readlinkSync(`/proc/self/fd/${fd}`).slice('socket:['.length, -1)))
      .map((fd) =>
        parseInt(/^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8),
      );
    assert(inherited.length >= 2, `${inherited.length} netlink sockets`);
    for (const flags of inherited) assert.notEqual(flags & 0o2000000, 0);
    const [tap] = results;
    assert(tap && !(tap instanceof TapPoolError));
    assert.deepEqual(await kernel.removeTaps([{ ifindex: tap.ifindex }]), [true]);
    await watch.close();
    await kernel.close();
    assert.equal(openDescriptors(), before);
  });

  test('has no network namespace but its own, and refuses what it does not know', () => {
    const refused = (pattern: RegExp) => (error: unknown) =>
      error instanceof TapPoolError && error.code === 'ERR_TAP_INVALID_OPTION' && pattern.test(error.message);
    assert.throws(() => new FfiKernel({ netns: '/run/netns/a' } as object), refused(/native kernel/));
    assert.throws(() => new FfiKernel({ timeout: 1 } as object), refused(/no option/));
    for (const replyTimeoutMillis of [0, -1, 1.5, NaN, 2 ** 31])
      assert.throws(() => new FfiKernel({ replyTimeoutMillis }), refused(/whole number/));
  });
});
