// The hint for people who write programs: the same question as a curl line, with this service's own address.

import { address } from "./api.js";
import { byId } from "./dom.js";
import { t } from "./i18n.js";

const COPIED_FOR_MS = 2000;

export function showProgramHint() {
  const line = `curl -F file=@cat.jpg "${address("predict?top_k=3")}"`;
  byId("curl").textContent = line;
  const copy = byId("copy");
  copy.hidden = !navigator.clipboard; // pages may not write to it on an address that is neither local nor https
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(line);
    copy.textContent = t("copied");
    setTimeout(() => (copy.textContent = t("copy")), COPIED_FOR_MS);
  });
}
