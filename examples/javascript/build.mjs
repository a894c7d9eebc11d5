// Makes the component: node build.mjs WIT OUTPUT

import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [witPath, output] = process.argv.slice(2);
if (output === undefined) {
  console.error('usage: node build.mjs WIT OUTPUT, of which WIT is the folder with plugin.wit');
  process.exit(2);
}
const { component } = await componentize({
  sourcePath: new URL('targets.js', import.meta.url).pathname,
  witPath,
  worldName: 'plugin',
  // They would import wasi:http, which the host does not have.
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(output, component);
