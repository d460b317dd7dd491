// Reloads without a connection: has the browser run worker.js, which keeps the page and what was read last.

/** Addresses of this machine. Programs take turns at them, and a worker would answer for the next one. */
const OWN = /^(localhost|.*\.localhost|127\..*|\[::1\])$/;

export function start() {
  // After the page has loaded, with which it would compete.
  if (isSecureContext && !OWN.test(location.hostname)) addEventListener("load", register);
}

/** Whether answers of earlier visits are kept for this page. */
export function isKeeping() {
  try {
    return Boolean(navigator.serviceWorker?.controller);
  } catch {
    return false;
  }
}

/** Browsers have no workers at addresses without HTTPS, nor where the user has blocked storage: nothing is kept there. */
async function register() {
  try {
    await navigator.serviceWorker.register("/worker.js", { updateViaCache: "none" });
  } catch (error) {
    console.info("Nothing is kept for times without a connection:", error.message);
  }
}
