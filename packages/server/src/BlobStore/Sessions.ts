/** What is remembered of uploads between requests, so that their bytes are hashed once. */
import type { Digest } from "@effect-registry/core"
import type { Hash, Hashing } from "../storage/Hashing.js"

/** Bytes from which on a body is worth a thread. */
const large = 512 << 10

export interface Session {
  readonly algorithm: Digest.Algorithm
  /** Chosen with the first body. */
  hash: Hash | undefined
  /** Bytes that went through `hash`. Another size of the file means: read it again at the end. */
  hashed: number
}

export class Sessions {
  private readonly all = new Map<string, Session>()

  constructor(private readonly hashing: Hashing) {}

  start(id: string, algorithm: Digest.Algorithm): Session {
    const session: Session = { algorithm, hash: undefined, hashed: 0 }
    this.all.set(id, session)
    return session
  }

  /** For a body of so many bytes, if that is known, behind `size` others; of another process's upload nothing is hashed. */
  continue(id: string, size: number, announced: number | undefined): Session {
    const session = this.all.get(id) ?? this.start(id, "sha256")
    if (size !== session.hashed) {
      session.hash?.drop()
      session.hash = undefined
    } else if (size === 0) {
      session.hash?.drop()
      const isLarge = announced === undefined || announced >= large
      session.hash = isLarge ? this.hashing.inThread(session.algorithm) : this.hashing.here(session.algorithm)
    }
    return session
  }

  /** The digest of an upload of so many bytes, in hex, if they all went through the hash of this algorithm. */
  async digest(id: string, size: number, algorithm: Digest.Algorithm): Promise<string | undefined> {
    const session = this.all.get(id)
    const isKnown = session !== undefined && session.algorithm === algorithm && session.hashed === size
    return isKnown ? session.hash?.digest() : undefined
  }

  forget(id: string): void {
    this.all.get(id)?.hash?.drop()
    this.all.delete(id)
  }
}

/** The session's hash, counting what goes through it. */
export const counting = (session: Session): Pick<Hash, "update"> | undefined => {
  const { hash } = session
  return (
    hash && {
      update: (bytes, done) => {
        session.hashed += bytes.length
        hash.update(bytes, done)
      }
    }
  )
}
