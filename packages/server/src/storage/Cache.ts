/**
 * What was read from small files, for as long as there is room. It is right because this process alone changes the files: who
 * changes one calls `drop` before and `set` or `drop` after, and what somebody read in between is not kept.
 */
export interface Cache<A> {
  /** What is held, now. */
  readonly peek: (key: string) => A | undefined
  /** What is held, else what `load` finds; several who ask at once share one reading. `undefined` is not kept. */
  readonly get: (key: string, load: () => Promise<A | undefined>) => Promise<A | undefined>
  readonly set: (key: string, value: A) => void
  readonly drop: (key: string) => void
}

/** `limit` and `weigh` count bytes. A value that would take more than a quarter of the room is not kept. */
export const make = <A>(limit: number, weigh: (value: A) => number): Cache<A> => {
  // In the order of use, the longest unused first.
  const entries = new Map<string, { readonly value: A; readonly weight: number }>()
  const loading = new Map<string, Promise<A | undefined>>()
  let total = 0

  const forget = (key: string) => {
    total -= entries.get(key)?.weight ?? 0
    entries.delete(key)
  }
  const keep = (key: string, value: A) => {
    forget(key)
    const weight = overhead + key.length + weigh(value)
    if (weight > limit / 4) return
    entries.set(key, { value, weight })
    total += weight
    for (const oldest of entries.keys()) {
      if (total <= limit) return
      forget(oldest)
    }
  }
  const peek = (key: string) => {
    const found = entries.get(key)
    if (found === undefined) return undefined
    entries.delete(key)
    entries.set(key, found)
    return found.value
  }
  const start = (key: string, load: () => Promise<A | undefined>) => {
    const run = async () => {
      try {
        const value = await load()
        if (loading.get(key) === reading && value !== undefined) keep(key, value)
        return value
      } finally {
        if (loading.get(key) === reading) loading.delete(key)
      }
    }
    // The first await of `run` comes before it looks at `reading`.
    const reading: Promise<A | undefined> = Promise.resolve().then(run)
    loading.set(key, reading)
    return reading
  }
  return {
    peek,
    get: (key, load) => {
      const found = peek(key)
      return found === undefined ? (loading.get(key) ?? start(key, load)) : Promise.resolve(found)
    },
    set: (key, value) => {
      loading.delete(key)
      keep(key, value)
    },
    drop: (key) => {
      loading.delete(key)
      forget(key)
    }
  }
}

// internal

/** What an entry costs beside key and value, about. */
const overhead = 120
