// Runs the Node.js handler of a function: a client of the Lambda runtime API.
//
// What handlers, callers and logs see of it is as on AWS (docs/aws.md §7.8).

'use strict';

const fs = require('node:fs');
const http = require('node:http');
const Module = require('node:module');
const path = require('node:path');
const { fileURLToPath, pathToFileURL } = require('node:url');
const util = require('node:util');

const API = '/2018-06-01/runtime/';
const TASK_ROOT = fs.realpathSync(process.env.LAMBDA_TASK_ROOT);
// It may also be reached by way of links.
const TASK_ROOTS = [TASK_ROOT, path.resolve(process.env.LAMBDA_TASK_ROOT)];

// The version of the function's runtime, whatever the version of this machine's Node.js.
const VERSION = Number(/nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV)[1]);
// Since this version, handlers return their response or a promise, and have no callback.
const WITHOUT_CALLBACKS = 24;

const NO_CALLBACKS =
  'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to ' +
  'modify this function to use a supported handler signature to use Node.js 24 or later. For more information see ' +
  'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';
const NEVER_SETTLED =
  'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that ' +
  'was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes';

// The exit codes after an error that the handler did not catch.
const UNHANDLED_REJECTION = 128;
const UNCAUGHT_EXCEPTION = 129;

// The levels in the log, by the functions of the console.
const LEVELS = { debug: 'DEBUG', error: 'ERROR', info: 'INFO', log: 'INFO', trace: 'TRACE', warn: 'WARN' };

// The arguments that are the paths of files to change, by the functions of `fs`.
const CHANGED_PATHS = {
  appendFile: [0], chmod: [0], chown: [0], copyFile: [1], cp: [1], link: [1], mkdir: [0], mkdtemp: [0], rename: [0, 1],
  rm: [0], rmdir: [0], symlink: [1], truncate: [0], unlink: [0], utimes: [0], writeFile: [0],
};

// The packages that AWS's runtimes have.
const INCLUDED = /^@(aws-sdk|smithy)\//;
// The names of packages, in contrast to paths, addresses and parts of Node.js.
const PACKAGE = /^(?!node:|file:|data:)[^./#]/;

// The extensions of modules, in the order in which they are looked for.
const EXTENSIONS = ['.js', '.mjs', '.cjs'];

let requestId;
// What to do when the handler has left nothing to wait for.
let atEmptyLoop;
// Reports an error that the handler did not catch.
let report = (error) => postError('init/error', error);

// An error that the runtime finds, rather than one that the handler throws.
function fault(kind, message) {
  const error = new Error(message);
  error.name = `Runtime.${kind}`;
  return error;
}

// One connection, which keeps no process alive while it is idle.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, route, body, headers) {
  const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path: API + route, agent, headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => {
        resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts).toString() });
      });
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

function post(route, text, headers) {
  return call('POST', route, text, { ...headers, 'content-length': Buffer.byteLength(text) });
}

function described(error) {
  const isError = util.types.isNativeError(error) || (error && error.name && error.message && error.stack);
  return isError
    ? { errorType: error.name, errorMessage: error.message, trace: String(error.stack).split('\n') }
    : { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function postError(route, error) {
  const body = described(error);
  return post(route, JSON.stringify(body), { 'lambda-runtime-function-error-type': encodeURI(body.errorType) });
}

function line(level, text) {
  process.stdout.write(`${new Date().toISOString()}\t${requestId}\t${level}\t${text}\n`);
}

function logError(what, error) {
  const { trace, ...rest } = described(error);
  line('ERROR', `${what} \t${JSON.stringify({ ...rest, ...(error && { code: error.code }), stack: trace })}`);
}

function patchConsole() {
  for (const [name, level] of Object.entries(LEVELS)) {
    console[name] = (...values) => line(level, util.format(...values));
  }
}

function isInTaskRoot(file) {
  if (typeof file !== 'string' && !Buffer.isBuffer(file) && !(file instanceof URL)) return false;
  const name = path.resolve(file instanceof URL ? fileURLToPath(file) : String(file));
  return TASK_ROOTS.some((root) => name === root || name.startsWith(root + path.sep));
}

function readOnly(call, file) {
  const error = new Error(`EROFS: read-only file system, ${call} '${file}'`);
  return Object.assign(error, { errno: -30, code: 'EROFS', syscall: call, path: String(file) });
}

function opensToChange([, flags]) {
  const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC } = fs.constants;
  if (typeof flags === 'number') return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) !== 0;
  // Without flags, a callback may be in their place.
  return typeof flags === 'string' && /[wa+]/.test(flags);
}

