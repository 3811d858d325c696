// Whether a prebuilt addon loads where it claims to: by what it needs, without a machine of that kind.
import nodeApi from 'node-api-headers';
import { compareVersions, isHardened, machine, needed, symbols } from './elf.mjs';

const MACHINES = { x64: /X86-64/, arm64: /AArch64/ };
const LIBRARIES = /^(libc\.so\.6|libpthread\.so\.0|ld-linux-(x86-64\.so\.2|aarch64\.so\.1))$/;
/** The oldest glibc that Node's own builds of version 20 and later run on. */
export const GLIBC_FLOOR = '2.28';
/** What Node-API 9 asks of an addon; nothing else is to leave the library. */
const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
const { node_api_symbols, js_native_api_symbols } = nodeApi.symbols.v9;
const NODE_API = new Set([...node_api_symbols, ...js_native_api_symbols]);

/** @param given the symbols of the libc, where its versions do not tell */
export function verify(file, { arch, libc, floor, given }) {
  const problems = [];
  const all = symbols(file);
  const undefined_ = all.filter(({ defined }) => !defined);
  const exported = all.filter(({ defined }) => defined).map(({ name }) => name);
  if (!MACHINES[arch].test(machine(file))) problems.push(`it is for ${machine(file)}`);
  if (exported.sort().join() !== EXPORTS.join()) problems.push(`it exports ${exported.join(', ')}`);
  if (!isHardened(file)) problems.push('its stack is executable, or its relocations stay writable');
  const libraries = needed(file);
  if (libc === 'musl' && libraries.length > 0) problems.push(`it needs ${libraries.join(', ')}`);
  const strange = libraries.filter((name) => !LIBRARIES.test(name));
  if (strange.length > 0) problems.push(`it needs ${strange.join(', ')}`);
  for (const { name, version } of undefined_) {
    if (NODE_API.has(name)) continue;
    if (libc === 'musl') {
      if (version !== undefined || given?.has(name) === false) problems.push(`musl has no ${name}`);
    } else if (version === undefined) problems.push(`${name} has no version`);
    else if (!/^GLIBC_[\d.]+$/.test(version) || compareVersions(version, floor) > 0) {
      problems.push(`it needs ${name} of ${version}, later than glibc ${floor}`);
    }
  }
  return problems;
}
