/**
 * Runs one block of TypeScript of the documentation, in a namespace of its own, where it finds the bridges that the pages
 * speak of. What it leaves (a lease, say) goes with the namespace.
 */
import { NativeKernel } from 'tap-pool/kernel';

const [, , block] = process.argv;
const kernel = new NativeKernel();
for (const name of ['br-vm', 'br0', 'br1']) await kernel.createBridge(name);
await kernel.close();
await import(block as string);
