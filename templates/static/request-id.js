// A fresh UUID4 that names one operation, so that repeating a request whose answer got lost cannot do the work twice.
//
// Always: from the browser's cryptographic random source, also on a plain http Hub, where crypto.randomUUID does not exist.

const VERSION_4 = 0x40;
const VARIANT_RFC_9562 = 0x80;

/** A new random UUID in its usual spelling. */
export function newRequestId() {
  return crypto.randomUUID?.() ?? spell(crypto.getRandomValues(new Uint8Array(16)));
}

function spell(bytes) {
  bytes[6] = (bytes[6] & 0x0f) | VERSION_4;
  bytes[8] = (bytes[8] & 0x3f) | VARIANT_RFC_9562;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