// Keeps the code as it is: on AWS it is on a read-only file system.
function refuseChanges() {
  const wrap = (module, name, find, refuse) => {
    const original = module[name];
    if (typeof original !== 'function') return;
    module[name] = function (...values) {
      const file = find(values);
      return file === undefined ? original.apply(this, values) : refuse(readOnly(name, file), values);
    };
  };
  const byName = Object.entries(CHANGED_PATHS).map(([name, positions]) => {
    return [name, (values) => positions.map((at) => values[at]).find(isInTaskRoot)];
  });
  byName.push(['open', (values) => (opensToChange(values) && isInTaskRoot(values[0]) ? values[0] : undefined)]);
  for (const [name, find] of byName) {
    wrap(fs.promises, name, find, (error) => Promise.reject(error));
    wrap(fs, `${name}Sync`, find, (error) => {
      throw error;
    });
    wrap(fs, name, find, (error, values) => {
      const callback = values[values.length - 1];
      if (typeof callback !== 'function') throw error;
      process.nextTick(callback, error);
    });
  }
  Module.syncBuiltinESMExports();
}

function missing(name, from) {
  const error = new Error(`Cannot find package '${name}' imported from ${from}`);
  return Object.assign(error, { code: 'ERR_MODULE_NOT_FOUND' });
}

// Finds packages in the function's folder only: on AWS there are no folders above it.
function keepToTaskRoot() {
  const resolve = Module._resolveFilename;
  Module._resolveFilename = function (name, parent, ...rest) {
    const found = resolve.call(this, name, parent, ...rest);
    const isAbove = path.isAbsolute(found) && !isInTaskRoot(found) && !INCLUDED.test(name);
    if (isAbove && PACKAGE.test(name) && (!parent?.filename || isInTaskRoot(parent.filename))) {
      const error = new Error(`Cannot find module '${name}'\nRequire stack:\n- ${parent?.filename}`);
      throw Object.assign(error, { code: 'MODULE_NOT_FOUND', requireStack: [parent?.filename] });
    }
    return found;
  };
  const root = `${pathToFileURL(TASK_ROOT)}/`;
  const isAbove = (name, url) =>
    url.startsWith('file:') && !url.startsWith(root) && PACKAGE.test(name) && !INCLUDED.test(name);
  if (Module.registerHooks) {
    Module.registerHooks({
      resolve(name, context, next) {
        const found = next(name, context);
        if (context.conditions.includes('import') && isAbove(name, found.url)) throw missing(name, context.parentURL);
        return found;
      },
    });
    return;
  }
  // Older versions resolve modules in another thread, which has only the text of functions.
  const hooks = `
    ${missing}
    const root = ${JSON.stringify(root)}, PACKAGE = ${PACKAGE}, INCLUDED = ${INCLUDED};
    const isAbove = ${isAbove};
    export async function resolve(name, context, next) {
      const found = await next(name, context);
      if (isAbove(name, found.url)) throw missing(name, context.parentURL);
      return found;
    }`;
  Module.register?.(`data:text/javascript,${encodeURIComponent(hooks)}`);
}

// Whether `.js` files in a folder are ES modules: the nearest package.json decides.
function hasModules(folder) {
  if (path.basename(folder) === 'node_modules') return false;
  const description = path.join(folder, 'package.json');
  if (fs.existsSync(description)) {
    try {
      return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
    } catch {
      return false;
    }
  }
  const above = path.dirname(folder);
  return above !== folder && folder !== TASK_ROOT && hasModules(above);
}

async function loadModule(folder, name) {
  const file = path.resolve(TASK_ROOT, folder, name);
  const areModules = hasModules(path.dirname(file));
  const isModule = (extension) => extension.startsWith('.m') || (areModules && !extension.startsWith('.c'));
  if (fs.existsSync(file) && fs.statSync(file).isFile()) return require(file);
  for (const extension of EXTENSIONS.filter((extension) => fs.existsSync(file + extension))) {
    return isModule(extension) ? import(pathToFileURL(file + extension)) : require(file + extension);
  }
  return require(require.resolve(name, { paths: [TASK_ROOT, path.resolve(TASK_ROOT, folder)] }));
}

