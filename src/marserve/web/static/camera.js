// A photograph with the camera: in a dialog where the browser lends the camera to pages, else by the phone's camera app.

import { byId } from "./dom.js";
import { language, onLanguageChange, t } from "./i18n.js";
import { Live } from "./live.js";
import { toJpeg } from "./uploads.js";

/** The text for each way in which `getUserMedia` refuses; anything else is a mistake in this page. */
const REFUSALS = new Map([
  ["NotAllowedError", "cameraRefused"],
  ["SecurityError", "cameraRefused"],
  ["NotFoundError", "cameraMissing"],
  ["OverconstrainedError", "cameraMissing"],
  ["NotReadableError", "cameraBusy"],
  ["AbortError", "cameraBusy"],
]);

/**
 * @param {(photo: File) => void} add
 * @param {() => string | undefined} [model] the name of the model that answers live
 */
export function watchCamera(add, model = () => undefined) {
  const button = byId("camera");
  if ("mediaDevices" in navigator) {
    const camera = new CameraDialog(add, model);
    button.addEventListener("click", () => camera.open());
  } else if (matchMedia("(pointer: coarse)").matches) {
    const input = /** @type {HTMLInputElement} */ (byId("capture-input"));
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files?.[0]) add(input.files[0]);
      input.value = "";
    });
  } else {
    button.hidden = true; // pages get no camera on an address that is neither local nor https
  }
}

class CameraDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("camera-dialog"));
  #video = /** @type {HTMLVideoElement} */ (byId("viewfinder"));
  #shutter = /** @type {HTMLButtonElement} */ (byId("camera-shutter"));
  #turn = byId("camera-turn");
  #state = byId("camera-state");
  #liveSwitch = /** @type {HTMLInputElement} */ (byId("camera-live"));
  #facing = "environment";
  #add;
  #live;

  /**
   * @param {(photo: File) => void} add
   * @param {() => string | undefined} model
   */
  constructor(add, model) {
    this.#add = add;
    this.#live = new Live(this.#video, model, (text, isOver) => {
      if (this.#state.textContent !== text) this.#state.textContent = text; // a screen reader would say it again
      if (isOver) this.#endLive();
    });
    this.#shutter.addEventListener("click", () => this.#take());
    this.#turn.addEventListener("click", () => {
      this.#facing = this.#facing === "user" ? "environment" : "user";
      this.#start();
    });
    this.#liveSwitch.addEventListener("change", () => {
      this.#say("");
      if (this.#liveSwitch.checked) this.#live.start();
      else this.#endLive();
      this.#label();
    });
    byId("camera-retry").addEventListener("click", () => this.#start());
    byId("camera-choose").addEventListener("click", () => {
      this.#dialog.close();
      byId("choose").click();
    });
    byId("camera-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => this.#stop());
    onLanguageChange(() => this.#label());
    this.#label();
  }

  open() {
    this.#dialog.showModal();
    this.#start();
  }

  async #start() {
    this.#stop();
    this.#dialog.dataset.camera = "starting";
    this.#say("cameraStarting");
    /** @type {MediaStream} */
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: this.#facing, width: { ideal: 1920 }, height: { ideal: 1080 } },
      });
    } catch (error) {
      const refusal = error instanceof DOMException && REFUSALS.get(error.name);
      if (!refusal) throw error;
      this.#dialog.dataset.camera = "refused";
      this.#say(refusal);
      byId("camera-choose").focus();
      return;
    }
    if (!this.#dialog.open) {
      release(stream); // closed while the browser was asking
      return;
    }
    this.#video.srcObject = stream;
    // As in a mirror, for whoever looks at herself.
    this.#video.classList.toggle("mirrored", stream.getVideoTracks()[0]?.getSettings().facingMode === "user");
    await this.#video.play();
    this.#dialog.dataset.camera = "on";
    this.#say("");
    this.#shutter.disabled = false;
    this.#shutter.focus();
    const devices = await navigator.mediaDevices.enumerateDevices();
    this.#turn.hidden = devices.filter(({ kind }) => kind === "videoinput").length < 2;
  }

  async #take() {
    const canvas = document.createElement("canvas");
    canvas.width = this.#video.videoWidth;
    canvas.height = this.#video.videoHeight;
    canvas.getContext("2d")?.drawImage(this.#video, 0, 0);
    const photo = await toJpeg(canvas);
    this.#dialog.close();
    const time = new Date().toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    if (photo) this.#add(new File([photo], t("photoName", { time }), { type: photo.type }));
  }

  #stop() {
    this.#endLive();
    this.#shutter.disabled = true;
    if (this.#video.srcObject instanceof MediaStream) release(this.#video.srcObject);
    this.#video.srcObject = null;
  }

  #endLive() {
    this.#live.stop();
    this.#liveSwitch.checked = false;
    this.#label();
  }

  #label() {
    byId("camera-shutter-text").textContent = t(this.#liveSwitch.checked ? "cameraKeep" : "cameraShutter");
  }

  /** @param {string} key of texts.js, or nothing */
  #say(key) {
    this.#state.textContent = key && t(key);
  }
}

/** @param {MediaStream} stream */
function release(stream) {
  for (const track of stream.getTracks()) track.stop();
}
