/**
 * The microphones of this device: which there are, and how loud one is.
 *
 * Knows no recogniser. Opens a microphone of its own, which a browser may refuse; then no level is
 * shown, and everything else works as usual.
 *
 * @module
 */

/**
 * @typedef {{track: MediaStreamTrack | undefined, close: () => void}} Microphone
 */

/** @returns {Promise<MediaDeviceInfo[]>} to choose from; none until the user has allowed it */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "");
}

/**
 * Open a microphone and watch how loud it is.
 *
 * @param {string} deviceId "" = the system's
 * @param {(level: number) => void} onLevel called each frame, 0 to 1
 * @returns {Promise<Microphone | null>} null = refused, or not there
 */
export async function openMicrophone(deviceId, onLevel) {
  /** @type {MediaStream} */
  let stream;
  try {
    const audio = deviceId === "" ? true : { deviceId };
    stream = await navigator.mediaDevices.getUserMedia({ audio });
  } catch {
    return null;
  }
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let frame = 0;
  const watch = () => {
    analyser.getFloatTimeDomainData(samples);
    onLevel(loudness(samples));
    frame = requestAnimationFrame(watch);
  };
  watch();
  return {
    track: stream.getAudioTracks()[0],
    close: () => {
      cancelAnimationFrame(frame);
      for (const track of stream.getTracks()) track.stop();
      void context.close();
      onLevel(0);
    },
  };
}

const FLOOR_DB = -60; // a quiet room

/**
 * @param {Float32Array} samples -1 to 1
 * @returns {number} 0 (silence) to 1 (as loud as possible), linear in decibels
 */
export function loudness(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const decibels = 10 * Math.log10(Math.max(power, 1e-12));
  return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
}
