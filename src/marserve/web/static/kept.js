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
  /** How often add() is at work: large files take a moment. An answer that is not kept yet would be asked for again. */
  adding = 0;

  /**
   * Call this first.
   * @returns {Promise<(Record & {file: File})[]>} what this tab kept before it was loaded, the newest first
   */
  async restore() {
    try {
      holdTab();
      this.#database = open();
      await this.#forgetClosedTabs();
      const own = rangeOf(tab);
      const read = await this.#run("readonly", (files, records) => [files.getAll(own), records.getAll(own)]);
      const [files, records] = read.map(({ result }) => result);
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

  /** @param {Picture[]} pictures that are new */
  async add(pictures) {
    this.adding += 1;
    await this.#write((files, records) => {
      for (const picture of pictures) {
        files.put({ key: [tab, picture.id], file: picture.file });
        records.put({ ...picture.record(), key: [tab, picture.id] });
      }
    });
    this.adding -= 1;
  }

  /** @param {Picture} picture of which something else is known now */
  async update(picture) {
    await this.#write((_, records) => records.put({ ...picture.record(), key: [tab, picture.id] }));
  }

  /** @param {Picture} picture */
  async remove({ id }) {
    await this.#write((...stores) => stores.forEach((store) => store.delete([tab, id])));
  }

  async clear() {
    await this.#forget(tab);
  }

  async #forgetClosedTabs() {
    const open = await openTabs();
    const { result } = await this.#run("readonly", (_, records) => records.getAll());
    for (const { key, at } of result) {
      const [owner] = key;
      if (owner === tab || open?.has(owner) || (!open && Date.now() - at < MAX_AGE_MS)) continue;
      await this.#forget(owner);
    }
  }

  /** @param {string} owner a tab's name */
  async #forget(owner) {
    await this.#write((...stores) => stores.forEach((store) => store.delete(rangeOf(owner))));
  }

  /** @param {(files: IDBObjectStore, records: IDBObjectStore) => unknown} change all of it is kept, or nothing */
  async #write(change) {
    try {
      await this.#run("readwrite", change);
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
   * @param {IDBTransactionMode} mode
   * @param {(files: IDBObjectStore, records: IDBObjectStore) => Result} request
   * @returns {Promise<Result>} what `request` returned, once all of it is done
   */
  async #run(mode, request) {
    const database = await this.#database;
    if (!database) throw new DOMException("no database", "InvalidStateError");
    const transaction = database.transaction([FILES, RECORDS], mode);
    const result = request(transaction.objectStore(FILES), transaction.objectStore(RECORDS));
    return new Promise((resolve, reject) => {
      transaction.addEventListener("complete", () => resolve(result));
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
