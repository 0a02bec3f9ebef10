/** The API key that this tab sends, for as long as the tab lives. Knows no DOM. */

const NAME = "tessella key";

/** Fires `refused` when the service wants a key, or another one, and `change` when there is a new one. */
class Key extends EventTarget {
  #value = sessionStorage.getItem(NAME) ?? "";

  get value() {
    return this.#value;
  }

  set value(value) {
    this.#value = value;
    sessionStorage.setItem(NAME, value);
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {Record<string, string>} */
  get headers() {
    return this.#value ? { "x-api-key": this.#value } : {};
  }

  refuse() {
    this.dispatchEvent(new Event("refused"));
  }
}

export const key = new Key();
