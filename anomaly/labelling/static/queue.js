// Words that wait for the server, in this browser, until it has them on disk. A word keeps its key, so that it counts
// once however often it is sent.

const FIRST_WAIT = 500, LONGEST_WAIT = 8000, PATIENCE = 20000;

export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function post(path, body, token) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE);
  try {
    return await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-form-token": token },
      body: JSON.stringify(body),
      credentials: "same-origin",
      signal: stop.signal,
    });
  } finally {
    clearTimeout(timer);
  }
}

export class Outbox {
  // answered(entry, response, last) takes an answer; cut(entry) is told once that the network is cut; changed(n) counts.
  constructor(name, token, { answered, cut, changed, body }) {
    Object.assign(this, { name, token, answered, cut, changed, body });
    this.wait = FIRST_WAIT;
    this.busy = false;
    this.timer = null;
    addEventListener("online", () => this.flush());
    addEventListener("storage", (event) => event.key === this.name && this.changed(this.entries().length));
  }

  entries() {
    try {
      return JSON.parse(localStorage.getItem(this.name) ?? "[]");
    } catch {
      return [];
    }
  }

  save(entries) {
    localStorage.setItem(this.name, JSON.stringify(entries));
    this.changed(entries.length);
  }

  add(path, body) {
    this.save([...this.entries(), { path, body, tried: false }]);
    return this.flush();
  }

  // Take back the last word where it cannot have reached the server yet.
  takeBack() {
    const entries = this.entries();
    if (!entries.length || entries.at(-1).tried) return null;
    const last = entries.pop();
    this.save(entries);
    return last;
  }

  async flush() {
    if (this.busy) return;
    this.busy = true;
    clearTimeout(this.timer);
    try {
      while (this.entries().length && (await this.first()));
    } finally {
      this.busy = false;
    }
  }

  async first() {
    const entries = this.entries();
    const entry = entries[0];
    entry.tried = true;
    this.save(entries);
    let response = null;
    try {
      response = await post(entry.path, this.body(entry), this.token);
    } catch {
      // The network is cut, or the server is gone: the word stays.
    }
    // Whoever entered under another name in another tab is refused here: the word waits for its own name.
    if (!response || response.status >= 500 || response.status === 401 || response.status === 403) {
      this.later(entry, response);
      return false;
    }
    const left = this.entries().filter((other) => other.body.key !== entry.body.key);
    this.save(left);
    this.wait = FIRST_WAIT;
    await this.answered(entry, response, left.length === 0);
    return true;
  }

  later(entry, response) {
    this.cut(entry, response);
    this.timer = setTimeout(() => this.flush(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }
}
