/** The examples, run as they are: VMMs that are not to be had here are played by an API that knows their requests. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scenes } from '../support/scene.js';

interface Run {
  readonly said: Record<string, unknown>[];
  readonly signal: string | null;
}

function example(name: string, ...args: string[]): Promise<Run> {
  const script = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [script, ...args], (error, stdout, stderr) => {
      if (error && child.signalCode === null) {
        reject(new Error(`${name} failed:\n${stderr}`));
        return;
      }
      const said = stdout
        .trim()
        .split('\n')
        .filter((line) => line !== '');
      resolve({ said: said.map((line) => JSON.parse(line) as never), signal: child.signalCode });
    });
  });
}

/** An API on a UNIX socket that answers 204 and remembers what it was asked. */
async function api(path: string) {
  const requests: { method: string; path: string; body: Record<string, unknown> | undefined }[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      const body = text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>);
      requests.push({ method: request.method ?? '', path: request.url ?? '', body });
      response.writeHead(204).end();
    });
  });
  server.listen(path);
  await once(server, 'listening');
  return { requests, [Symbol.dispose]: () => void server.close() };
}

describe('examples', () => {
  const scene = scenes(1);

  test('firecracker: the requests of its API, with the name of the TAP', async () => {
    const directory = mkdtempSync(`${tmpdir()}/tap-pool-`);
    using vmm = await api(`${directory}/api`);
    const { said } = await example(
      'firecracker',
      `${directory}/api`,
      '/kernel',
      '/rootfs',
      scene().bridge,
      '1000',
    );
    const tap = said[0]?.['tap'];
    assert.match(String(tap), /^tap-pool-\d+$/);
    assert.deepEqual(
      vmm.requests.map(({ method, path }) => `${method} ${path}`),
      ['PUT /boot-source', 'PUT /drives/rootfs', 'PUT /network-interfaces/eth0', 'PUT /actions'],
    );
    assert.deepEqual(vmm.requests[2]?.body, {
      iface_id: 'eth0',
      guest_mac: '02:00:00:00:00:01',
      host_dev_name: tap,
    });
    assert.deepEqual(vmm.requests[3]?.body, { action_type: 'InstanceStart' });
    assert.deepEqual(said[1], { status: 'recycled', name: tap });
    rmSync(directory, { recursive: true });
  });

  test('cloud-hypervisor: the requests of its API, with the name of the TAP', async () => {
    const directory = mkdtempSync(`${tmpdir()}/tap-pool-`);
    using vmm = await api(`${directory}/api`);
    const { said } = await example('cloud-hypervisor', `${directory}/api`, '/kernel', scene().bridge);
    const tap = said[0]?.['tap'];
    assert.deepEqual(
      vmm.requests.map(({ method, path }) => `${method} ${path}`),
      ['PUT /api/v1/vm.create', 'PUT /api/v1/vm.boot'],
    );
    assert.deepEqual(vmm.requests[0]?.body?.['net'], [{ tap, mac: '02:00:00:00:00:01', num_queues: 2 }]);
    assert.deepEqual(said[1], { status: 'recycled', name: tap });
    rmSync(directory, { recursive: true });
  });

  test('launcher: killed with a VM running, it finds its TAPs again', async () => {
    const directory = mkdtempSync(`${tmpdir()}/tap-pool-`);
    const args = [`${directory}/taps`, scene().bridge] as const;
    const first = await example('launcher', ...args, 'crash');
    assert.equal(first.signal, 'SIGKILL');
    assert.deepEqual(first.said, [{ inUse: [], adopted: 0, idle: 4 }]);
    const second = await example('launcher', ...args);
    const [found, released] = second.said;
    assert.deepEqual(found, { inUse: ['launch-3'], adopted: 3, idle: 4 });
    assert.equal(released?.['name'], 'launch-3');
    rmSync(directory, { recursive: true });
  });
});
