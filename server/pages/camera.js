/** A picture from the camera, where the browser has one: live on the stage, taken with the same button. */

import { byId } from "./elements.js";

const QUALITY = 0.92;
const WANTED = { video: { facingMode: "environment", width: { ideal: 1280 } } };

/** Fires `picture` (detail: File), and `error` (detail: why there is none). */
export class Camera extends EventTarget {
  #button = byId("camera", HTMLButtonElement);
  #closer = byId("camera-close", HTMLButtonElement);
  #video = byId("video", HTMLVideoElement);
  /** @type {MediaStream | null} */
  #stream = null;

  constructor() {
    super();
    this.#button.hidden = !navigator.mediaDevices?.getUserMedia;
    this.#button.addEventListener("click", () => (this.#stream ? this.#take() : this.#open()));
    this.#closer.addEventListener("click", () => this.close());
    addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    addEventListener("pagehide", () => this.close());
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
    this.#video.hidden = this.#closer.hidden = true;
    this.#button.textContent = "Camera";
  }

  async #open() {
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia(WANTED);
      this.#video.srcObject = this.#stream;
      this.#video.hidden = this.#closer.hidden = false;
      await this.#video.play();
    } catch (error) {
      this.close();
      this.dispatchEvent(new CustomEvent("error", { detail: inWords(error) }));
      return;
    }
    this.#button.textContent = "Take picture";
  }

  #take() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    canvas.getContext("2d")?.drawImage(this.#video, 0, 0);
    this.close();
    const take = (/** @type {Blob | null} */ blob) => {
      if (blob) this.dispatchEvent(new CustomEvent("picture", { detail: new File([blob], "camera.jpg", { type: blob.type }) }));
    };
    canvas.toBlob(take, "image/jpeg", QUALITY);
  }
}

/** @param {unknown} error */
function inWords(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "The browser does not let this page use the camera.";
  if (name === "NotFoundError") return "There is no camera here.";
  return `The camera gives no picture: ${error instanceof Error ? error.message : error}`;
}
