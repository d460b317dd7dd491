// A function of Node.js alone, for tests.
'use strict';

const fs = require('node:fs');

exports.handler = async (event, context) => {
  for (const record of event.Records ?? []) {
    console.log('uploaded', decodeURIComponent(record.s3.object.key.replaceAll('+', ' ')));
  }
  if (event.throw) throw new TypeError(event.throw);
  if (event.write) fs.writeFileSync(event.write, 'changed');
  if (event.reject) await Promise.reject(new RangeError(event.reject));
  console.info('greeting', event.name);
  return { greeting: process.env.GREETING, function: context.functionName, hasTime: context.getRemainingTimeInMillis() > 0 };
};

exports.withCallback = (event, context, callback) => {
  if (event.fail) return callback(new Error(event.fail));
  return setTimeout(() => callback(null, { greeting: `${process.env.GREETING} later` }), 10);
};
