import { crashes } from '../support/crash.js';

// A launcher of this kernel takes longer to get as far.
crashes('ffi', { count: 15, withinMillis: 300 });
