import { crashes } from '../support/crash.js';

// A launcher of this kernel takes some ten times as long to get as far.
crashes('ffi', { count: 15, withinMillis: 300 });
