// What `npm pack` and `npm publish` put into the tarball that the repository does not have: dist/ and prebuilds/.
import { build } from './prepare.mjs';

build();
await import('./build-prebuilds.mjs');
