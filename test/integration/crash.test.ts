import { crashes } from '../support/crash.js';

crashes('native', { count: 40, withinMillis: 30 });
