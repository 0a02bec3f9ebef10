/** API key sent with every request; kept in the tab's session storage. No DOM. */

const STORAGE_KEY = "tessella key";

/** Fires `rejected` when the service requires a key or rejects the current one, and `change` when a key is set. */
class ApiKey extends EventTarget {
  #value = sessionStorage.getItem(STORAGE_KEY) ?? "";

  get value() {
    return this.#value;
  }

  set value(value) {
    this.#value = value;
    sessionStorage.setItem(STORAGE_KEY, value);
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {Record<string, string>} */
  get headers() {
    return this.#value ? { "x-api-key": this.#value } : {};
  }

  reject() {
    this.dispatchEvent(new Event("rejected"));
  }
}

export const apiKey = new ApiKey();
