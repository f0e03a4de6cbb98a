/** What push, pull and copy say at their end. */
import type { BlobCounts } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { count, Output, size } from "./output.js"

/** `pushed 3 blobs (12.3 MB), mounted 1, 2 were there`. */
export const sayBlobs = (done: string, blobs: BlobCounts): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, (output) => {
    const parts = [
      blobs.sent === 0 ? "" : `${done} ${count(blobs.sent, "blob")} (${size(blobs.bytesSent)})`,
      blobs.mounted === 0 ? "" : `mounted ${blobs.mounted}`,
      blobs.existing === 0 ? "" : `${blobs.existing} already there`
    ].filter((part) => part !== "")
    return output.note(parts.length === 0 ? "nothing to move: everything is already there" : parts.join(", "))
  })

/** For `--output json`. */
export const blobsJson = ({ bytesSent, existing, mounted, sent }: BlobCounts) => ({
  sent,
  mounted,
  existing,
  bytesSent
})