// Returns the function that a handler such as `folder/file.function` names.
async function load(handler) {
  if (handler.includes('..')) {
    const help = 'Use absolute paths when specifying root directories in handler names.';
    throw fault('MalformedHandlerName', `'${handler}' is not a valid handler name. ${help}`);
  }
  const last = path.basename(handler);
  const parts = /^([^.]*)\.(.*)$/.exec(last);
  if (!parts) throw fault('MalformedHandlerName', 'Bad handler');
  let loaded;
  try {
    loaded = await loadModule(handler.slice(0, handler.length - last.length), parts[1]);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw Object.assign(fault('UserCodeSyntaxError', String(error)), { stack: error.stack });
    }
    throw error?.code === 'MODULE_NOT_FOUND' ? fault('ImportModuleError', String(error)) : error;
  }
  const found = parts[2].split('.').reduce((value, key) => value?.[key], loaded);
  if (!found) throw fault('HandlerNotFound', `${handler} is undefined or not exported`);
  if (typeof found !== 'function') throw fault('HandlerNotFound', `${handler} is not a function`);
  if (VERSION >= WITHOUT_CALLBACKS && found.length >= 3) throw fault('CallbackHandlerDeprecated', NO_CALLBACKS);
  return found;
}

// The context that the caller gave: JSON, which a header may carry in base64.
function clientContext(header) {
  if (!header) return undefined;
  return JSON.parse(header.trimStart().startsWith('{') ? header : Buffer.from(header, 'base64').toString());
}

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: clientContext(headers['lambda-runtime-client-context']),
    identity: undefined,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

function serialised(result) {
  try {
    // `undefined` has no JSON.
    return JSON.stringify(result === undefined ? null : result) ?? 'null';
  } catch {
    throw fault('JSONStringifyError', 'Unable to stringify response body');
  }
}

// Runs one invocation. The first outcome counts.
function invoke(handler, headers, body) {
  return new Promise((over) => {
    const context = contextOf(headers);
    let isDone = false;
    const finish = (send) => {
      if (isDone) return;
      isDone = true;
      atEmptyLoop = undefined;
      send().then(over, over);
    };
    const fail = (error) => finish(() => {
      logError('Invoke Error', error);
      return postError(`invocation/${context.awsRequestId}/error`, error);
    });
    const succeed = (result) => {
      let text;
      try {
        text = serialised(result);
      } catch (error) {
        return fail(error);
      }
      return finish(() => post(`invocation/${context.awsRequestId}/response`, text));
    };
    report = (error) => postError(`invocation/${context.awsRequestId}/error`, error);
    const isAsync = handler.constructor.name === 'AsyncFunction';
    atEmptyLoop = () => (isAsync ? fail(fault('NodeJsExit', NEVER_SETTLED)) : succeed(null));
    try {
      const event = JSON.parse(body);
      const hasCallbacks = VERSION < WITHOUT_CALLBACKS;
      const result = hasCallbacks ? withCallbacks(handler, event, context, succeed, fail) : handler(event, context);
      if (typeof result?.then === 'function') result.then(succeed, (error) => fail(error ?? 'handled'));
      else if (!hasCallbacks) succeed(result);
    } catch (error) {
      fail(error);
    }
  });
}

// Calls a handler with a callback, and with the functions of the context that do the same.
function withCallbacks(handler, event, context, succeed, fail) {
  let isCalled = false;
  const once = (outcome) => (...values) => {
    if (isCalled) return;
    isCalled = true;
    outcome(...values);
  };
  const done = (error, result) => (error === undefined || error === null ? succeed(result) : fail(error));
  context.callbackWaitsForEmptyEventLoop = true;
  context.done = once(done);
  context.succeed = once(succeed);
  context.fail = once((error) => fail(error ?? 'handled'));
  return handler(event, context, once((error, result) => {
    const isError = error !== undefined && error !== null;
    if (isError || !context.callbackWaitsForEmptyEventLoop) done(error, result);
    else atEmptyLoop = () => succeed(result);
  }));
}

async function end(what, error, code) {
  logError(what, error);
  await report(error).catch(() => {});
  process.exit(code);
}

async function main() {
  patchConsole();
  refuseChanges();
  keepToTaskRoot();
  process.on('beforeExit', () => atEmptyLoop?.());
  process.on('uncaughtException', (error) => end('Uncaught Exception', error, UNCAUGHT_EXCEPTION));
  process.on('unhandledRejection', (reason) => {
    const error = Object.assign(fault('UnhandledPromiseRejection', String(reason)), { reason });
    return end('Unhandled Promise Rejection', error, UNHANDLED_REJECTION);
  });
  let handler;
  try {
    handler = await load(process.env._HANDLER);
  } catch (error) {
    return end('Uncaught Exception', error, UNCAUGHT_EXCEPTION);
  }
  for (;;) {
    // The local AWS ends a process that it no longer needs by ending this call.
    const { status, headers, body } = await call('GET', 'invocation/next').catch(() => process.exit(0));
    if (status !== 200) process.exit(0);
    requestId = headers['lambda-runtime-aws-request-id'];
    process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'] ?? '';
    await invoke(handler, headers, body);
  }
}

main();
