/**
 * Uploads that were begun and not finished, so that another attempt, also of another process, goes on where they
 * stopped. What the journal says is a hint: the registry is asked how far the upload is, and its digest decides in the end.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

/** An upload, as it is known by: all of the parts together. */
export interface Key {
  /** `https://registry.example:5000` */
  readonly origin: string
  readonly repository: string
  /** What is uploaded: its digest, or for a layer that is compressed on the way its diff ID and the compressor. */
  readonly content: string
}

export interface Entry {
  /** The URL of the upload session, absolute, as the registry last gave it. It may hold a signature: never printed. */
  readonly location: string
}

/** The right to one entry. */
export interface Claim {
  /** `None` where there is none or it cannot be read. */
  readonly read: Effect.Effect<Option.Option<Entry>>
  /** Done when it would survive the end of the process. What cannot be written is not there; that is no error. */
  readonly write: (entry: Entry) => Effect.Effect<void>
  readonly remove: Effect.Effect<void>
}

export interface Service {
  /** The entry's owner until the scope ends; `None` where somebody else is, in this process or in another. */
  readonly claim: (key: Key) => Effect.Effect<Option.Option<Claim>, never, Scope.Scope>
}

/** Defaults to none: an interrupted upload starts over. */
export class UploadJournal extends Context.Reference<UploadJournal>()("@effect-registry/core/UploadJournal", {
  defaultValue: (): Service => none
}) {}

export const none: Service = { claim: () => Effect.succeedNone }

/** Keeps entries in memory, for as long as the service lives. */
export const makeMemory: Effect.Effect<Service> = Effect.sync(() => {
  const entries = new Map<string, Entry>()
  const owned = new Set<string>()
  return {
    claim: (key) => {
      const name = keyText(key)
      const take = Effect.sync(() => {
        if (owned.has(name)) return false
        owned.add(name)
        return true
      })
      return Effect.map(
        Effect.acquireRelease(take, (taken) => Effect.sync(() => taken && owned.delete(name))),
        (taken) =>
          taken
            ? Option.some<Claim>({
                read: Effect.sync(() => Option.fromNullable(entries.get(name))),
                write: (entry) => Effect.sync(() => void entries.set(name, entry)),
                remove: Effect.sync(() => void entries.delete(name))
              })
            : Option.none()
      )
    }
  }
})

export const layerMemory: Layer.Layer<never> = Layer.effect(UploadJournal, makeMemory)

/** One text for a key, the same in every process; no two keys share one. */
export const keyText = ({ content, origin, repository }: Key): string => JSON.stringify([origin, repository, content])
