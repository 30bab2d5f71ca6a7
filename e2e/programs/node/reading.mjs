// What comes, as a line with its checksum; a slow reader pauses after the
// first 64 KiB and after each 8 MiB.
import { createHash } from "node:crypto";
import { setTimeout } from "node:timers/promises";

export async function checksum(stream, slow) {
  const sum = createHash("sha256");
  let total = 0;
  let next = 64 << 10;
  for await (const bytes of stream) {
    sum.update(bytes);
    total += bytes.length;
    if (slow && total >= next) {
      await setTimeout(300);
      next += 8 << 20;
    }
  }
  return `${sum.digest("hex")}\n`;
}
