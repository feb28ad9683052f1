// The example pictures: thumbnails that stay, one click of which asks the service, and who made them.

import { exampleList, examplePicture, ServiceError } from "./api.js";
import { byId, element } from "./dom.js";
import { language, t } from "./i18n.js";

/** @import { Example } from "./api.js" */
/** @typedef {{example: Example, button: HTMLButtonElement, image: HTMLImageElement, caption: HTMLElement}} Thumbnail */

/** In pixels, as the thumbnails are. */
const THUMBNAIL = { width: 216, height: 162 };

export class Examples {
  #place = byId("examples");
  /** @type {Thumbnail[]} */
  #thumbnails = [];

  /**
   * @param {(file: File) => void} choose
   * @param {(error: ServiceError) => void} fail
   */
  constructor(choose, fail) {
    this.choose = choose;
    this.fail = fail;
    byId("gallery").hidden = false; // its place is kept, so that nothing moves when the list arrives
  }

  /** Show what the service has; nothing where it cannot be reached. */
  async load() {
    try {
      this.#thumbnails = (await exampleList()).map((example) => this.#thumbnail(example));
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      byId("gallery").hidden = true;
      return;
    }
    this.#place.append(...this.#thumbnails.map(({ button }) => button));
    byId("credits").hidden = false;
    this.update();
  }

  /** Write everything in the current language. */
  update() {
    for (const { example, button, image, caption } of this.#thumbnails) {
      const name = example.name[language()];
      image.alt = example.alt[language()];
      caption.textContent = example.hard ? t("exampleHard", { name }) : name;
      button.title = [
        image.alt,
        ...(example.hard ? [t("exampleHardWhy")] : []),
        example.author + t("comma") + licence(example),
      ].join("\n");
    }
    byId("credits-list").replaceChildren(...this.#thumbnails.map(({ example }) => credit(example)));
  }

  /** @param {Example} example */
  #thumbnail(example) {
    const image = element("img", { src: new URL(`example-${example.file}`, import.meta.url).href, decoding: "async", ...THUMBNAIL });
    const caption = element("span");
    const button = element("button", { type: "button", className: "example" }, image, caption);
    button.addEventListener("click", async () => {
      try {
        this.choose(await examplePicture(example.file));
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        this.fail(error);
      }
    });
    return { example, button, image, caption };
  }
}

/** @param {Example} example */
const licence = ({ license }) => (license === "Public domain" ? t("publicDomain") : license);

/** @param {Example} example */
function credit(example) {
  const { name, author, changes, license_url, source_url } = example;
  const item = element(
    "li",
    {},
    t("credit", { name: name[language()] }),
    element("a", { href: source_url, rel: "noreferrer" }, author),
    t("comma"),
    element("a", { href: license_url, rel: "noreferrer license" }, licence(example)),
  );
  if (changes) item.append(t("comma"), changes[language()]);
  return item;
}
