// The pictures and answers of this tab, kept in the browser's database so that a reload loses none. They go with "Clear all",
// and once the tab is closed, with the next visit.

import { Remembered } from "./remembered.js";

/** @import { Picture, Record } from "./pictures.js" */

const DATABASE = "marserve";
/** Apart from what is known of them, which changes. */
const FILES = "files";
const RECORDS = "records";
/** Where the browser cannot say which tabs are still open, what is older than this belongs to none. */
const MAX_AGE_MS = 24 * 3600 * 1000;

const tab = tabName();

export class Kept {
  /** @type {Promise<IDBDatabase> | undefined} */
  #database;
  /** Whether everything could be kept so far: storage can be forbidden, and full. */
  complete = true;

  /**
   * Call this first.
   * @returns {Promise<(Record & {file: File})[]>} what this tab kept before it was loaded, the newest first
   */
  async restore() {
    try {
      holdTab();
      this.#database = open();
      await this.#forgetClosedTabs();
      const records = await this.#run(RECORDS, "readonly", (store) => store.getAll(rangeOf(tab)));
      const files = await this.#run(FILES, "readonly", (store) => store.getAll(rangeOf(tab)));
      const fileOf = new Map(files.map(({ key, file }) => [key[1], file]));
      return records
        .filter(({ id }) => fileOf.has(id))
        .map((record) => ({ ...record, file: fileOf.get(record.id) }))
        .sort((one, other) => other.at - one.at);
    } catch (error) {
      this.#fail(error);
      return [];
    }
  }

  /** @param {Picture} picture that is new */
  async add(picture) {
    await this.#write(FILES, (store) => store.put({ key: [tab, picture.id], file: picture.file }));
    await this.update(picture);
  }

  /** @param {Picture} picture of which something else is known now */
  async update(picture) {
    await this.#write(RECORDS, (store) => store.put({ ...picture.record(), key: [tab, picture.id] }));
  }

  /** @param {Picture} picture */
  async remove({ id }) {
    for (const name of [RECORDS, FILES]) await this.#write(name, (store) => store.delete([tab, id]));
  }

  async clear() {
    for (const name of [RECORDS, FILES]) await this.#write(name, (store) => store.delete(rangeOf(tab)));
  }

  async #forgetClosedTabs() {
    const open = await openTabs();
    const records = await this.#run(RECORDS, "readonly", (store) => store.getAll());
    for (const { key, at } of records) {
      const [owner] = key;
      if (owner === tab || open?.has(owner) || (!open && Date.now() - at < MAX_AGE_MS)) continue;
      for (const name of [RECORDS, FILES]) await this.#run(name, "readwrite", (store) => store.delete(rangeOf(owner)));
    }
  }

  /**
   * @param {string} name
   * @param {(store: IDBObjectStore) => IDBRequest} makeRequest
   */
  async #write(name, makeRequest) {
    try {
      await this.#run(name, "readwrite", makeRequest);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {unknown} error */
  #fail(error) {
    if (!(error instanceof DOMException)) throw error;
    this.complete = false;
  }

  /**
   * @template Result
   * @param {string} name
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest<Result>} makeRequest
   * @returns {Promise<Result>}
   */
  async #run(name, mode, makeRequest) {
    const database = await this.#database;
    if (!database) throw new DOMException("no database", "InvalidStateError");
    const transaction = database.transaction(name, mode);
    const request = makeRequest(transaction.objectStore(name));
    return new Promise((resolve, reject) => {
      transaction.addEventListener("complete", () => resolve(request.result));
      transaction.addEventListener("abort", () => reject(transaction.error));
    });
  }
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.addEventListener("upgradeneeded", () => {
    for (const name of [FILES, RECORDS]) request.result.createObjectStore(name, { keyPath: "key" });
  });
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}

/** @param {string} owner */
function rangeOf(owner) {
  return IDBKeyRange.bound([owner], [owner, []]);
}

function tabName() {
  const remembered = new Remembered("tab", "tab");
  const name = remembered.read() ?? `${Date.now()}-${Math.random()}`;
  remembered.write(name);
  return name;
}

/** Show other tabs that this one is open, for as long as it is. Locks are there on local and https addresses alone. */
function holdTab() {
  void navigator.locks?.request(`tab ${tab}`, () => new Promise(() => {}));
}

/** @returns {Promise<Set<string> | undefined>} the names of open tabs; undefined where the browser does not tell */
async function openTabs() {
  const locks = await navigator.locks?.query();
  return locks && new Set(locks.held?.map(({ name }) => name?.replace(/^tab /, "") ?? ""));
}
