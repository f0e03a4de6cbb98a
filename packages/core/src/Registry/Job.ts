/** One blob to be uploaded, and what can go wrong with it. */
import type * as Effect from "effect/Effect"
import type { BlobContent } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Client from "./Client.js"
import type * as Session from "./Session.js"

/** What is to be moved where. */
export interface Job<E, R> {
  readonly client: Client.Client
  readonly repository: string
  /** The result, where it is known before the content was read. */
  readonly known: Descriptor | undefined
  readonly content: BlobContent<E, R>
  readonly mediaType: string
  /** Large enough to go on where it stopped. */
  readonly resumable: boolean
  /** An interruption lets the registry keep what it has, for another process. */
  readonly suspends: boolean
  /** Told of a session whenever it has moved, so that another process can go on with it. */
  readonly remember: (session: Session.Session) => Effect.Effect<void>
}

/** Digest and size of what was sent. */
export type Sent = Pick<Descriptor, "digest" | "size">

/** The content could not be read: told apart from the registry's failures, and not tried again. */
export class SourceFailure<out E> {
  readonly _tag = "SourceFailure"
  constructor(readonly error: E) {}
}

export type Fault<E> = RegistryError | SourceFailure<E | ValidationError>

/** `blob sha256:… to host/repository`, for messages. */
export const nameOf = <E, R>({ client, known, content, repository }: Job<E, R>): string => {
  const digest = content._tag === "Compressed" ? content.diffId : known?.digest
  const what = content._tag === "Compressed" ? "layer" : "blob"
  return `${what} ${digest ?? "of unknown digest"} to ${Client.nameOf(client, repository)}`
}

/** Bytes of content that is not compressed on the way. */
export const sizeOf = (
  content: { readonly _tag: "Bytes"; readonly bytes: Uint8Array } | { readonly size: number }
): number => ("bytes" in content ? content.bytes.length : content.size)
