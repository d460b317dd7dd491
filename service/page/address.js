// The addresses of the page's views. The service answers all of them with the page: service/src/http/permalinks.rs.

/** The view at a path: its `kind` is feed, author, label, post or missing. */
export function viewAt(path) {
  if (path === "/") return { kind: "feed" };
  const [start, ...rest] = path.slice(1).split("/");
  const [first, ...others] = rest.map(decoded);
  const user = start.startsWith("@") ? decoded(start.slice(1)) : null;
  if (user && !rest.length) return { kind: "author", user };
  if (user && first && !others.length) return { kind: "post", user, id: first };
  if (start === "labels" && first && !others.length) return { kind: "label", label: first.toLowerCase() };
  return { kind: "missing" };
}

export function authorPath(user) {
  return `/@${encodeURIComponent(user)}`;
}

export function postPath({ user, id }) {
  return `${authorPath(user)}/${encodeURIComponent(id)}`;
}

export function labelPath(label) {
  return `/labels/${encodeURIComponent(label.toLowerCase())}`;
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment).trim();
  } catch {
    return "";
  }
}
