/** Camera: live video in the input area, and a button that takes a photo. Hidden if the browser has no camera API. */

import { byId } from "./elements.js";

const QUALITY = 0.92;
const CONSTRAINTS = { video: { facingMode: "environment", width: { ideal: 1280 } } };

/** Fires `photo` (detail: File) and `error` (detail: message). */
export class Camera extends EventTarget {
  #button = byId("camera", HTMLButtonElement);
  #closeButton = byId("camera-close", HTMLButtonElement);
  #video = byId("video", HTMLVideoElement);
  /** @type {MediaStream | null} */
  #stream = null;

  constructor() {
    super();
    this.#button.hidden = !navigator.mediaDevices?.getUserMedia;
    this.#button.addEventListener("click", () => (this.#stream ? this.#takePhoto() : this.#open()));
    this.#closeButton.addEventListener("click", () => this.close());
    addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    addEventListener("pagehide", () => this.close());
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
    this.#video.hidden = this.#closeButton.hidden = true;
    this.#button.textContent = "Camera";
  }

  async #open() {
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
      this.#video.srcObject = this.#stream;
      this.#video.hidden = this.#closeButton.hidden = false;
      await this.#video.play();
    } catch (error) {
      this.close();
      this.dispatchEvent(new CustomEvent("error", { detail: errorMessage(error) }));
      return;
    }
    this.#button.textContent = "Take photo";
  }

  #takePhoto() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    canvas.getContext("2d")?.drawImage(this.#video, 0, 0);
    this.close();
    const onBlob = (/** @type {Blob | null} */ blob) => {
      if (blob) this.dispatchEvent(new CustomEvent("photo", { detail: new File([blob], "camera.jpg", { type: blob.type }) }));
    };
    canvas.toBlob(onBlob, "image/jpeg", QUALITY);
  }
}

/** @param {unknown} error */
function errorMessage(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "The browser denied access to the camera.";
  if (name === "NotFoundError") return "No camera found.";
  return `The camera could not be started: ${error instanceof Error ? error.message : error}`;
}
