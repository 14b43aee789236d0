// Events that a server sends, as the HTML standard writes them ("Server-sent events"), and its comments.

/** Takes text in pieces of any size; gives what has become whole: {data} or {comment}. */
export class EventReader {
  #rest = "";
  #data = [];

  *read(text) {
    this.#rest += text;
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) yield { data: this.#data.join("\n") };
        this.#data = [];
      } else if (line.startsWith(":")) {
        yield { comment: line.slice(1).trim() };
      } else if (line.startsWith("data:")) {
        this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  }
}

/** The events of an answer, one after the other; the connection is closed where the caller stops. */
export async function* events(response) {
  const bytes = response.body.getReader(), decoder = new TextDecoder(), reader = new EventReader();
  try {
    for (;;) {
      const { value, done } = await bytes.read();
      if (done) return;
      yield* reader.read(decoder.decode(value, { stream: true }));
    }
  } finally {
    bytes.cancel().catch(() => {});
  }
}
