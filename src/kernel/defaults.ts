/** What the kernel gives a link that nobody asked anything else for. */
export { NEW_BRIDGE_PORT } from '../rtnetlink/index.js';
