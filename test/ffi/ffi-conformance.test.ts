import { conformance } from '../conformance/suite.js';
import { openFfiHost } from '../support/conformance-ffi.js';

conformance('FFI', openFfiHost);
