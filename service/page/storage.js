// The storage of the window and of the browser. What cannot be stored is kept until the page ends: users can block storage,
// and then its mere use is an error.

function storage(name) {
  const kept = new Map();
  const attempt = (act, otherwise) => {
    try {
      return act(window[name]);
    } catch {
      return otherwise();
    }
  };
  return {
    get: (key) => kept.get(key) ?? attempt((store) => store.getItem(key), () => null),
    set(key, value) {
      kept.delete(key);
      attempt((store) => store.setItem(key, value), () => kept.set(key, value));
    },
    remove(key) {
      kept.delete(key);
      attempt((store) => store.removeItem(key), () => null);
    },
  };
}

/** Ends with the window. */
export const ofWindow = storage("sessionStorage");
/** Shared by all windows, and stays. */
export const ofBrowser = storage("localStorage");
