/** The netlink transport on the real kernel. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { after, afterEach, before, describe, test } from 'node:test';
import { NativeRunner } from '#dist/kernel/native/runner';
import { decodeAck } from '#dist/rtnetlink/index';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import {
  attribute,
  concat,
  deleteLinkNamed,
  endTap,
  errnos,
  getLink,
  getLinkNamed,
  IFLA_ALT_IFNAME,
  IFLA_IFNAME,
  IFLA_PROP_LIST,
  lastingTap,
  linkExists,
  linkMessage,
  netlink,
  NLA_F_NESTED,
  NLM_F_ACK,
  NLM_F_CAPPED,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  replies,
  RTM_GETLINK,
  RTM_NEWLINK,
  RTM_NEWLINKPROP,
  runOne,
} from '../support/native-programs.js';

const { EEXIST, EINVAL, EMSGSIZE, ENOBUFS, ENODEV, EOPNOTSUPP, ETIMEDOUT } = constants.errno;
const DUMP = linkMessage(RTM_GETLINK, NLM_F_DUMP);
/** Its reply comes, its end never does. */
const ENDLESS = linkMessage(RTM_GETLINK, 0, 1);
const createDummyBridge = (name: string) =>
  linkMessage(
    RTM_NEWLINK,
    NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
    0,
    concat([attribute(IFLA_IFNAME, name), attribute(18 | NLA_F_NESTED, attribute(1, 'bridge'))]),
  );

