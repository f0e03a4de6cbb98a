/** Whether the registry can do its work: asked often and by anybody, so the answer is found once a second at most. */
import { randomUUID } from "node:crypto"
import { constants } from "node:fs"
import { access, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Ownership from "./Control/Ownership.js"
import type { Requests } from "./Requests.js"

/** A folder, and whether writing to it belongs to the work. */
export interface Place {
  readonly folder: string
  readonly write: boolean
}

/** What is wrong, or `undefined`: about to end, a folder that may be another one's, or that cannot be written to. */
export const make = (
  requests: Requests,
  place: Place | undefined,
  lost: Ownership.Lost = Ownership.certain
): Effect.Effect<string | undefined> => {
  let looked = Number.NEGATIVE_INFINITY
  let last: Promise<boolean> = Promise.resolve(true)
  const storage = Effect.suspend(() => {
    if (place === undefined) return Effect.succeed(undefined)
    const now = performance.now()
    if (now - looked > 1000) {
      looked = now
      last = usable(place)
    }
    return Effect.map(
      Effect.promise(() => last),
      (usable) => (usable ? undefined : "the storage cannot be used")
    )
  })
  return Effect.suspend(() =>
    requests.closing
      ? Effect.succeed("shutting down")
      : Effect.flatMap(lost, (why) => (why === undefined ? storage : Effect.succeed(why)))
  )
}

// internal

const usable = async ({ folder, write }: Place): Promise<boolean> => {
  const probe = join(folder, `health-${randomUUID()}`)
  try {
    if (write) await writeFile(probe, "a byte finds a full disk", { flag: "wx" })
    else await access(folder, constants.R_OK | constants.X_OK)
    return true
  } catch {
    return false
  } finally {
    if (write) await rm(probe, { force: true }).catch(() => {})
  }
}
