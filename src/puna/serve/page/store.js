// Conversations in the browser's database, and the last settings. Where a browser keeps nothing (private windows), they
// last as long as the page.

const NAME = "puna", STORE = "conversations", LAST = "puna-last";
const memory = new Map();
let database = null;

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Opens the database; false where there is none. */
export async function open() {
  try {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    database = await done(request);
    // A newer page in another window may change the database.
    database.onversionchange = () => database.close();
    return true;
  } catch {
    return false;
  }
}

const table = (mode) => database.transaction(STORE, mode).objectStore(STORE);

/** All conversations, the newest first. */
export async function all() {
  const found = database ? await done(table("readonly").getAll()) : [...memory.values()];
  return found.sort((one, other) => other.updated - one.updated);
}

/** Keeps a conversation as it is now. */
export async function put(conversation) {
  if (database) await done(table("readwrite").put(conversation));
  else memory.set(conversation.id, conversation);
}

export async function remove(id) {
  if (database) await done(table("readwrite").delete(id));
  else memory.delete(id);
}

/** What new conversations begin with: {model, settings, panel}. */
export function last() {
  try {
    return JSON.parse(localStorage.getItem(LAST)) ?? {};
  } catch {
    return {};
  }
}

export function setLast(value) {
  try {
    localStorage.setItem(LAST, JSON.stringify({ ...last(), ...value }));
  } catch {
    // Nothing is kept, which the page says where its database cannot be opened.
  }
}