describe('native runner: netlink', () => {
  const runner = new NativeRunner();
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);
  after(() => runner.close());

  test('RTM_GETLINK: the reply, without the bare acknowledgement behind it', async () => {
    const [reply, ...rest] = replies(await runOne(runner, [netlink(getLink(1))]));
    assert.deepEqual([reply?.type, reply?.seq, rest.length], [RTM_NEWLINK, 0, 0]);
    assert.equal(new DataView(reply!.payload.buffer, reply!.payload.byteOffset).getInt32(4, true), 1);
  });

  test('a change that succeeds has nothing to report', async () => {
    const name = freshName('br');
    const program = [netlink(createDummyBridge(name)), netlink(deleteLinkNamed(name))];
    assert.deepEqual(await runOne(runner, program), []);
  });

  test('an error: its errno, the words of the kernel, and the request cut short', async () => {
    const create = linkMessage(
      RTM_NEWLINK,
      NLM_F_ACK | NLM_F_CREATE,
      0,
      concat([attribute(IFLA_IFNAME, freshName()), attribute(18 | NLA_F_NESTED, attribute(1, 'tun'))]),
    );
    const result = await runOne(runner, [netlink(create)]);
    assert.deepEqual(errnos(result), [[0, EOPNOTSUPP]]);
    const [error] = replies(result);
    assert.deepEqual([error?.type, error!.flags & NLM_F_CAPPED], [NLMSG_ERROR, NLM_F_CAPPED]);
    assert.match(decodeAck(error!).message ?? '', /creation via rtnetlink is not supported/);
  });

  test('several messages: all are processed, each reply names its request, the first failure is the errno', async () => {
    const [one, two] = [freshName('br'), freshName('br')];
    const messages = concat([
      createDummyBridge(one),
      getLink(1),
      createDummyBridge(one),
      getLinkNamed('nowhere'),
      createDummyBridge(two),
      getLinkNamed(two),
    ]);
    const result = await runOne(runner, [netlink(messages)]);
    assert.deepEqual(errnos(result), [[0, EEXIST]]);
    assert.deepEqual(
      replies(result).map(({ seq, type }) => [seq, type]),
      [
        [1, RTM_NEWLINK],
        [2, NLMSG_ERROR],
        [3, NLMSG_ERROR],
        [5, RTM_NEWLINK],
      ],
    );
    assert.deepEqual(
      errnos(await runOne(runner, [netlink(deleteLinkNamed(one)), netlink(deleteLinkNamed(two))])),
      [],
    );
  });

  test('64 messages are one datagram, 65 are too many', async () => {
    const many = (count: number) => netlink(concat(new Array<Uint8Array>(count).fill(getLink(1))));
    const result = await runOne(runner, [many(64)]);
    assert.deepEqual(errnos(result), [[0, 0]]);
    assert.deepEqual(
      replies(result).map(({ seq }) => seq),
      Array.from({ length: 64 }, (_, i) => i),
    );
    assert.deepEqual(await runOne(runner, [many(65)]), [
      { step: 0, errno: EINVAL, output: new Uint8Array() },
    ]);
  });

  test('messages of any length, padded; 128 KiB are too much', async () => {
    const name = freshName();
    const unaligned = linkMessage(RTM_GETLINK, NLM_F_ACK, 0, attribute(IFLA_IFNAME, 'lo').subarray(0, 7));
    const padded = new Uint8Array(40);
    padded.set(unaligned);
    const result = await runOne(runner, [netlink(concat([padded, padded, unaligned]))]);
    assert.deepEqual(
      replies(result).map(({ seq, type }) => [seq, type]),
      [0, 1, 2].map((seq) => [seq, RTM_NEWLINK]),
    );
    const large = (bytes: number) =>
      linkMessage(RTM_GETLINK, NLM_F_ACK, 1, attribute(IFLA_IFNAME, new Uint8Array(bytes - 36)));
    const program = [
      netlink(concat([large(65000), large(65000)]), 1),
      netlink(concat([large(65500), large(65572)]), 2),
    ];
    const [first, second] = await runOne(runner, program);
    assert.notEqual(first?.errno, EMSGSIZE);
    assert.deepEqual([second?.step, second?.errno], [1, EINVAL]);
    assert.equal(await linkExists(runner, name), false);
  });

  test('bytes that are no messages are refused before they are sent', async () => {
    const cut = (bytes: number) => getLink(1).subarray(0, bytes);
    const claiming = (length: number) => {
      const message = getLink(1);
      new Uint32Array(message.buffer, 0, 1)[0] = length;
      return message;
    };
    const wrong = [
      new Uint8Array(),
      cut(1),
      cut(15),
      cut(31),
      claiming(0),
      claiming(15),
      claiming(33),
      claiming(0xffffffff),
      concat([getLink(1), cut(7)]),
    ];
    const result = await runOne(
      runner,
      wrong.map((messages, i) => netlink(messages, i + 1)),
    );
    assert.deepEqual(
      errnos(result),
      wrong.map((_, i) => [i, EINVAL]),
    );
  });

  test('a dump ends with NLMSG_DONE, whether an acknowledgement was asked for or not; the next may follow', async () => {
    const names = Array.from({ length: 60 }, () => freshName('dump'));
    await runner.run('build', names.map(lastingTap));
    const acked = linkMessage(RTM_GETLINK, NLM_F_DUMP | NLM_F_ACK);
    const result = await runOne(runner, [netlink(DUMP), netlink(acked), netlink(DUMP)]);
    assert.deepEqual(errnos(result), [
      [0, 0],
      [1, 0],
      [2, 0],
    ]);
    for (const step of [0, 1, 2]) {
      const messages = replies(result, step);
      assert.equal(messages.filter(({ type }) => type === RTM_NEWLINK).length, 61);
      assert.equal(messages.at(-1)?.type, NLMSG_DONE);
      for (const { seq, flags } of messages) assert.deepEqual([seq, flags & NLM_F_MULTI], [0, NLM_F_MULTI]);
    }
    await runner.run('build', names.map(endTap));
  });

  test('what is never answered fails with ETIMEDOUT and keeps what came; the socket is as good as before', async () => {
    const impatient = new NativeRunner({ replyTimeoutMillis: 20 });
    const program = [
      netlink(concat([getLinkNamed('nowhere'), ENDLESS]), 1),
      netlink(concat([getLink(1), ENDLESS]), 2),
    ];
    const result = await runOne(impatient, [...program, netlink(DUMP), netlink(getLink(1))]);
    // An error of the kernel comes before the missing answer of a later message.
    assert.deepEqual(errnos(result), [
      [0, ENODEV],
      [1, ETIMEDOUT],
      [2, 0],
      [3, 0],
    ]);
    assert.deepEqual(
      replies(result, 1).map(({ seq, type }) => [seq, type]),
      [
        [0, RTM_NEWLINK],
        [1, RTM_NEWLINK],
      ],
    );
    assert.equal(replies(result, 3).length, 1);
    await impatient.close();
  });

  test('a reply larger than the buffer fails with EMSGSIZE once; the buffer has grown', async () => {
    const name = freshName();
    await runOne(runner, lastingTap(name));
    await addAltNames(name, 490);
    const result = await runOne(runner, [
      netlink(getLinkNamed(name), 1),
      netlink(getLinkNamed(name)),
      netlink(getLink(1)),
    ]);
    assert.deepEqual(errnos(result), [
      [0, EMSGSIZE],
      [1, 0],
      [2, 0],
    ]);
    assert(result[1]!.output.length > 64 * 1024);
    await runOne(runner, endTap(name));
  });

  test('answers that the socket could not keep fail with ENOBUFS; those that it kept are told', async () => {
    const name = freshName();
    await runOne(runner, lastingTap(name));
    await addAltNames(name, 300);
    const many = concat(new Array<Uint8Array>(64).fill(getLinkNamed(name)));
    const result = await runOne(runner, [netlink(many, 1), netlink(DUMP, 2), netlink(getLink(1))]);
    assert.deepEqual(errnos(result)[0], [0, ENOBUFS]);
    const kept = replies(result).filter(({ type }) => type === RTM_NEWLINK);
    assert(kept.length > 0 && kept.length < 64, `${kept.length} kept`);
    assert.deepEqual(
      kept.map(({ seq }) => seq),
      kept.map((_, i) => i),
    );
    // The socket is as good as before.
    assert.deepEqual(errnos(result).at(-1), [2, 0]);
    await runOne(runner, endTap(name));
  });

  test('datagrams of anybody but the kernel are ignored', async () => {
    const patient = new NativeRunner({ replyTimeoutMillis: 700 });
    await runOne(patient, [netlink(getLink(1))]);
    const waiting = runOne(patient, [netlink(concat([getLink(1), ENDLESS]), 1), netlink(getLink(1))]);
    // Every port of this namespace gets bytes that would be an error if they came from the kernel.
    execFileSync('python3', ['-c', SHOUT, ...netlinkPorts()]);
    const result = await waiting;
    assert.deepEqual(errnos(result), [
      [0, ETIMEDOUT],
      [1, 0],
    ]);
    assert.equal(replies(result, 0).length, 2);
    await patient.close();
  });

  async function addAltNames(name: string, count: number): Promise<void> {
    const names = Array.from({ length: count }, (_, i) => `${name}-${i}-`.padEnd(127, 'x'));
    for (let at = 0; at < count; at += 100) {
      const list = names.slice(at, at + 100).map((altName) => attribute(IFLA_ALT_IFNAME, altName));
      const attributes = concat([
        attribute(IFLA_IFNAME, name),
        attribute(IFLA_PROP_LIST | NLA_F_NESTED, concat(list)),
      ]);
      const flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
      assert.deepEqual(
        await runOne(runner, [netlink(linkMessage(RTM_NEWLINKPROP, flags, 0, attributes))]),
        [],
      );
    }
  }
});

const SHOUT = `
import socket, sys
shouter = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for port in sys.argv[1:]:
    for _ in range(20):
        shouter.sendto(b'\\x03\\0\\0\\0garbage that is no message', (int(port), 0))
`;

/** Port ids of the rtnetlink sockets of this namespace, less those of the kernel. */
function netlinkPorts(): string[] {
  return readFileSync('/proc/self/net/netlink', 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, protocol, port]) => protocol === '0' && port !== '0')
    .map(([, , port]) => port ?? '');
}
