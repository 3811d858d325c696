import { conformance } from '../conformance/suite.js';
import { openNativeHost } from '../support/conformance-native.js';

conformance('native', openNativeHost);
